"""NetworkChaos on the simulation: Chaos Mesh's own examples as they are, and what they do to a Service's users."""

from __future__ import annotations

from typing import Any

from faults_contract import REGISTRY, injected, object_of, removed
from simulated_ground import SimulatedGround, on_simulated_ground
from test_faults_network_spec import BASE, EXAMPLES

from faults.kinds import NETWORK_CHAOS
from testbed.api.resources import DEPLOYMENTS, NAMESPACES
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import is_true, open_world

Json = dict[str, Any]
FAULT = REGISTRY.get("NetworkChaos/partition")


def component(name: str, namespace: str, replicas: int) -> Json:
    labels = {"app.kubernetes.io/component": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "sample:v1"}]}}}}


def test_chaos_meshs_examples_run_as_they_are() -> None:
    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, 1, nodes=3) as world:
            for name in ("web", "db", "storage"):
                await world.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            for obj in (component("tikv", "default", 3), component("web-app", "web", 2), component("pool", "db", 2)):
                await world.client.create(DEPLOYMENTS, obj, obj["metadata"]["namespace"])
            ground = SimulatedGround(world)

            async def all_run() -> bool:
                return [is_true(pod, "Ready") for pod in world.pods()] == [True] * 7

            await ground.until("all pods", all_run)
            for name, spec in EXAMPLES.items():
                await world.create(NETWORK_CHAOS, {
                    "apiVersion": NETWORK_CHAOS.api_version, "kind": "NetworkChaos", "metadata": {"name": name},
                    "spec": {**BASE, **spec}})
                obj = await injected(ground, FAULT, name)
                records = obj["status"]["experiment"]["containerRecords"]
                assert len(records) == (2 if "target" in spec else 1)
                assert len({record["id"] for record in records}) == len(records)  # no pod is its own peer
                await removed(ground, FAULT, name)
                assert not await ground.left()

    run_virtual(main)


def test_two_selections_of_the_same_pods_choose_different_ones_or_none_is_hit() -> None:
    async def body(ground: SimulatedGround) -> None:
        target = {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}}
        both = object_of(FAULT, "apart", "1m")
        both["spec"]["target"] = target
        await ground.create(FAULT.kind, both)
        records = (await injected(ground, FAULT, "apart"))["status"]["experiment"]["containerRecords"]
        assert {record["selectorKey"] for record in records} == {".", ".Target"}
        assert len({record["id"] for record in records}) == 2
        pod = records[0]["id"].partition("/")[2]
        await removed(ground, FAULT, "apart")

        alone = object_of(FAULT, "alone", "1m")
        alone["spec"] |= {"selector": {"pods": {"default": [pod]}},
                          "target": {"mode": "all", "selector": {"pods": {"default": [pod]}}}}
        await ground.create(FAULT.kind, alone)

        async def told() -> bool:
            return "chose the same pod" in str(await ground.get(FAULT.kind, "alone"))

        await ground.until("the reason to be told", told)
        assert not await ground.left()

    on_simulated_ground(FAULT, body)
