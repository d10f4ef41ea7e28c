"""A selector that wakes asyncio at the microsecond, and that costs little per connection.

``epoll_wait`` takes whole milliseconds and Python rounds up (cpython: Lib/selectors.py EpollSelector.select), so
timers of the ordinary loop fire up to 1 ms late. ``select`` takes microseconds, and an epoll descriptor can itself
be selected on: wait in ``select`` for the one descriptor of the epoll set, then collect from it without waiting.

Every request of a pulse comes and goes with a descriptor of its own. The standard library's selector looks each up
several times over, through objects that raise and catch; here a descriptor is a number and its key is in a dict.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
from collections.abc import Mapping
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import Any

_MASKS = (0, select.EPOLLIN, select.EPOLLOUT, select.EPOLLIN | select.EPOLLOUT)  # by EVENT_READ | EVENT_WRITE


class PreciseSelector(selectors.BaseSelector):
    """Takes descriptors by their number, as asyncio gives them. Made first of all descriptors, so that its own number
    stays under select's limit of 1024."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._itself = [self._epoll.fileno()]
        self._keys: dict[int, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Raises: KeyError when it is registered already; OSError when it cannot be waited for."""
        if fileobj in self._keys:
            raise KeyError(fileobj)
        self._epoll.register(fileobj, _MASKS[events])
        key = self._keys[fileobj] = SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Raises: KeyError when it is not registered."""
        key = self._keys.pop(fileobj)
        with contextlib.suppress(OSError):  # closed before it was taken out: the kernel has forgotten it
            self._epoll.unregister(fileobj)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Raises: KeyError when it is not registered."""
        if self._keys[fileobj].events != events:
            self._epoll.modify(fileobj, _MASKS[events])
        key = self._keys[fileobj] = SelectorKey(fileobj, fileobj, events, data)
        return key

    def get_key(self, fileobj: Any) -> SelectorKey:
        """Raises: KeyError when it is not registered."""
        return self._keys[fileobj]

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """What is ready. ``timeout``: seconds; None waits for ever, 0 and less not at all."""
        if timeout is None or timeout > 0:
            ready, _, _ = select.select(self._itself, (), (), timeout)
            if not ready:
                return []
        found = []
        for fd, event in self._epoll.poll(0, max(1, len(self._keys))):
            key = self._keys.get(fd)
            if key is not None:
                # An error or a hang-up is told to both sides: whoever reads or writes learns of it.
                told = (event & ~select.EPOLLOUT and EVENT_READ) | (event & ~select.EPOLLIN and EVENT_WRITE)
                found.append((key, told & key.events))
        return found

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()


def precise_loop() -> asyncio.AbstractEventLoop:
    """A new event loop on such a selector."""
    return asyncio.SelectorEventLoop(PreciseSelector())
