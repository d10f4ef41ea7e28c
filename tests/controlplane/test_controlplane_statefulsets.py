"""StatefulSets over the real registry in virtual time: what the conformance cases SS do not ask, or less exactly."""

from __future__ import annotations

import asyncio
from typing import Any

from controlplane_world import World, container, image_of, name_of, virtual, workload_json, world

from testbed.api.resources import CONTROLLER_REVISIONS, PODS, SERVICES, STATEFUL_SETS

Json = dict[str, Any]


async def create(cluster: World, replicas: int = 3, **spec: Any) -> Json:
    made = workload_json("StatefulSet", "db", replicas=replicas, serviceName="db", **spec)
    return await cluster.client.create(STATEFUL_SETS, made, "default")


async def change(cluster: World, spec: Json) -> Json:
    return await cluster.client.patch(STATEFUL_SETS, "db", {"spec": spec}, "default")


async def ship(cluster: World, image: str) -> None:
    await change(cluster, {"template": {"spec": {"containers": [container(image)]}}})


async def status(cluster: World) -> Json:
    found: Json = (await cluster.client.get(STATEFUL_SETS, "db", "default")).get("status") or {}
    return found


async def images(cluster: World) -> dict[str, str]:
    return {name_of(pod): image_of(pod).rpartition(":")[2] for pod in await cluster.pods(active=True)}


