"""What our processes count of themselves, without a Prometheus client: a histogram, and how late an event loop is.

What is shown of it, and under which names, is ``exposition``'s and its users'. Nothing here costs anything that is not
asked for: the loop's lag is watched only while somebody scrapes.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence

LAG_WINDOW_S = 10.0  # the worst of so long is told
LAG_EVERY_S = 0.25  # a timer is set so often; what it is late by, the loop was
LAG_UNSEEN_S = 60.0  # nobody has asked for so long: the watch ends


class Histogram:
    """``bounds``: upper ends of the buckets, ascending, in the unit of what is observed; one above all is added."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Each bucket's ``le`` and how many values are not above it, as Prometheus wants them."""
        total = 0
        for bound, count in zip((*(f"{item:g}" for item in self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total


class LoopLag:
    """How late the running event loop was at worst in the last ``window_s``. It is watched from the first question on,
    until nobody has asked for ``LAG_UNSEEN_S``; the first answer is 0."""

    def __init__(self, window_s: float = LAG_WINDOW_S) -> None:
        self._window_s = window_s
        self._late: deque[tuple[float, float]] = deque()
        self._asked_s = 0.0
        self._watch: asyncio.Task[None] | None = None

    def worst_s(self) -> float:
        """Seconds. Called inside the loop that is meant."""
        loop = asyncio.get_running_loop()
        self._asked_s = loop.time()
        if self._watch is None or self._watch.done():
            self._late.clear()
            self._watch = loop.create_task(self._look(), name="loop lag")
        return max((late for at, late in self._late if at > self._asked_s - self._window_s), default=0.0)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._asked_s < LAG_UNSEEN_S:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            now = loop.time()
            self._late.append((now, max(0.0, now - due)))
            while self._late[0][0] < now - self._window_s:
                self._late.popleft()
