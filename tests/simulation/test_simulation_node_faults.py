"""Faults of nodes and of the control plane in virtual time: what breaks, what goes on, and that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from faults.kinds import CONTROL_PLANE_CHAOS, NODE_CHAOS
from testbed.api import labels
from testbed.api.resources import DISRUPTION_BUDGETS, EVENTS, NODES, ResourceType
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]
Json = dict[str, Any]
WIDE = {"testbed.io/max-nodes": "3"}


async def fault(world: World, resource: ResourceType, name: str, **spec: Any) -> None:
    await world.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind,
                                  "metadata": {"name": name, "annotations": WIDE}, "spec": spec})


def on(node: str, **spec: Any) -> Json:
    return {"mode": "one", "selector": {"nodes": [node]}, **spec}


def seen(world: World, resource: ResourceType, name: str) -> Json:
    return next(obj for obj in world.objects(resource) if obj["metadata"]["name"] == name)


def injected(world: World, resource: ResourceType, name: str) -> Callable[[], bool]:
    return lambda: is_true(seen(world, resource, name), "AllInjected")


def recovered(world: World, resource: ResourceType, name: str) -> Callable[[], bool]:
    return lambda: is_true(seen(world, resource, name), "AllRecovered")


def moments(obj: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds at which the only injection was in effect, and was undone."""
    (record,) = obj["status"]["experiment"]["containerRecords"]
    done = {event["operation"]: event["monotonicNs"] / 1e9 for event in record["events"]
            if event["type"] == "Succeeded"}
    return done["Apply"], done["Recover"]


def node_of(world: World, name: str) -> Json:
    return next(node for node in world.objects(NODES) if node["metadata"]["name"] == name)


def ready_since(world: World) -> dict[str, str]:
    """Of each pod, when its readiness changed last."""
    return {pod["metadata"]["name"]: next(item["lastTransitionTime"] for item in pod["status"]["conditions"]
                                          if item["type"] == "Ready") for pod in world.pods(app="web")}


async def answers(world: World, address: str, port: int = 8080, *, source: str = "", within_s: float = 3.0) -> bool:
    """Whether a request from ``source`` (this machine) is answered in time."""
    try:
        async with asyncio.timeout(within_s):
            local = {"local_addr": (source, 0)} if source else {}
            reader, writer = await asyncio.open_connection(address, port, **local)
            writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            return answer.startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError):
        return False


# --- the API's process


def test_a_killed_api_comes_back_at_once_and_changes_no_readiness(in_world: Run) -> None:
    async def body(world: World) -> None:
        before = ready_since(world)
        await fault(world, CONTROL_PLANE_CHAOS, "crash", action="kill")
        await world.until(lambda: world.api.epoch == 2, within_s=5)
        await world.until(injected(world, CONTROL_PLANE_CHAOS, "crash"), within_s=10)
        await world.until_settled()
        assert ready_since(world) == before

    in_world(body)


def test_an_api_that_is_held_down_is_back_on_time_and_the_status_tells_afterwards(in_world: Run) -> None:
    async def body(world: World) -> None:
        before, service = ready_since(world), world.address_of("web")
        await fault(world, CONTROL_PLANE_CHAOS, "outage", action="kill", duration="8s")
        await world.until(lambda: not world.api.up, within_s=5)
        began = world.loop.time()
        victim = next(item for item in world.machine.containers.values()
                      if item.spec.labels.get(labels.ROLE) == labels.ROLE_CONTAINER and item.running)
        world.machine.exit(victim, 1)  # agents go on alone
        uid = victim.spec.labels[labels.POD_UID]
        while world.loop.time() - began < 7:
            await asyncio.sleep(0.5)  # until the victim is back it may be asked, for nobody can take it out
            assert not world.api.up
            assert await answers(world, *service)
        assert any(item.running and item.id != victim.id and item.spec.labels.get(labels.POD_UID) == uid
                   and item.spec.labels.get(labels.ROLE) == labels.ROLE_CONTAINER
                   for item in world.machine.containers.values())
        await world.until(recovered(world, CONTROL_PLANE_CHAOS, "outage"), within_s=20)
        start_s, end_s = moments(seen(world, CONTROL_PLANE_CHAOS, "outage"))
        assert abs(start_s - began) < 0.3
        assert 7.5 < end_s - start_s < 9
        await world.until_settled()
        changed = {name for name, since in ready_since(world).items() if before[name] != since}
        assert len(changed) <= 1  # the one whose container had died

    in_world(body)