class Watch:
    """Every pod that appeared or went, in order; and whether two of one name were ever alive."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.alive: dict[str, str] = {}
        self.doubles: list[str] = []

    def heard(self, old: Json | None, new: Json | None) -> None:
        if old is None and new is not None:
            name, uid = name_of(new), new["metadata"]["uid"]
            if self.alive.get(name, uid) != uid:
                self.doubles.append(name)
            self.alive[name] = uid
            self.story.append(f"+{name}")
        elif new is None and old is not None:
            self.alive.pop(name_of(old), None)
            self.story.append(f"-{name_of(old)}")
        elif old is not None and new is not None and (
            "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in old["metadata"]
        ):
            self.story.append(f"~{name_of(new)}")


async def watched(cluster: World) -> Watch:
    watch = Watch()
    await cluster.observe(PODS, watch.heard)
    return watch


@virtual
async def test_ss_01_pods_have_an_identity_that_dns_knows() -> None:
    """Hostname is the pod's name, the headless Service publishes it, and a pod comes back as itself (no PVCs here)."""
    async with world() as cluster:
        await cluster.client.create(SERVICES, {"metadata": {"name": "db"}, "spec": {
            "clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}}, "default")
        await create(cluster)
        await cluster.until(lambda: cluster.settled(3))
        for index, pod in enumerate(sorted(await cluster.pods(), key=name_of)):
            labels, name = pod["metadata"]["labels"], f"db-{index}"
            assert name_of(pod) == pod["spec"]["hostname"] == labels["statefulset.kubernetes.io/pod-name"] == name
            assert pod["spec"]["subdomain"] == "db" and labels["apps.kubernetes.io/pod-index"] == str(index)

        async def published() -> bool:
            return {item.get("hostname") for item in await cluster.endpoints("db")} == {"db-0", "db-1", "db-2"}

        await cluster.until(published)
        before = {name_of(pod): pod["metadata"]["uid"] for pod in await cluster.pods()}
        for name in before:
            await cluster.client.delete(PODS, name, "default")

        async def all_new() -> bool:
            pods = await cluster.ready_pods()
            return {name_of(pod) for pod in pods} == set(before) and all(
                pod["metadata"]["uid"] != before[name_of(pod)] for pod in pods)

        await cluster.until(all_new)
        await cluster.until(published)


@virtual
async def test_pods_are_made_in_order_and_go_in_reverse_one_at_a_time() -> None:
    async with world() as cluster:
        watch = await watched(cluster)
        await create(cluster)
        await cluster.until(lambda: cluster.settled(3))
        await change(cluster, {"replicas": 0})
        await cluster.until(lambda: cluster.settled(0))
        assert watch.story == ["+db-0", "+db-1", "+db-2", "~db-2", "-db-2", "~db-1", "-db-1", "~db-0", "-db-0"]


@virtual
async def test_ss_04_rolling_update_in_reverse_order_and_back_to_the_old_revision() -> None:
    async with world() as cluster:
        watch = await watched(cluster)
        await create(cluster)
        await cluster.until(lambda: cluster.settled(3))
        first = (await status(cluster))["currentRevision"]
        assert (await status(cluster))["updateRevision"] == first
        watch.story.clear()
        await ship(cluster, "sample:v2")

        async def begun() -> bool:
            return (await status(cluster))["updateRevision"] != first

        async def at(image: str) -> bool:
            now = await status(cluster)
            return (now["currentRevision"] == now["updateRevision"] and now["readyReplicas"] == 3
                    and set((await images(cluster)).values()) == {image})

        await cluster.until(begun)
        assert (await status(cluster))["currentRevision"] == first
        await cluster.until(lambda: at("v2"))
        assert watch.story == [f"{sign}db-{index}" for index in (2, 1, 0) for sign in "~-+"]
        watch.story.clear()
        await ship(cluster, "sample:v1")
        await cluster.until(lambda: at("v1"))
        assert watch.story == [f"{sign}db-{index}" for index in (2, 1, 0) for sign in "~-+"] and not watch.doubles
        assert (await status(cluster))["currentRevision"] == first
        numbers = {name_of(item): item["revision"] for item in await cluster.items(CONTROLLER_REVISIONS)}
        assert numbers[first] == 3 and sorted(numbers.values()) == [2, 3]


@virtual
async def test_ss_06_a_pod_below_the_partition_returns_at_the_old_revision() -> None:
    async with world() as cluster:
        await create(cluster, 3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
        await cluster.until(lambda: cluster.settled(3))
        await cluster.client.patch(PODS, "db-0", {"metadata": {"finalizers": ["example.io/held"]}}, "default")
        await cluster.client.delete(PODS, "db-0", "default")
        await ship(cluster, "sample:v2")
        await asyncio.sleep(5)
        assert len([pod for pod in await cluster.pods() if name_of(pod) == "db-0"]) == 1  # held, never doubled
        await cluster.client.patch(PODS, "db-0", {"metadata": {"finalizers": None}}, "default")

        async def mixed() -> bool:
            return len(await cluster.ready_pods()) == 3 and await images(cluster) == {
                "db-0": "v1", "db-1": "v2", "db-2": "v2"}

        await cluster.until(mixed)
        await change(cluster, {"updateStrategy": {"rollingUpdate": {"partition": 0}}})

        async def all_new() -> bool:
            return set((await images(cluster)).values()) == {"v2"} and len(await cluster.ready_pods()) == 3

        await cluster.until(all_new)


@virtual
async def test_ordered_scaling_halts_while_a_pod_is_unhealthy() -> None:
    """The twin of upstream's burst test: neither 1 to 3 nor 3 to 0 happens while pods are sick."""
    sick: set[str] = set()
    async with world(healthy=lambda pod: name_of(pod) not in sick) as cluster:
        await create(cluster, 1)
        await cluster.until(lambda: cluster.settled(1))
        sick.add("db-0")

        async def unready() -> bool:
            return not await cluster.ready_pods()

        await cluster.until(unready)
        await change(cluster, {"replicas": 3})
        await asyncio.sleep(20)
        assert len(await cluster.pods()) == 1
        sick.clear()
        await cluster.until(lambda: cluster.settled(3))
        sick |= {"db-0", "db-1", "db-2"}
        await cluster.until(unready)
        await change(cluster, {"replicas": 0})
        await asyncio.sleep(20)
        assert len(await cluster.pods()) == 3
        sick.clear()
        await cluster.until(lambda: cluster.settled(0))


@virtual
async def test_a_scale_tells_its_selector_and_a_collection_takes_its_revisions_along() -> None:
    async with world() as cluster:
        await create(cluster, 1)
        await cluster.until(lambda: cluster.settled(1))
        await cluster.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 2}}, "default", subresource="scale")
        await cluster.until(lambda: cluster.settled(2))
        scale = cluster.registry.scale(STATEFUL_SETS, "db", "default")
        assert scale["spec"]["replicas"] == 2 and scale["status"] == {"replicas": 2, "selector": "app=db"}
        cluster.registry.delete_collection(STATEFUL_SETS, "default", label_selector="")
        await cluster.until(lambda: cluster.settled(0))
        assert not await cluster.items(CONTROLLER_REVISIONS)


@virtual
async def test_i2_a_pod_on_a_lost_node_is_never_replaced() -> None:
    """Unknown is not dead: it stays Terminating until the node is back or gone from the API."""
    async with world() as cluster:
        watch = await watched(cluster)
        await create(cluster)
        await cluster.until(lambda: cluster.settled(3))
        lost = (await cluster.client.get(PODS, "db-1", "default"))["spec"]["nodeName"]
        there = {name_of(pod) for pod in await cluster.pods(on=lost)}
        cluster.agents[lost].connected = False
        await asyncio.sleep(60)
        stuck = [pod for pod in await cluster.pods(on=lost) if pod["metadata"].get("deletionTimestamp")]
        assert {name_of(pod) for pod in stuck} == there and len(await cluster.pods()) == 3
        cluster.agents[lost].connected = True
        await cluster.until(lambda: cluster.settled(3))
        assert not watch.doubles


@virtual
async def test_failed_pods_are_made_anew_under_the_same_name() -> None:
    async with world() as cluster:
        watch = await watched(cluster)
        await create(cluster, 2)
        await cluster.until(lambda: cluster.settled(2))
        old = (await cluster.client.get(PODS, "db-1", "default"))["metadata"]["uid"]
        await cluster.client.patch(PODS, "db-1", {"status": {"phase": "Failed"}}, "default", subresource="status")

        async def again() -> bool:
            return any(name_of(pod) == "db-1" and pod["metadata"]["uid"] != old for pod in await cluster.ready_pods())

        await cluster.until(again)
        assert not watch.doubles and "RecreatingFailedPod" in await cluster.event_reasons("db")


@virtual
async def test_killed_control_planes_change_nothing_in_the_outcome() -> None:
    async with world() as cluster:
        watch = await watched(cluster)
        await create(cluster, 4)
        for round_number in range(12):
            await asyncio.sleep(0.11 + 0.07 * round_number)
            if round_number == 6:
                await ship(cluster, "sample:v2")
            await cluster.kill_control_plane()
            await cluster.start_control_plane()

        async def done() -> bool:
            return await cluster.settled(4) and set((await images(cluster)).values()) == {"v2"}

        await cluster.until(done)
        assert not watch.doubles
        assert sorted(item["revision"] for item in await cluster.items(CONTROLLER_REVISIONS)) == [1, 2]
