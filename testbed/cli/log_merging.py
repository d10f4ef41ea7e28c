"""Lines of many logs in the order of their times, within bounds. Pure: moments are arguments.

What is over is merged whole (``Newest``); what goes on is held back a moment, so that a line that comes late over
another way still finds its place (``InOrder``). Lines of one moment stay in the order in which they came.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from datetime import datetime
from typing import Generic, TypeVar

Item = TypeVar("Item")
MAX_HELD = 20_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d) ?")


def stamped(line: bytes, before_ns: int = 0) -> tuple[int, str]:
    """A line that begins with its time (RFC 3339, nanoseconds): nanoseconds since 1970, and the rest without its end.

    Args:
        before_ns: the time of the line before it, which one without a time has too.
    """
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    found = _STAMP.match(text)
    moment = _seconds(found.group(1) + found.group(3)) if found else None
    if found is None or moment is None:
        return before_ns, text.decode(errors="replace")
    return moment * 10**9 + int((found.group(2) or b"").ljust(9, b"0")), text[found.end():].decode(errors="replace")


def _seconds(text: bytes) -> int | None:
    try:
        return int(datetime.fromisoformat(text.decode()).timestamp())
    except (ValueError, OverflowError):
        return None


class Newest(Generic[Item]):
    """The newest ``max_lines`` of all that are added; holds no more than these. ``left_out``: how many older ones."""

    def __init__(self, max_lines: int) -> None:
        self._max_lines = max_lines
        self._heap: list[tuple[int, int, Item]] = []
        self._count = 0

    def add(self, at_ns: int, item: Item) -> None:
        self._count += 1
        entry = (at_ns, self._count, item)
        if len(self._heap) < self._max_lines:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def left_out(self) -> int:
        return self._count - len(self._heap)

    def in_order(self) -> list[Item]:
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2])]


class InOrder(Generic[Item]):
    """Lines as they come, given out in the order of their times once each was held ``hold_s``."""

    def __init__(self, hold_s: float, max_held: int = MAX_HELD) -> None:
        self._hold_s, self._max_held = hold_s, max_held
        self._heap: list[tuple[int, int, Item]] = []
        self._arrived: deque[tuple[float, int]] = deque()  # when, and which
        self._given: set[int] = set()
        self._count = 0

    def add(self, at_ns: int, item: Item, now_s: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_ns, self._count, item))
        self._arrived.append((now_s, self._count))

    def due(self, now_s: float) -> list[Item]:
        """What may go: all that came so long ago, whatever is older than it, and what there is no room for."""
        given = []
        while self._heap and (len(self._heap) > self._max_held or self._oldest_s() <= now_s - self._hold_s):
            given.append(self._give())
        return given

    def rest(self) -> list[Item]:
        return [self._give() for _ in range(len(self._heap))]

    def _oldest_s(self) -> float:
        """When the line that waits longest came."""
        while self._arrived[0][1] in self._given:
            self._given.discard(self._arrived.popleft()[1])
        return self._arrived[0][0]

    def _give(self) -> Item:
        _, number, item = heapq.heappop(self._heap)
        self._given.add(number)
        if not self._heap:
            self._given.clear()
            self._arrived.clear()
        return item
