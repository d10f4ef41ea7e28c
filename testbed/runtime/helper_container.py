"""Short work done by a container of ours, where it takes root and we are not."""

from __future__ import annotations

import asyncio

from testbed.runtime.containers import ContainerSpec
from testbed.runtime.protocol import Engine

HELPER_IMAGE = "testbed-nettools:1"
_LOOK_S = 0.05


async def run_to_end(engine: Engine, spec: ContainerSpec, within_s: float) -> bool:
    """Runs a container and removes it. False: it had not ended by then.

    Raises: EngineError, EngineUnavailable.
    """
    deadline_s = asyncio.get_running_loop().time() + within_s
    container = await engine.create(spec)
    try:
        await engine.start(container)
        while (await engine.inspect(container)).running:
            if asyncio.get_running_loop().time() > deadline_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return True
    finally:
        await engine.remove(container)
