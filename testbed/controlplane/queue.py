"""A queue of keys of objects to look at.

A key that waits is not queued twice; a key that is worked on is not given out a second time, but remembered, and
comes again after. Failures come back after 5 ms, 10 ms, 20 ms, ... (kubernetes: client-go util/workqueue). The
longest wait is a minute where upstream has 1000 s: what is broken on purpose here is mended within seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque

from testbed.api.measures import Histogram

BACKOFF_INITIAL_S = 0.005
BACKOFF_MAX_S = 60.0
WAITS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class WorkQueue:
    """``waits``: how long keys stood in it before a worker took them, in seconds."""

    def __init__(self) -> None:
        self.waits = Histogram(WAITS_S)
        self._waiting: deque[str] = deque()
        self._queued: dict[str, float] = {}  # since when, by the loop's clock
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._filled = asyncio.Event()

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked on; keys that come back later do not count."""
        return not self._waiting and not self._active

    def add(self, key: str) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = asyncio.get_running_loop().time()
            self._waiting.append(key)
            self._filled.set()

    def add_after(self, key: str, delay_s: float) -> None:
        """``key`` comes in ``delay_s``, or earlier when something earlier is planned already."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        planned = self._timers.get(key)
        if planned is not None:
            if planned.when() <= due:
                return
            planned.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def retry(self, key: str) -> None:
        """``key`` failed: again, after a wait that doubles with every failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(BACKOFF_INITIAL_S * 2.0 ** min(failures, 30), BACKOFF_MAX_S))

    def forget(self, key: str) -> None:
        """``key`` went well."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key. It must be given back with ``done``."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        key = self._waiting.popleft()
        self.waits.observe(asyncio.get_running_loop().time() - self._queued.pop(key))
        self._active.add(key)
        return key

    def done(self, key: str) -> None:
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _ring(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)
