"""An event loop beside code that blocks: a test's own. Everything that watches and measures goes on in it meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_END_S = 30.0


class LoopThread:
    """One loop in one daemon thread, from its making to ``close``."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="testbed")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What ``work`` returns. An interrupt of the waiting code (Ctrl-C) cancels it. Raises: what it raises."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancels what still runs. Closing twice is harmless."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                if not task.cancelling():  # one that is cleaning up is left to it
                    task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_END_S)

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)
        self._loop.close()
