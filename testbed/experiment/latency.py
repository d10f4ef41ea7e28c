"""When latency left what it was before, and when it was back: Page's CUSUM over a pulse's requests. Pure.

A request is *slow* when it failed or took longer than the limit, which 95 % of the requests before kept. Each request
adds the logarithm of the likelihood ratio of "a fifth or more are slow" against "as before"; a sum that rises above a
threshold is a change, and its place is where the sum last stood at zero (E. S. Page, Biometrika 41, 1954). The same
from there on, with the signs turned, finds the change back. So a single slow answer is nothing, a fifth of them is,
and the change is placed to one request, which no window of a second can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.load.outage import percentile
from testbed.load.records import Outcome, Record

QUIET_S = 1.0  # disturbances closer than this are one
_FLOOR_S = 0.005  # of what is no slower: that much nobody feels, and a busy machine's latency wanders by it
_WIDER = 1.25
_FEWEST = 20  # healthy requests without which nothing is known of before
_THRESHOLD = math.log(1e5)  # at most one false alarm in so many requests (average run length >= e^threshold)


@dataclass(frozen=True)
class Limit:
    """What is no slower than before, and the share of healthy requests that were slower all the same."""

    limit_s: float
    share: float

    def keeps(self, record: Record) -> bool:
        return record.ok and record.latency_s <= self.limit_s


@dataclass(frozen=True)
class Disturbance:
    """CLOCK_MONOTONIC ns: due time of its first request, receipt of the first answer that is normal again (0: none)."""

    begin_ns: int
    end_ns: int


def limit_of(healthy: Sequence[Record]) -> Limit | None:
    """The larger of: the 95th percentile of the right answers, their median and a quarter, their median and 5 ms.

    None: too few requests to know.
    """
    right = sorted(record.latency_s for record in healthy if record.ok)
    if len(right) < _FEWEST:
        return None
    median = percentile(right, 0.5)
    limit = Limit(max(percentile(right, 0.95), median * _WIDER, median + _FLOOR_S), 0.0)
    return Limit(limit.limit_s, sum(not limit.keeps(record) for record in healthy) / len(healthy))


def disturbances(records: Sequence[Record], limit: Limit, *, until_ns: int) -> tuple[Disturbance, ...]:
    """All of them, in order.

    Args:
        records: of one stream, by due time. until_ns: their end; what was in flight then and not yet slow says nothing.
    """
    known = [record for record in records if record.done_ns or record.outcome is Outcome.UNSENT
             or (until_ns - record.due_ns) / 1e9 > limit.limit_s]
    before = min(max(limit.share, 0.02), 0.5)
    slow_share = min(0.9, max(0.2, 3 * before))
    slow, normal = math.log(slow_share / before), math.log((1 - slow_share) / (1 - before))
    found: list[Disturbance] = []
    disturbed, score, place = False, 0.0, 0
    begin_ns = 0
    for index, record in enumerate(known):
        step = normal if limit.keeps(record) else slow
        if disturbed:
            step = -step
        if score <= 0.0:
            place, score = index, 0.0
        score += step
        if score <= _THRESHOLD:
            continue
        if disturbed:
            found.append(Disturbance(begin_ns, known[place].done_ns))
        else:
            begin_ns = known[place].due_ns
        disturbed, score = not disturbed, 0.0
    if disturbed:
        found.append(Disturbance(begin_ns, 0))
    return _merged(found)


def _merged(found: Sequence[Disturbance]) -> tuple[Disturbance, ...]:
    merged: list[Disturbance] = []
    for item in found:
        if merged and item.begin_ns - merged[-1].end_ns < QUIET_S * 1e9:
            merged[-1] = Disturbance(merged[-1].begin_ns, item.end_ns)
        else:
            merged.append(item)
    return tuple(merged)
