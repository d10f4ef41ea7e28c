"""DaemonSets over the real registry in virtual time: what the conformance cases DS do not ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from controlplane_world import World, container, image_of, is_ready, name_of, phase, virtual, workload_json, world

from testbed.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS

Json = dict[str, Any]


async def create(cluster: World, **spec: Any) -> Json:
    return await cluster.client.create(DAEMON_SETS, workload_json("DaemonSet", "ds", **spec), "default")


async def ship(cluster: World, image: str = "sample:v2") -> None:
    spec = {"template": {"spec": {"containers": [container(image)]}}}
    await cluster.client.patch(DAEMON_SETS, "ds", {"spec": spec}, "default")


async def label(cluster: World, node: str, **labels: str | None) -> None:
    await cluster.client.patch(NODES, node, {"metadata": {"labels": labels}})


async def runs_on(cluster: World, *nodes: str) -> bool:
    pods = await cluster.pods()
    return Counter(pod["spec"].get("nodeName") for pod in pods) == Counter(nodes) and all(is_ready(pod) for pod in pods)


async def images(cluster: World) -> set[str]:
    return {image_of(pod) for pod in await cluster.pods(active=True)}


async def updated(cluster: World) -> bool:
    status = (await cluster.client.get(DAEMON_SETS, "ds", "default"))["status"]
    return await images(cluster) == {"sample:v2"} and status["numberAvailable"] == 3 \
        == status["updatedNumberScheduled"] == len(await cluster.pods())


@virtual
async def test_nodes_that_come_and_go_take_their_pod_with_them() -> None:
    async with world(("n1", "n2")) as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2"))
        await cluster.add_node("n3")
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        await cluster.client.patch(NODES, "n3", {"spec": {"unschedulable": True}})
        victim = (await cluster.pods(on="n3"))[0]
        await cluster.client.delete(PODS, name_of(victim), "default")  # a cordon keeps no daemon pod away

        async def again() -> bool:
            return await runs_on(cluster, "n1", "n2", "n3") and victim["metadata"]["uid"] not in {
                pod["metadata"]["uid"] for pod in await cluster.pods()}

        await cluster.until(again)
        cluster.agents["n3"].connected = False
        await cluster.client.delete(NODES, "n3")
        await cluster.until(lambda: runs_on(cluster, "n1", "n2"))


@virtual
async def test_a_silent_node_keeps_its_daemon_pod() -> None:
    """It tolerates not-ready and unreachable for ever: nobody could run it elsewhere."""
    async with world() as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        before = {pod["metadata"]["uid"] for pod in await cluster.pods()}
        cluster.agents["n2"].connected = False
        await asyncio.sleep(30)
        assert not [pod for pod in await cluster.pods() if pod["metadata"].get("deletionTimestamp")]
        cluster.agents["n2"].connected = True
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        assert {pod["metadata"]["uid"] for pod in await cluster.pods()} == before


@virtual
async def test_ds_04_on_delete_changes_nothing_but_the_history() -> None:
    async with world() as cluster:
        await create(cluster, updateStrategy={"type": "OnDelete"})
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        await ship(cluster)
        await asyncio.sleep(10)
        assert await images(cluster) == {"sample:v1"}
        history = await cluster.items(CONTROLLER_REVISIONS)
        assert sorted(item["revision"] for item in history) == [1, 2]
        victim = (await cluster.pods(on="n1"))[0]
        await cluster.client.delete(PODS, name_of(victim), "default")

        async def only_n1() -> bool:
            return {pod["spec"].get("nodeName"): image_of(pod) for pod in await cluster.pods()} == {
                "n1": "sample:v2", "n2": "sample:v1", "n3": "sample:v1"}

        await cluster.until(only_n1)


@virtual
async def test_a_broken_update_costs_one_node_only_and_a_fixed_one_heals() -> None:
    async with world(healthy=lambda pod: image_of(pod) != "sample:broken") as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        await ship(cluster, "sample:broken")
        await asyncio.sleep(30)
        assert len(await cluster.ready_pods()) == 2
        await ship(cluster, "sample:v2")
        await cluster.until(lambda: updated(cluster))


@virtual
async def test_a_condition_of_others_stays_and_a_collection_takes_its_revisions_along() -> None:
    async with world() as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E"}
        await cluster.client.patch(DAEMON_SETS, "ds", {"status": {"conditions": [condition]}}, "default",
                                   subresource="status")
        await label(cluster, "n1", seen="yes")
        await asyncio.sleep(1)
        status = (await cluster.client.get(DAEMON_SETS, "ds", "default"))["status"]
        assert status["conditions"] == [condition] and status["numberReady"] == 3
        cluster.registry.delete_collection(DAEMON_SETS, "default")
        await cluster.until(lambda: runs_on(cluster))
        assert not await cluster.items(CONTROLLER_REVISIONS)


@virtual
async def test_killed_control_planes_change_nothing_in_the_outcome() -> None:
    async with world() as cluster:
        await create(cluster)
        for turn in range(12):
            await asyncio.sleep(0.13 + 0.05 * turn)
            if turn == 5:
                await ship(cluster)
            await cluster.kill_control_plane()
            await cluster.start_control_plane()
        await cluster.until(lambda: updated(cluster))
        assert all(phase(pod) == "Running" for pod in await cluster.pods())
