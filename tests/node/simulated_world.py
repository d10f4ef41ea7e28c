"""The agent's world in virtual time: simulated engine and host, the real registry, the real probe kinds."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from node_world import World, world

from testbed.core.profile import FAST, Profile
from testbed.node.facts import PAUSE_IMAGE
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.simulation.effects import Effects
from testbed.simulation.loop import VirtualClock, VirtualLoop, run_virtual
from testbed.simulation.network import SimulatedNetwork

INSTANCE_ID = "5111111111aa"


class SimulatedWorld(World):
    machine: SimulatedMachine

    def containers(self, name: str = "app", status: str = "") -> list[Any]:
        """Simulated containers of that name, oldest first."""
        found = [item for item in self.machine.containers.values()
                 if item.spec.labels.get("io.kubernetes.container.name") == name]
        return [item for item in found if not status or item.status == status]

    def running(self, name: str = "app") -> Any:
        found = self.containers(name, "running")
        assert len(found) == 1, f"{len(found)} containers of {name} run"
        return found[0]

    async def crash(self, name: str = "app") -> None:
        """SIGKILL from the host: the engine is not told."""
        process = await self.host.identify(self.running(name).process.pid)
        await self.host.signal(process, 9)


def simulated(
    tmp_path: Path, body: Callable[[SimulatedWorld], Awaitable[None]], *, profile: Profile = FAST, seed: int = 3,
) -> None:
    """Runs ``body`` with a world whose agent is not started yet."""

    def main(loop: VirtualLoop) -> Coroutine[Any, Any, None]:
        async def run() -> None:
            clock = VirtualClock(loop)
            machine = SimulatedMachine(random.Random(seed), clock)
            machine.add_image("sample:v1", "sample:v2", "sample:broken", PAUSE_IMAGE)
            loop.network = SimulatedNetwork(machine, Effects(machine, "10.200.0.1"))
            engine, host = SimulatedEngine(machine), SimulatedHost(machine, INSTANCE_ID)
            await engine.create_network("net", subnet="10.99.0.0/17", gateway="10.99.0.1", bridge="", labels={})
            async with world(
                tmp_path, engine, host, instance_id=INSTANCE_ID, network="net", cidr="10.99.1.0/24",
                address="10.99.0.1", profile=profile, clock=clock,
            ) as made:
                made.__class__ = SimulatedWorld
                assert isinstance(made, SimulatedWorld)
                made.machine = machine
                await body(made)

        return run()

    run_virtual(main)
