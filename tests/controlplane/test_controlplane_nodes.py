"""Nodes that die, fall silent, or seem to: what happens to their pods, and what must not happen."""

from __future__ import annotations

import asyncio

from controlplane_world import World, condition_of, is_ready, virtual, world

from testbed.api.labels import TAINT_UNREACHABLE
from testbed.api.resources import NODES, PODS
from testbed.core.profile import FAST, KUBERNETES
from testbed.errors import NotFound


async def taints(w: World, name: str) -> list[tuple[str, str]]:
    node = await w.client.get(NODES, name)
    return [(item["key"], item["effect"]) for item in node.get("spec", {}).get("taints") or ()]


async def serving(w: World, replicas: int = 3) -> None:
    await w.create_service()
    await w.apply_deployment(replicas=replicas)
    await w.until(w.complete)


@virtual
async def test_a_lost_node_is_noticed_isolated_and_replaced() -> None:
    async with world() as w:
        await serving(w)
        victim = next(pod for pod in await w.pods() if pod["spec"]["nodeName"] == "n2")
        w.agents["n2"].connected = False
        silent_s = asyncio.get_running_loop().time()

        async def isolated() -> bool:
            ready = [item for item in await w.endpoints() if item["conditions"]["ready"]]
            return len(ready) == 2

        await w.until(isolated)
        noticed_s = asyncio.get_running_loop().time() - silent_s
        grace_s, period_s = FAST.node_monitor_grace_s, FAST.node_monitor_period_s
        assert grace_s - FAST.lease_renew_interval_s <= noticed_s <= grace_s + 2 * period_s
        assert condition_of(await w.client.get(NODES, "n2"), "Ready")["status"] == "Unknown"
        assert "NodeNotReady" in await w.event_reasons("n2")

        async def replaced() -> bool:
            return len(await w.ready_pods()) == 3

        await w.until(replaced)
        repaired_s = asyncio.get_running_loop().time() - silent_s
        assert repaired_s <= FAST.node_monitor_grace_s + FAST.default_toleration_s + 1.5
        assert (TAINT_UNREACHABLE, "NoExecute") in await taints(w, "n2")
        assert "TaintManagerEviction" in await w.event_reasons(victim["metadata"]["name"])
        left = await w.client.get(PODS, victim["metadata"]["name"], "default")
        assert left["metadata"]["deletionTimestamp"], "it stays Terminating: nobody can say that it is gone"
        assert condition_of(left, "DisruptionTarget")["reason"] == "DeletionByTaintManager"


@virtual
async def test_a_node_that_comes_back_is_cleaned_of_what_was_given_away() -> None:
    """reliability 48: the number of pods does not grow, and ends where it was."""
    async with world() as w:
        await serving(w)
        w.agents["n2"].connected = False

        async def replaced() -> bool:
            return len(await w.ready_pods()) == 3 and len(await w.pods()) == 4

        await w.until(replaced)
        w.agents["n2"].connected = True

        async def clean() -> bool:
            return await w.settled(3) and await taints(w, "n2") == []

        await w.until(clean)
        assert await w.node_ready("n2")


@virtual
async def test_a_short_silence_costs_nothing() -> None:
    async with world() as w:
        await serving(w)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        w.agents["n2"].connected = False
        await asyncio.sleep(FAST.node_monitor_grace_s - 0.6)
        w.agents["n2"].connected = True
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert await w.settled(3)
        assert "NodeNotReady" not in await w.event_reasons()


@virtual
async def test_a_return_within_the_toleration_cancels_the_eviction() -> None:
    async with world() as w:
        await serving(w)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        w.agents["n2"].connected = False

        async def tainted() -> bool:
            return (TAINT_UNREACHABLE, "NoExecute") in await taints(w, "n2")

        await w.until(tainted)
        w.agents["n2"].connected = True
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert await w.settled(3)


@virtual
async def test_all_nodes_silent_at_once_freezes_everything() -> None:
    """I5: it is more likely that we are cut off. Endpoints stay, nobody is evicted, all is well when they return."""
    async with world() as w:
        await serving(w)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        for agent in w.agents.values():
            agent.connected = False
        await asyncio.sleep(30)
        assert {pod["metadata"]["uid"] for pod in await w.ready_pods()} == before
        assert len([item for item in await w.endpoints() if item["conditions"]["ready"]]) == 3
        assert [await taints(w, name) for name in w.agents] == [[], [], []]
        assert condition_of(await w.client.get(NODES, "n1"), "Ready")["status"] == "Unknown"
        for name in ("n1", "n2", "n3"):  # the first one to be heard does not condemn the others
            w.agents[name].connected = True
            await asyncio.sleep(1.0)
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert await w.settled(3)


@virtual
async def test_a_control_plane_that_has_just_started_gives_everybody_a_full_grace_period() -> None:
    """The leases are long out of date: by the wall clock all would be dead. Silence counts only while we watch it."""
    async with world() as w:
        await serving(w)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        await w.kill_control_plane()
        w.agents["n2"].connected = False
        await asyncio.sleep(100)
        await w.start_control_plane()
        await asyncio.sleep(FAST.node_monitor_grace_s / 2)
        w.agents["n2"].connected = True
        await asyncio.sleep(10)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert "NodeNotReady" not in await w.event_reasons()


