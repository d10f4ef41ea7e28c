"""How far one container's log was read: where reading goes on after a connection broke, and which lines are new. Pure.

Lines have times of nanoseconds, but two may share one, and stdout and stderr may be a moment out of order. So reading
goes on a little before the newest line that was read, and what was read already is known by its time: no line is lost
and none is told twice. The container's next life goes on where the last one was left.
"""

from __future__ import annotations

import heapq
from collections import Counter

OVERLAP_NS = 50_000_000  # how far back reading goes on
_MICRO = 1000  # a time can be asked for to the microsecond


class Position:
    """``since_ns``: from where on is to be asked for (nanoseconds since 1970); 0: from the beginning. ``begun``:
    whether a line was read."""

    def __init__(self, since_ns: int = 0) -> None:
        self.since_ns, self.begun = since_ns, False
        self._asked_ns = since_ns
        self._read: list[int] = []  # a heap: times of lines that were read, from ``since_ns`` on
        self._again: Counter[int] = Counter()

    def open(self) -> None:
        """Reading begins anew, at ``since_ns``."""
        self._asked_ns, self._again = self.since_ns, Counter(self._read)

    def is_new(self, at_ns: int) -> bool:
        """Takes in the next line; whether it is to be told."""
        if at_ns < self._asked_ns:
            return False
        if self._again[at_ns]:
            self._again[at_ns] -= 1
            return False
        self.begun = True
        heapq.heappush(self._read, at_ns)
        self.since_ns = max(self.since_ns, (at_ns - OVERLAP_NS) // _MICRO * _MICRO)
        while self._read[0] < self.since_ns:
            heapq.heappop(self._read)
        return True