def test_a_frozen_api_thaws_on_time_though_the_daemon_cannot_reach_it(in_world: Run) -> None:
    async def body(world: World) -> None:
        before = ready_since(world)
        await fault(world, CONTROL_PLANE_CHAOS, "stop", action="freeze", duration="6s")
        await world.until(lambda: world.api.frozen, within_s=5)
        began = world.loop.time()
        assert await answers(world, *world.address_of("web"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await world.client.get(NODES, "n1")
        await world.until(recovered(world, CONTROL_PLANE_CHAOS, "stop"), within_s=30)
        start_s, end_s = moments(seen(world, CONTROL_PLANE_CHAOS, "stop"))
        assert abs(start_s - began) < 0.3
        assert 5.9 < end_s - start_s < 6.3
        await world.until_settled()
        assert ready_since(world) == before

    in_world(body)


@pytest.mark.parametrize(("duration", "later_s"), [
    ("300ms", 0.0), ("700ms", 0.1), ("1600ms", 0.2), ("4s", 0.3), ("11s", 0.45), ("45s", 0.05)])
def test_an_api_that_was_frozen_changes_no_readiness_however_long_and_whenever(
    in_world: Run, duration: str, later_s: float,
) -> None:
    """Shorter and longer than what a node's silence may last, a lease's period and a call's deadline. Agents go on
    alone, and what a controller has not watched does not count."""
    async def body(world: World) -> None:
        await asyncio.sleep(later_s)
        before = ready_since(world)
        await fault(world, CONTROL_PLANE_CHAOS, "stop", action="freeze", duration=duration)
        await world.until(recovered(world, CONTROL_PLANE_CHAOS, "stop"), within_s=120)
        await asyncio.sleep(10)  # longer than any grace of a node
        assert ready_since(world) == before
        assert not [event for event in world.objects(EVENTS)
                    if event["reason"] in ("NodeNotReady", "NodeReady", "TaintManagerEviction", "ContainerUnready")]

    in_world(body)


def test_a_frozen_api_thaws_with_the_daemon_dead(in_world: Run) -> None:
    async def body(world: World) -> None:
        await fault(world, CONTROL_PLANE_CHAOS, "stop", action="freeze", duration="3s")
        await world.until(lambda: world.api.frozen, within_s=5)
        world.chaos.kill()
        took_s = await world.until(lambda: not world.api.frozen, within_s=5)
        assert 2.5 < took_s < 4
        world.chaos.start()
        await world.until(recovered(world, CONTROL_PLANE_CHAOS, "stop"), within_s=20)

    in_world(body)


def test_a_slow_api_is_late_for_agents_and_not_for_people(in_world: Run) -> None:
    async def body(world: World) -> None:
        before = await world.room.round_trip_s("n1", within_s=5)
        await fault(world, CONTROL_PLANE_CHAOS, "slow", action="slow", latency="400ms", duration="10s")
        await world.until(injected(world, CONTROL_PLANE_CHAOS, "slow"), within_s=10)
        assert before < 0.05
        assert await world.room.round_trip_s("n2", within_s=5) >= 0.4
        began = world.loop.time()
        await world.client.get(NODES, "n1")
        assert world.loop.time() - began < 0.05
        await world.until(recovered(world, CONTROL_PLANE_CHAOS, "slow"), within_s=20)
        assert await world.room.round_trip_s("n2", within_s=5) < 0.05
        assert all(is_true(node, "Ready") for node in world.objects(NODES))

    in_world(body)


# --- reboot and drain


def test_a_reboot_has_another_boot_id_and_nothing_of_before(in_world: Run) -> None:
    async def body(world: World) -> None:
        node = world.pods(app="web")[0]["spec"]["nodeName"]
        before = {item.id for item in world.machine.containers.values()
                  if item.spec.labels.get("testbed.io/node") == node}
        boot = node_of(world, node)["status"]["nodeInfo"]["bootID"]
        await fault(world, NODE_CHAOS, "again", **on(node, action="reboot", offFor="2s"))
        await world.until(lambda: not world.room.nodes[node].powered, within_s=5)
        await world.until(recovered(world, NODE_CHAOS, "again"), within_s=60)
        start_s, end_s = moments(seen(world, NODE_CHAOS, "again"))
        assert 1.8 < end_s - start_s < 10
        assert node_of(world, node)["status"]["nodeInfo"]["bootID"] not in ("", boot)
        assert before and not before & set(world.machine.containers)
        await world.until_settled()
        told = {event["reason"]: event.get("count", 1) for event in world.objects(EVENTS)
                if event["involvedObject"] == {**event["involvedObject"], "kind": "Node", "name": node}}
        assert told["Rebooted"] == 1
        assert told.get("NodeNotReady", 0) <= 1, "what came back was judged silent by its lease from before"
        assert told.get("NodeReady", 0) == told.get("NodeNotReady", 0)

    in_world(body)


def test_a_reboot_comes_to_its_end_with_the_daemon_dead(in_world: Run) -> None:
    async def body(world: World) -> None:
        await fault(world, NODE_CHAOS, "again", **on("n1", action="reboot"))
        await world.until(lambda: not world.room.nodes["n1"].powered, within_s=5)
        world.chaos.kill()
        await world.until(lambda: world.room.nodes["n1"].powered, within_s=8)
        world.chaos.start()
        await world.until(recovered(world, NODE_CHAOS, "again"), within_s=20)
        assert world.room.nodes["n1"].boots == 2

    in_world(body)


def test_a_drain_moves_all_pods_and_its_undo_uncordons(in_world: Run) -> None:
    async def body(world: World) -> None:
        node = world.pods(app="web")[0]["spec"]["nodeName"]
        await fault(world, NODE_CHAOS, "drain", **on(node, action="drain", duration="20s"))
        await world.until(injected(world, NODE_CHAOS, "drain"), within_s=20)
        assert node_of(world, node)["spec"]["unschedulable"]
        await world.until(lambda: all(pod["spec"]["nodeName"] != node for pod in world.pods(app="web")), within_s=15)
        await world.until(recovered(world, NODE_CHAOS, "drain"), within_s=30)
        assert not node_of(world, node)["spec"].get("unschedulable")
        assert not [key for key in node_of(world, node)["metadata"].get("annotations") or () if "drain" in key]

    in_world(body)


def test_a_node_that_a_person_cordoned_stays_cordoned_and_drains_add_up(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.patch(NODES, "n1", {"spec": {"unschedulable": True}}, None)
        await fault(world, NODE_CHAOS, "theirs", **on("n1", action="drain", duration="5s"))
        for name, length in (("short", "5s"), ("long", "12s")):
            await fault(world, NODE_CHAOS, name, **on("n2", action="drain", duration=length))
            await world.until(injected(world, NODE_CHAOS, name), within_s=4)
        for name in ("theirs", "short"):
            await world.until(recovered(world, NODE_CHAOS, name), within_s=20)
        assert node_of(world, "n1")["spec"]["unschedulable"]
        assert node_of(world, "n2")["spec"]["unschedulable"]  # the longer one needs it
        await world.until(recovered(world, NODE_CHAOS, "long"), within_s=30)
        assert not node_of(world, "n2")["spec"].get("unschedulable")

    in_world(body)


def test_a_drain_that_a_budget_forbids_is_told_and_undone(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(DISRUPTION_BUDGETS, {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": 4, "selector": {"matchLabels": {"app": "web"}}}})
        await asyncio.sleep(2)
        node = world.pods(app="web")[0]["spec"]["nodeName"]
        await fault(world, NODE_CHAOS, "drain", **on(node, action="drain", timeout="2s", duration="30s"))

        def told() -> bool:
            records = ((seen(world, NODE_CHAOS, "drain").get("status") or {}).get("experiment") or {}).get(
                "containerRecords") or ()
            return any("disruption budget" in event.get("message", "") for record in records
                       for event in record["events"] if event["type"] == "Failed")

        await world.until(told, within_s=20)
        assert not is_true(seen(world, NODE_CHAOS, "drain"), "AllInjected")
        assert not node_of(world, node)["spec"].get("unschedulable")
        assert len(world.pods(app="web")) == 4

    in_world(body)


# --- partitions


def test_pods_of_a_node_and_of_the_others_are_kept_apart(in_world: Run) -> None:
    async def body(world: World) -> None:
        pods = world.pods(app="web")
        inside = pods[0]
        node = inside["spec"]["nodeName"]
        beyond = next(pod for pod in pods if pod["spec"]["nodeName"] != node)
        here, there = inside["status"]["podIP"], beyond["status"]["podIP"]
        assert await answers(world, there, source=here)
        await fault(world, NODE_CHAOS, "apart", **on(node, action="partition", duration="15s", **{"from": "nodes"}))
        await world.until(injected(world, NODE_CHAOS, "apart"), within_s=5)
        assert not await answers(world, there, source=here)
        assert not await answers(world, here, source=there)
        assert await answers(world, here)  # this machine
        assert not world.room.nodes[node].cable.cut
        assert is_true(node_of(world, node), "Ready")
        await world.until(recovered(world, NODE_CHAOS, "apart"), within_s=30)
        assert await answers(world, there, source=here)

    in_world(body)


def test_a_partition_from_both_in_one_direction(in_world: Run) -> None:
    async def body(world: World) -> None:
        await fault(world, NODE_CHAOS, "half", **on("n1", action="partition", direction="to", duration="20s",
                                                    **{"from": "both"}))
        await world.until(injected(world, NODE_CHAOS, "half"), within_s=5)
        (hold,) = world.room.nodes["n1"].cable.holds.values()
        assert (hold.cut, hold.direction) == (True, "to")
        await world.until(lambda: not is_true(node_of(world, "n1"), "Ready"), within_s=10)
        await world.until(recovered(world, NODE_CHAOS, "half"), within_s=40)
        await world.until_settled()
        assert not world.room.nodes["n1"].cable.holds

    in_world(body)


def test_partitions_of_one_cable_add_up(in_world: Run) -> None:
    async def body(world: World) -> None:
        await fault(world, NODE_CHAOS, "long", **on("n1", action="partition", duration="10s"))
        await world.until(injected(world, NODE_CHAOS, "long"), within_s=5)
        await fault(world, NODE_CHAOS, "short", **on("n1", action="partition", direction="from", duration="3s"))
        await world.until(injected(world, NODE_CHAOS, "short"), within_s=5)
        await world.until(recovered(world, NODE_CHAOS, "short"), within_s=10)
        assert world.room.nodes["n1"].cable.cut
        await world.until(recovered(world, NODE_CHAOS, "long"), within_s=20)
        assert not world.room.nodes["n1"].cable.cut

    in_world(body)


def test_freezes_of_one_node_add_up(in_world: Run) -> None:
    async def body(world: World) -> None:
        for name, length in (("long", "12s"), ("short", "3s")):
            await fault(world, NODE_CHAOS, name, **on("n1", action="freeze", duration=length))
            await world.until(injected(world, NODE_CHAOS, name), within_s=5)
        await world.until(recovered(world, NODE_CHAOS, "short"), within_s=10)
        assert world.machine.is_frozen(world.room.nodes["n1"].facts.cgroup)
        await world.until(recovered(world, NODE_CHAOS, "long"), within_s=30)
        assert not world.machine.is_frozen(world.room.nodes["n1"].facts.cgroup)

    in_world(body)


# --- zones


def test_a_zone_is_lost_whole_and_given_up_at_its_own_rate(in_world: Run) -> None:
    async def body(world: World) -> None:
        for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")):
            await world.patch(NODES, name, {"metadata": {"labels": {labels.ZONE: zone}}}, None)
        await asyncio.sleep(1)
        await fault(world, NODE_CHAOS, "zone", action="kill", mode="all", duration="60s",
                    selector={"nodeSelectors": {labels.ZONE: "a"}})
        await world.until(injected(world, NODE_CHAOS, "zone"), within_s=10)
        assert [name for name, node in world.room.nodes.items() if not node.powered] == ["n1", "n2"]
        first = await world.until(lambda: any(given_up(world, name) for name in ("n1", "n2")), within_s=30)
        second = await world.until(lambda: all(given_up(world, name) for name in ("n1", "n2")), within_s=30)
        assert first > 0 and second > 0.1  # one after another: 4/s in profile fast
        await world.until(lambda: sum(is_true(pod, "Ready") and pod["spec"]["nodeName"] in ("n3", "n4")
                                      for pod in world.pods(app="web")) == 4, within_s=30)
        await world.until(recovered(world, NODE_CHAOS, "zone"), within_s=90)
        await world.until_settled()

    in_world(body, nodes=4)


def given_up(world: World, name: str) -> bool:
    return any(taint["effect"] == "NoExecute" for taint in node_of(world, name)["spec"].get("taints") or ())
