"""How far apart requests were due, at any moment: the resolution of what they show. Pure, from the records alone.

Arrivals are numbered, so what is missing from the records (still in flight, never recorded) does not look like a
slower pace: between the neighbours that are there, the time is shared by the numbers that lie between them.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from testbed.load.records import Record


class Pace:
    """The pace of one stream: constant, ramping, or whatever it was."""

    def __init__(self, records: Sequence[Record]) -> None:
        ordered = sorted(records, key=lambda record: (record.due_ns, record.index))
        self._dues = [record.due_ns for record in ordered]
        self._indexes = [record.index for record in ordered]

    def period_s(self, at_ns: int) -> float:
        """Seconds from one arrival to the next around ``at_ns`` (CLOCK_MONOTONIC), to the microsecond; 0 where fewer
        than two are known."""
        if len(self._dues) < 2:
            return 0.0
        after = min(max(1, bisect.bisect_right(self._dues, at_ns)), len(self._dues) - 1)
        apart = max(1, self._indexes[after] - self._indexes[after - 1])
        return round((self._dues[after] - self._dues[after - 1]) / apart / 1e9, 6)
