"""Which of many equal lines are written to a log: the first, and then one per interval, with how many were left out.

Pure: the moment is an argument. What is equal, the caller says by a key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

INTERVAL_S = 5.0
MAX_KEYS = 2000


class Repeats:
    """``max_keys``: how many are remembered; the ones written longest ago are forgotten."""

    def __init__(self, interval_s: float = INTERVAL_S, max_keys: int = MAX_KEYS) -> None:
        self._interval_s, self._max_keys = interval_s, max_keys
        self._written: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # key: when, how many left out since

    def due(self, key: Hashable, now_s: float) -> int | None:
        """How many equal ones were left out since the last that was written; None when this one is left out too."""
        at_s, left_out = self._written.get(key, (float("-inf"), 0))
        if now_s - at_s < self._interval_s:
            self._written[key] = (at_s, left_out + 1)
            return None
        self._written[key] = (now_s, 0)
        self._written.move_to_end(key)
        while len(self._written) > self._max_keys:
            self._written.popitem(last=False)
        return left_out


def and_more(left_out: int) -> str:
    """For the end of a line."""
    return f" ({left_out} more of these before)" if left_out else ""
