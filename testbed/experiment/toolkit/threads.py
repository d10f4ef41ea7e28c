"""Code of the user's, which may block as long as it likes, away from the event loop.

Each call has a daemon thread of its own: who waits for it can stop waiting, and a call that hangs for ever ends with
the process. Values are shared, so a control may change the configuration that a later activity sees, as in Chaos
Toolkit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class Left(Exception):
    """The user's code tried to end the process (``sys.exit``)."""


async def in_thread(call: Callable[[], Answer]) -> Answer:
    """What ``call`` returns. Raises: what it raises; Left instead of SystemExit and its like."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()

    def give(value: Answer | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # type: ignore[arg-type]  # None only with an error

    def run() -> None:
        value: Answer | None = None
        error: BaseException | None = None
        try:
            value = call()
        except Exception as caught:
            error = caught
        except BaseException as caught:
            error = Left(repr(caught))
        try:
            loop.call_soon_threadsafe(give, value, error)
        except RuntimeError:
            return  # the loop is gone: nobody waits any more

    threading.Thread(target=run, daemon=True, name="toolkit").start()
    return await answer
