"""The simulated world as a ground for the contract of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from faults_contract import APP, Json, Snapshot, workload

from faults.ledger import Entry
from faults.pod_failure import PAUSE_IMAGE
from faults.protocol import Fault
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS, NODES, SERVICES, ResourceType
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import World, is_true, open_world


class SimulatedGround:
    """``engine_node``: one with a container engine of its own; empty: there is none."""

    def __init__(self, world: World, engine_node: str = "") -> None:
        self.world, self.engine_node = world, engine_node

    async def create(self, resource: ResourceType, obj: Json) -> None:
        await self.world.create(resource, obj)

    async def get(self, resource: ResourceType, name: str) -> Json:
        return await self.world.client.get(resource, name, "default")

    async def delete(self, resource: ResourceType, name: str) -> None:
        await self.world.client.delete(resource, name, "default")

    async def undo_all(self) -> None:
        await self.world.chaos.undo_by_hand()

    def entries(self) -> Sequence[Entry]:
        return self.world.chaos.ledger.all()

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
            "cables": {name: dict(node.cable.holds) for name, node in self.world.room.nodes.items()},
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
            *(f"cable of {name}: {hold}" for name, node in world.room.nodes.items()
              for hold in node.cable.holds.values()),
            *(f"engine of {name}: {node.engine.state()}" for name, node in world.room.nodes.items()
              if node.engine.state().held_by),
            *(f"the API is held down by {key}" for state in (await world.room.status()).processes
              for key in state.held_down),
            *(f"{pod['metadata']['name']} has the pause image" for pod in world.pods()
              if any(container["image"] == PAUSE_IMAGE for container in pod["spec"]["containers"])),
            *(f"in the ledger: {entry.id} {entry.phase}" for entry in world.chaos.ledger.active()),
            *(f"holder of {entry}" for entry in world.chaos.holders.held),
        ]


def on_simulated_ground(
    fault: Fault, body: Callable[[SimulatedGround], Coroutine[Any, Any, None]], *, seed: int = 1
) -> None:
    """Runs ``body`` in virtual time, with a node of the kind that the fault is for."""

    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, seed, nodes=3) as world:
            for resource, obj in zip((DEPLOYMENTS, SERVICES), workload(), strict=True):
                await world.create(resource, obj)
            await world.start_registry()
            if "slice" in fault.node_kinds:
                ground = SimulatedGround(world)
            else:
                ground = SimulatedGround(world, await world.room.add_node("own", kind=fault.node_kinds[0]))
            await ground.until("the first pods", lambda: _some(world))
            await ground.settle()
            await body(ground)

    run_virtual(main)


async def _some(world: World) -> bool:
    return len(world.pods(app=APP)) == 2
