"""DaemonSets over the real registry in virtual time. Named by the conformance cases."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from controlplane_world import World, container, image_of, is_ready, name_of, phase, virtual, workload_json, world

from testbed.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS

Json = dict[str, Any]


async def create(cluster: World, **spec: Any) -> Json:
    return await cluster.client.create(DAEMON_SETS, workload_json("DaemonSet", "ds", **spec), "default")


async def change(cluster: World, spec: Json) -> Json:
    return await cluster.client.patch(DAEMON_SETS, "ds", {"spec": spec}, "default")


async def ship(cluster: World, image: str = "sample:v2", **strategy: Any) -> None:
    spec: Json = {"template": {"spec": {"containers": [container(image)]}}}
    await change(cluster, {**spec, **({"updateStrategy": strategy} if strategy else {})})


async def label(cluster: World, node: str, **labels: str | None) -> None:
    await cluster.client.patch(NODES, node, {"metadata": {"labels": labels}})


async def runs_on(cluster: World, *nodes: str) -> bool:
    pods = await cluster.pods()
    return Counter(pod["spec"].get("nodeName") for pod in pods) == Counter(nodes) and all(is_ready(pod) for pod in pods)


async def images(cluster: World) -> set[str]:
    return {image_of(pod) for pod in await cluster.pods(active=True)}


async def updated(cluster: World, count: int = 3) -> bool:
    status = (await cluster.client.get(DAEMON_SETS, "ds", "default"))["status"]
    return await images(cluster) == {"sample:v2"} and status["numberAvailable"] == count \
        == status["updatedNumberScheduled"] and len(await cluster.pods()) == count


@virtual
async def test_ds_01_one_pod_on_every_node_and_a_deleted_one_is_revived() -> None:
    async with world() as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        victim = (await cluster.pods(on="n2"))[0]
        await cluster.client.delete(PODS, name_of(victim), "default")

        async def revived() -> bool:
            pods = await cluster.pods(on="n2")
            return [pod["metadata"]["uid"] for pod in pods] != [victim["metadata"]["uid"]] and await runs_on(
                cluster, "n1", "n2", "n3")

        await cluster.until(revived)
        status = (await cluster.client.get(DAEMON_SETS, "ds", "default"))["status"]
        assert (status["desiredNumberScheduled"], status["numberAvailable"], status["numberUnavailable"]) == (3, 3, 0)


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
async def test_ds_02_labels_of_nodes_decide_where_it_runs() -> None:
    async with world() as cluster:
        await create(cluster, template={
            "metadata": {"labels": {"app": "ds"}},
            "spec": {"containers": [container()], "nodeSelector": {"color": "blue"}}})
        await asyncio.sleep(2)
        assert not await cluster.pods()
        await label(cluster, "n1", color="blue")
        await cluster.until(lambda: runs_on(cluster, "n1"))
        await label(cluster, "n1", color="green")
        await cluster.until(lambda: runs_on(cluster))
        await label(cluster, "n2", color="green")
        await change(cluster, {"template": {"spec": {"nodeSelector": {"color": "green"}}}})
        await cluster.until(lambda: runs_on(cluster, "n1", "n2"))
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "color", "operator": "In", "values": ["red"]}]}]}}}
        await change(cluster, {"template": {"spec": {"nodeSelector": None, "affinity": affinity}}})
        await cluster.until(lambda: runs_on(cluster))
        await label(cluster, "n3", color="red")
        await cluster.until(lambda: runs_on(cluster, "n3"))


@virtual
async def test_ds_03_failed_pods_are_replaced_and_removed() -> None:
    async with world() as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        victim = (await cluster.pods(on="n1"))[0]
        await cluster.client.patch(PODS, name_of(victim), {"status": {"phase": "Failed"}}, "default",
                                   subresource="status")

        async def replaced() -> bool:
            return await runs_on(cluster, "n1", "n2", "n3") and victim["metadata"]["uid"] not in {
                pod["metadata"]["uid"] for pod in await cluster.pods()}

        await cluster.until(replaced)
        assert "FailedDaemonPod" in await cluster.event_reasons("ds")


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
async def test_ds_05_a_rolling_update_has_at_most_one_node_without_an_available_pod() -> None:
    async with world() as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3"))
        await ship(cluster)
        worst = 3

        async def done() -> bool:
            nonlocal worst
            worst = min(worst, len(await cluster.ready_pods()))
            return await updated(cluster)

        await cluster.until(done)
        assert worst == 2
        hashes = {pod["metadata"]["labels"]["controller-revision-hash"] for pod in await cluster.pods()}
        assert len(hashes) == 1


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
async def test_ds_07_surge_keeps_an_available_pod_on_every_node() -> None:
    """Upstream's numbers: surge 20 %, 10 s to become available; overlap of old and new at most 60 s."""
    async with world(("n1", "n2", "n3", "n4", "n5"), stop_s=15.0) as cluster:
        await create(cluster)
        await cluster.until(lambda: runs_on(cluster, "n1", "n2", "n3", "n4", "n5"))
        await change(cluster, {"minReadySeconds": 10})
        await asyncio.sleep(11)
        await ship(cluster, type="RollingUpdate", rollingUpdate={"maxSurge": "20%", "maxUnavailable": 0})
        overlapping: dict[str, float] = {}

        async def done() -> bool:
            now_s = asyncio.get_running_loop().time()
            ready = Counter(pod["spec"]["nodeName"] for pod in await cluster.pods() if is_ready(pod))
            assert len(ready) == 5
            both = {node for node, pods in Counter(
                pod["spec"].get("nodeName") for pod in await cluster.pods()).items() if pods > 1}
            for node in list(overlapping):
                assert now_s - overlapping[node] < 60
                if node not in both:
                    del overlapping[node]
            for node in both:
                overlapping.setdefault(node, now_s)
            await asyncio.sleep(0.2)
            return await updated(cluster, 5)

        await cluster.until(done, within_s=400)


@virtual
async def test_ds_08_collections_and_status() -> None:
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
