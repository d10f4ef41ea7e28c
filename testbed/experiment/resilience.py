"""Resilience loss: the area under 1 - Q(t)/Q0 in lost seconds, and how deep it went. Pure.

Q is the share of the requests falling due in 100 ms that were served: answered rightly, and in the time that is normal.
Q0 is that share before. The measured curve is added up from the impact to the last request that was not served; no
triangle is laid over it. One lost second is a second without service, or two in which every other request was lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BIN_NS = 100_000_000


def loss(dues: Sequence[int], lost: Sequence[int], begin_ns: int, end_ns: int, healthy: float) -> tuple[float, float]:
    """(lost seconds, depth 0 to 1) from ``begin_ns`` to ``end_ns``.

    Args:
        dues: due times of all requests, ascending. lost: of those that were not served. healthy: Q0, more than 0.
    """
    lost_s = depth = share = 0.0
    for start_ns in range(begin_ns, end_ns, BIN_NS):
        stop_ns = min(start_ns + BIN_NS, end_ns)
        due, gone = (bisect_left(items, stop_ns) - bisect_left(items, start_ns) for items in (dues, lost))
        if due:  # a slow pulse has bins without any: what was true before goes on
            share = 1 - (due - gone) / due / healthy
        depth = max(depth, share)
        lost_s += share * (stop_ns - start_ns) / 1e9
    return max(0.0, lost_s), depth
