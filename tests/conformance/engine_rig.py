"""An engine and a host under test, simulated or real, and what a test makes on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.api import labels as keys
from testbed.api.clock import SystemClock
from testbed.runtime.containers import ContainerSpec, ContainerState
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine

IMAGE = "testbed-base:bookworm"


@dataclass
class Rig:
    """``id``: of the instance under test; everything made carries it."""

    engine: Engine
    host: Host
    id: str
    machine: SimulatedMachine | None = None
    others: list[str] = field(default_factory=list)
    _made: int = 0

    @property
    def labels(self) -> dict[str, str]:
        return {keys.INSTANCE: self.id}

    @property
    def cgroup(self) -> str:
        return f"/testbed-{self.id}"

    def spec(self, *command: str, **fields: Any) -> ContainerSpec:
        self._made += 1
        values: dict[str, Any] = {
            "name": f"conformance-{self.id}-{self._made}", "image": IMAGE, "labels": self.labels,
            "command": command or ("sleep", "1000"), "cgroup_parent": f"{self.cgroup}/node",
        }
        return ContainerSpec(**values | fields)

    async def started(self, *command: str, **fields: Any) -> ContainerState:
        return await self.engine.start(await self.engine.create(self.spec(*command, **fields)))

    async def ended(self, container: str) -> ContainerState:
        async def look() -> ContainerState | None:
            state = await self.engine.inspect(container)
            return state if state.status == "exited" else None

        return await eventually("the container has ended", look)


def groups_of(pid: int) -> set[str]:
    """Its cgroup's path in each hierarchy."""
    return {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}


async def eventually(what: str, look: Callable[[], Awaitable[Any]], timeout_s: float = 20.0) -> Any:
    """Waits until ``look`` gives something true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        if found := await look():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")


@contextlib.asynccontextmanager
async def simulated_rig() -> AsyncIterator[Rig]:
    machine = SimulatedMachine(random.Random(7), SystemClock())
    machine.add_image(IMAGE, "testbed-nettools:1")
    identity = secrets.token_hex(6)
    yield Rig(SimulatedEngine(machine), SimulatedHost(machine, identity), identity, machine)


@contextlib.asynccontextmanager
async def docker_rig() -> AsyncIterator[Rig]:
    engine, identity = open_engine(), secrets.token_hex(6)
    host = open_host(identity, engine)
    value = Rig(engine, host, identity)
    try:
        yield value
    finally:
        with contextlib.suppress(Exception):
            await host.kill_cgroup(value.cgroup)
        found = await engine.list(value.labels)
        await asyncio.gather(*(engine.remove(container) for container in [*value.others, *(s.id for s in found)]))
        for network in await engine.networks(value.labels):
            await engine.remove_network(network.id)
        await host.remove_cgroup(value.cgroup)
        await host.close()
        await engine.close()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks into this machine's processes")
