"""Resilience loss: the area under 1 - Q(t)/Q0 in lost seconds, and how deep it went. Pure.

Q is the share of the requests that fall due in 100 ms which were answered rightly and no slower than before; Q0 is that
share before. The measured curve is added up, no triangle is laid over it. One lost second is a second without service,
or two in which every other request was lost or slow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from testbed.experiment.latency import Limit
from testbed.load.records import Record

BIN_NS = 100_000_000


def loss(records: Sequence[Record], limit: Limit, spans: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(lost seconds, depth 0 to 1) over ``spans`` (begin and end, ns) in which clients were disturbed.

    Args:
        records: of one stream, by due time.
    """
    dues = [record.due_ns for record in records]
    healthy = 1 - limit.share
    lost_s = depth = 0.0
    for begin_ns, end_ns in spans:
        share = 0.0
        for start_ns in range(begin_ns, end_ns, BIN_NS):
            stop_ns = min(start_ns + BIN_NS, end_ns)
            due = records[bisect_left(dues, start_ns):bisect_left(dues, stop_ns)]
            if due:  # a slow pulse has bins without any: what was true before goes on
                share = 1 - sum(limit.keeps(record) for record in due) / len(due) / healthy
                depth = max(depth, share)
            lost_s += share * (stop_ns - start_ns) / 1e9
    return max(0.0, lost_s), depth