@virtual
async def test_a_jump_of_the_wall_clock_changes_nothing() -> None:
    """I12, reliability 34."""
    from datetime import timedelta

    async with world() as w:
        await serving(w)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        for jump in (timedelta(hours=1), timedelta(hours=-2), timedelta(days=3650), timedelta(days=-3000)):
            w.clock.offset += jump
            await asyncio.sleep(5)
        assert {pod["metadata"]["uid"] for pod in await w.pods()} == before
        assert await w.settled(3)
        assert "NodeNotReady" not in await w.event_reasons()


@virtual
async def test_a_deleted_node_loses_its_pods() -> None:
    async with world() as w:
        await serving(w)
        w.agents["n2"].connected = False
        await w.client.delete(NODES, "n2")

        async def moved() -> bool:
            return await w.settled(3) and not await w.pods(on="n2")

        await w.until(moved)


@virtual
async def test_upstream_constants_hold_in_the_kubernetes_profile() -> None:
    async with world(profile=KUBERNETES) as w:
        await serving(w)
        w.agents["n2"].connected = False
        silent_s = asyncio.get_running_loop().time()

        async def replaced() -> bool:
            return len(await w.ready_pods()) == 3 and len(await w.pods()) == 4

        await w.until(replaced, within_s=600)
        took_s = asyncio.get_running_loop().time() - silent_s
        assert 50 + 300 - 10 <= took_s <= 50 + 300 + 20


@virtual
async def test_lost_nodes_are_evicted_one_after_another() -> None:
    async with world(nodes=("n1", "n2", "n3", "n4", "n5")) as w:
        await serving(w, replicas=5)
        tainted_s: list[float] = []
        seen: set[str] = set()

        def watch(old: object, new: object) -> None:
            assert isinstance(new, dict)
            executing = any(item["effect"] == "NoExecute" for item in new.get("spec", {}).get("taints") or ())
            if executing and new["metadata"]["name"] not in seen:
                seen.add(new["metadata"]["name"])
                tainted_s.append(asyncio.get_running_loop().time())

        await w.observe(NODES, watch)
        w.agents["n1"].connected = w.agents["n2"].connected = False

        async def both() -> bool:
            return len(seen) == 2

        await w.until(both)
        assert tainted_s[1] - tainted_s[0] >= 1 / FAST.node_eviction_rate_per_s - 0.01


@virtual
async def test_most_nodes_lost_stops_evictions() -> None:
    """kubernetes: partial disruption, 55 % and at least three not ready: rate 0 in small clusters."""
    async with world(nodes=("n1", "n2", "n3", "n4", "n5")) as w:
        await serving(w, replicas=5)
        for name in ("n1", "n2", "n3"):
            w.agents[name].connected = False
        await asyncio.sleep(20)
        assert not any(pod["metadata"].get("deletionTimestamp") for pod in await w.pods())
        assert len([item for item in await w.endpoints() if item["conditions"]["ready"]]) == 2
        assert sum(is_ready(pod) for pod in await w.pods()) == 2


@virtual
async def test_a_cordoned_node_gets_no_new_pods() -> None:
    async with world(nodes=("n1", "n2")) as w:
        await w.client.patch(NODES, "n1", {"spec": {"unschedulable": True}})
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        assert {pod["spec"]["nodeName"] for pod in await w.pods()} == {"n2"}


@virtual
async def test_a_pod_that_fits_nowhere_says_so_and_is_placed_when_room_appears() -> None:
    async with world(nodes=("n1",)) as w:
        await w.client.create(PODS, {"metadata": {"name": "big"}, "spec": {
            "nodeSelector": {"disk": "ssd"}, "containers": [{"name": "web", "image": "sample:v1"}]}}, "default")

        async def refused() -> bool:
            pod = await w.client.get(PODS, "big", "default")
            return condition_of(pod, "PodScheduled").get("reason") == "Unschedulable"

        await w.until(refused)
        pod = await w.client.get(PODS, "big", "default")
        assert "didn't match Pod's node affinity/selector" in condition_of(pod, "PodScheduled")["message"]
        assert "FailedScheduling" in await w.event_reasons("big")
        await w.client.patch(NODES, "n1", {"metadata": {"labels": {"disk": "ssd"}}})

        async def placed() -> bool:
            return bool((await w.client.get(PODS, "big", "default"))["spec"].get("nodeName"))

        assert await w.until(placed) < 0.1


@virtual
async def test_a_deleted_namespace_goes_with_all_that_was_in_it() -> None:
    from testbed.api.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES

    async with world() as w:
        await w.client.create(NAMESPACES, {"metadata": {"name": "shop"}})
        from controlplane_world import deployment_json

        await w.client.create(DEPLOYMENTS, deployment_json(), "shop")
        await w.client.create(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"a": "b"}}, "shop")

        async def ready() -> bool:
            return len(await w.ready_pods()) == 3

        await w.until(ready)
        await w.client.delete(NAMESPACES, "shop")

        async def gone() -> bool:
            try:
                await w.client.get(NAMESPACES, "shop")
            except NotFound:
                return True
            return False

        await w.until(gone)
        assert await w.pods() == []
