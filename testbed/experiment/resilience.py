"""Resilience loss: the area under 1 - Q(t)/Q0 in lost seconds, and how deep it went. Pure.

Q is the share of the requests that fall due in 100 ms which were answered rightly and no slower than before; Q0 is that
share before. The measured curve is added up from the impact to the steady state, no triangle is laid over it. Between
disturbances, where only single requests are lost, each counts for the time it stands for. One lost second is a second
without service, or two in which every other request was lost or slow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from testbed.experiment.latency import Limit
from testbed.load.records import Record

BIN_NS = 100_000_000
Stretch = tuple[int, int]  # begin and end, ns


def loss(
    records: Sequence[Record], limit: Limit, normal: Callable[[Record], bool], *, harmed: Stretch,
    disturbed: Sequence[Stretch],
) -> tuple[float, float]:
    """(lost seconds, depth 0 to 1).

    Args:
        records: of one stream, by due time. normal: whether one was an answer that no user minds, for outside of
            ``disturbed``, the stretches whose latency was not what it was before. harmed: from the first thing that
            went wrong to the last.
    """
    dues = [record.due_ns for record in records]
    healthy = 1 - limit.share
    lost_s = depth = share = 0.0
    for start_ns in range(*harmed, BIN_NS):
        stop_ns = min(start_ns + BIN_NS, harmed[1])
        due = records[bisect_left(dues, start_ns):bisect_left(dues, stop_ns)]
        if due and any(begin < stop_ns and end > start_ns for begin, end in disturbed):
            share = 1 - sum(limit.keeps(record) for record in due) / len(due) / healthy
        elif due:  # a slow pulse has bins without any: what was true before goes on
            share = 1 - sum(normal(record) for record in due) / len(due)
        depth = max(depth, share)
        lost_s += share * (stop_ns - start_ns) / 1e9
    return max(0.0, lost_s), depth
