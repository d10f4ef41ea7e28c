"""An API that is away is asked again: its silence says nothing about what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from testbed.errors import ApiUnavailable

Answer = TypeVar("Answer")
AGAIN_S = 0.5


async def until_answered(ask: Callable[[], Awaitable[Answer]], until: float) -> Answer:
    """The first answer; ``until``: of the loop's clock.

    Raises: ApiUnavailable when it was still away then, and whatever it answers instead.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await ask()
        except ApiUnavailable:
            if loop.time() >= until:
                raise
        await asyncio.sleep(AGAIN_S)
