"""Ends connections whose answer is whole. Each waits for the server's FIN, so that the TIME_WAIT is the server's and a
long pulse never runs out of ports; a server that sends none within a second gets a RST.

All of them are looked at together, twenty times a second. A wake-up and a timer for each would be a third of what the
pulse needs of its core.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

LOOK_S = 0.05
LINGER_S = 1.0


class Answered(Protocol):
    """A connection that asks nothing more."""

    def rest(self) -> bool:
        """No longer to be woken for it. Whether it is still open."""
        ...

    def has_ended(self) -> bool:
        """Whether the server has closed it; it is closed here too then."""
        ...

    def abandon(self) -> None: ...


class Parting:
    """Those that still wait for their server's FIN."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[float, Answered]] = []
        self._timer: asyncio.TimerHandle | None = None

    def take(self, connection: Answered) -> None:
        if not connection.rest():
            return
        self._waiting.append((self._loop.time() + LINGER_S, connection))
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        left: list[tuple[float, Answered]] = []
        for until, connection in self._waiting:
            if connection.has_ended():
                continue
            if now >= until:
                connection.abandon()
            else:
                left.append((until, connection))
        self._waiting = left
        self._timer = self._loop.call_later(LOOK_S, self._look) if left else None
