"""The simulated world as a ground for the contract of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from faults_contract import APP, Json, Snapshot, workload

from faults.pod_failure import PAUSE_IMAGE
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS, NODES, SERVICES, ResourceType
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import World, is_true, open_world


class SimulatedGround:
    def __init__(self, world: World) -> None:
        self.world = world

    async def create(self, resource: ResourceType, obj: Json) -> None:
        await self.world.create(resource, obj)

    async def get(self, resource: ResourceType, name: str) -> Json:
        return await self.world.client.get(resource, name, "default")

    async def delete(self, resource: ResourceType, name: str) -> None:
        await self.world.client.delete(resource, name, "default")

    async def until(self, what: str, condition: Callable[[], Awaitable[Any]], within_s: float = 60.0) -> Any:
        found: list[Any] = []

        async def holds() -> bool:
            found[:] = [await condition()]
            return bool(found[0])

        await self.world.until(holds, within_s=within_s, what=what)
        return found[0]

    async def settle(self) -> None:
        await self.world.until(self.whole, within_s=180, what="the cluster to be whole again")

    async def whole(self) -> bool:
        if self.world.settled():
            return False
        return all(is_true(pod, "Ready") for pod in self.world.pods()) and not any(
            item.removing for item in self.world.machine.containers.values())

    async def snapshot(self) -> Snapshot:
        machine = self.world.machine
        return {
            "containers": Counter(
                (item.spec.labels.get(labels.ROLE), item.spec.labels.get(labels.CONTAINER_NAME), item.spec.image,
                 item.link_up, item.limits) for item in machine.containers.values() if item.running),
            "agents": sorted(item.cgroup for item in machine.processes.values() if item.cgroup.endswith("/agent")),
            "processes": len(machine.processes),
            "frozen": set(machine.frozen),
            "networks": sorted(machine.networks), "volumes": sorted(machine.volumes), "images": sorted(machine.images),
            "power": {name: node.powered for name, node in self.world.room.nodes.items()},
            "cables": {name: vars(node.cable) for name, node in self.world.room.nodes.items()},
            "nodes": {node["metadata"]["name"]: (node["spec"].get("unschedulable"), node["spec"].get("taints"))
                      for node in self.world.objects(NODES)},
            "pods": Counter(tuple(container["image"] for container in pod["spec"]["containers"])
                            for pod in self.world.pods()),
            "hiccups": vars(machine.hiccups).copy(),
            "load": machine.damage.load_of(f"/testbed-{self.world.instance_id}"),
        }

    async def left(self) -> list[str]:
        world, machine = self.world, self.world.machine
        holders = [item.spec.name for item in machine.containers.values()
                   if item.spec.labels.get(labels.ROLE) == labels.ROLE_HOLDER]
        return [
            *(f"in effect: {effect}" for effects in world.effects.in_force.values() for effect in effects),
            *(f"holder container {name}" for name in holders),
            *(f"frozen: {cgroup}" for cgroup in sorted(machine.frozen)),
            *(f"{name} has no power" for name, node in world.room.nodes.items() if not node.powered),
            *(f"{name} is cut off" for name, node in world.room.nodes.items() if node.cable.cut),
            *(f"{pod['metadata']['name']} has the pause image" for pod in world.pods()
              if any(container["image"] == PAUSE_IMAGE for container in pod["spec"]["containers"])),
            *(f"in the ledger: {entry.id} {entry.phase}" for entry in world.chaos.ledger.active()),
            *(f"holder of {entry}" for entry in world.chaos.holders.held),
        ]


def on_simulated_ground(body: Callable[[SimulatedGround], Coroutine[Any, Any, None]], *, seed: int = 1) -> None:
    """Runs ``body`` in virtual time."""

    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, seed, nodes=3) as world:
            for resource, obj in zip((DEPLOYMENTS, SERVICES), workload(), strict=True):
                await world.create(resource, obj)
            ground = SimulatedGround(world)
            await ground.until("the first pods", lambda: _some(world))
            await ground.settle()
            await body(ground)

    run_virtual(main)


async def _some(world: World) -> bool:
    return len(world.pods(app=APP)) == 2
