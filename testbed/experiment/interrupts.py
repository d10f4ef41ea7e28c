"""Ctrl-C and SIGTERM during a run: they end what is being done, never what must be undone.

The first one makes the run go on with its undo phase; every further one is only answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

Answer = TypeVar("Answer")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The user asked to stop. Never leaves the runner: it becomes the verdict."""


class Interrupts:
    """``tell`` answers the user."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._asked = asyncio.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """What a signal does."""
        if self.asked:
            self._tell("still undoing; every fault also ends by itself when its duration is over")
        else:
            self._tell("interrupted: undoing everything")
            self._asked.set()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Answers to signals inside. Where another handler is in charge (not the main thread), does nothing."""
        loop = asyncio.get_running_loop()
        installed = []
        for number in SIGNALS:
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, self.ask)
                installed.append(number)
        try:
            yield
        finally:
            for number in installed:
                loop.remove_signal_handler(number)

    async def guard(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Does ``work`` unless and until an interrupt comes. Raises: Interrupted, after the work has ended."""
        if self.asked:
            work.close()
            raise Interrupted
        task = asyncio.ensure_future(work)
        waiter = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Interrupted
            return task.result()
        finally:
            waiter.cancel()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
