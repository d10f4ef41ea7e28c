"""The container engine, for commands that ask it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from testbed.api.instance import Instance
    from testbed.runtime.protocol import Engine

T = TypeVar("T")


def on_engine(instance: Instance | None, act: Callable[[Engine], Awaitable[T]]) -> T:
    """What ``act`` gives, in a loop of its own. ``instance=None``: the environment's engine."""
    from testbed.runtime.factory import open_engine

    async def run() -> T:
        engine = open_engine(instance.engine_url if instance else "")
        try:
            return await act(engine)
        finally:
            await engine.close()

    return asyncio.run(run())
