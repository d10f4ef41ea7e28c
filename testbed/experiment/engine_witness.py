"""What a container engine tells of an instance's pods, as evidence on the run's monotonic clock.

A platform whose containers carry our labels and run on an engine that this process can ask offers it as
``engine_events``; a platform without one has no such method, and the engine is then no witness. Reopening a stream that
broke is `testbed.runtime`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from testbed.api.clock import SystemClock, WallClock
from testbed.api.labels import CONTAINER_NAME, INSTANCE, POD_NAME, POD_NAMESPACE, ROLE, ROLE_CONTAINER
from testbed.errors import TestbedError
from testbed.experiment.observations import EngineSeen
from testbed.runtime.protocol import Engine, EngineEvent

# What the engine tells from now on, without end. The argument: CLOCK_MONOTONIC ns that moments count from.
EngineEvents = Callable[[int], AsyncIterator[EngineSeen]]
TOLD = ("create", "start", "die", "oom", "kill", "pause", "unpause", "destroy")
_AGAIN_S = 1.0


@runtime_checkable
class EngineWitness(Protocol):
    """A platform that can ask the container engine under its pods."""

    def engine_events(self) -> EngineEvents | None:
        """None where this very cluster has no engine that can be asked."""
        ...


def witness_of(platform: object) -> EngineEvents | None:
    """None for a platform without an engine to ask."""
    return platform.engine_events() if isinstance(platform, EngineWitness) else None


async def engine_events(
    engine: Engine, instance_id: str, start_ns: int, clock: WallClock | None = None
) -> AsyncIterator[EngineSeen]:
    """Of all pods' containers of one instance; an engine that does not answer is asked again. Closes ``engine``.

    The engine stamps by its wall clock, which may be set while we look: each stamp is taken by its distance from the
    wall clock at its arrival, and none is later than that.
    """
    loop, wall = asyncio.get_running_loop(), clock or SystemClock()
    try:
        while True:
            try:
                async for event in engine.events({INSTANCE: instance_id}):
                    age_s = max(0.0, wall.now().timestamp() - event.time_ns / 1e9)
                    seen = _seen(loop.time() - start_ns / 1e9 - age_s, event)
                    if seen is not None and seen.at >= 0:
                        yield seen
            except TestbedError:
                await asyncio.sleep(_AGAIN_S)
    finally:
        await engine.close()


def _seen(at: float, event: EngineEvent) -> EngineSeen | None:
    """None for what is no pod's container: sandboxes, gateways, helpers, and words about the stream itself."""
    labels, action = event.labels, event.action.partition(":")[0]
    name = labels.get(CONTAINER_NAME, "")
    if action not in TOLD or not name or labels.get(ROLE, ROLE_CONTAINER) != ROLE_CONTAINER:
        return None
    return EngineSeen(at, action, f"{labels.get(POD_NAMESPACE, '')}/{labels.get(POD_NAME, '')}", name, event.exit_code)
