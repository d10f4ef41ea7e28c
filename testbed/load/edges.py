"""How exactly the edges of an outage are known, from the requests around them. Pure.

The beginning lies between the last request before it that was answered normally and the first that was not. The end is
the receipt of an answer: where requests had waited for it, the service was silent up to that moment but for the time
of an answer; where they failed at once, it may have come back any time after the last of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from testbed.load.outage import Band, Outage
from testbed.load.records import Record


def edges_s(records: Sequence[Record], window: Outage, band: Band) -> tuple[float, float]:
    """(of the beginning, of the end) in seconds: the true edge is within so much of the told one.

    Args:
        records: of the stream, by due time. window: one of its outages.
    """
    first = bisect_left(records, window.begin_ns, key=lambda record: record.due_ns)
    answer_s = 0.0 if band.median_s != band.median_s else band.median_s
    begin_s = window.resolution_s
    if first > 0:
        begin_s = (window.begin_ns - records[first - 1].due_ns) / 1e9
    if first < len(records):  # one that left late asked late
        begin_s = max(begin_s, records[first].lateness_s + answer_s)
    return begin_s, _end_s(records[first:], window, band, answer_s) if window.over else 0.0


def _end_s(following: Sequence[Record], window: Outage, band: Band, answer_s: float) -> float:
    limit_ns = band.limit_s * 1e9
    last_ns = window.begin_ns
    waited = answering = False
    for record in following:
        if record.due_ns >= window.end_ns:
            break
        if record.ok and window.end_ns - limit_ns < record.done_ns < window.end_ns:
            answering = True  # slow service, not silence
        if window.end_ns - record.due_ns > limit_ns and record.ok and 0 <= record.done_ns - window.end_ns <= limit_ns:
            waited = True  # and was answered as soon as anybody was
        if not record.ok or record.latency_s > band.limit_s:
            last_ns = max(last_ns, record.sent_ns or record.due_ns)
    return answer_s if waited and not answering else (window.end_ns - last_ns) / 1e9
