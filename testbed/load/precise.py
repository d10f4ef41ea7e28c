"""A selector that wakes asyncio at the microsecond.

``epoll_wait`` takes whole milliseconds and Python rounds up (cpython: Lib/selectors.py EpollSelector.select), so
timers of the ordinary loop fire up to 1 ms late. ``select`` takes microseconds, and an epoll descriptor can itself
be selected on: wait in ``select`` for the one descriptor of the epoll set, then collect from it without waiting.
"""

from __future__ import annotations

import asyncio
import select
import selectors


class PreciseSelector(selectors.EpollSelector):
    """Made first of all descriptors, so that its number stays under select's limit of 1024."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            ready, _, _ = select.select([self.fileno()], [], [], timeout)
            if not ready:
                return []
            timeout = 0
        return super().select(timeout)


def precise_loop() -> asyncio.AbstractEventLoop:
    """A new event loop on such a selector."""
    return asyncio.SelectorEventLoop(PreciseSelector())
