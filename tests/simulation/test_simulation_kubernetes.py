"""What takes minutes under upstream's own constants takes none here, and comes out as upstream documents it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from testbed.api.resources import DEPLOYMENTS, EVENTS
from testbed.core.profile import KUBERNETES
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.invariants import key_of
from testbed.simulation.workloads import flaky
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]


def on(world: World, node: str) -> list[dict[str, Any]]:
    return [pod for pod in world.pods(app="web") if pod["spec"].get("nodeName") == node]


def test_a_dead_node_is_noticed_after_50_s_and_emptied_after_5_minutes(in_world: Run) -> None:
    """node-monitor-grace-period 50 s (since 1.32), default tolerationSeconds 300."""
    async def body(world: World) -> tuple[float, float]:
        assert on(world, "n2")
        await world.room.set_power("n2", on=False)
        died_s = world.loop.time()

        def unready() -> bool:
            return all(not is_true(pod, "Ready") for pod in on(world, "n2"))

        await world.until(unready, within_s=120)
        noticed_s = world.loop.time() - died_s

        def emptied() -> bool:
            return all(pod["metadata"].get("deletionTimestamp") for pod in on(world, "n2"))

        await world.until(emptied, within_s=600)
        return noticed_s, world.loop.time() - died_s

    noticed_s, emptied_s = in_world(body, profile=KUBERNETES)
    assert 40 <= noticed_s <= 50 + 10 + 5
    assert 340 <= emptied_s <= 300 + 65 + 10


def test_a_node_that_comes_back_in_time_keeps_its_pods(in_world: Run) -> None:
    async def body(world: World) -> None:
        before = {pod["metadata"]["uid"] for pod in world.pods(app="web")}
        await world.room.set_cable("n1", cut=True)
        await asyncio.sleep(240)
        await world.room.set_cable("n1", cut=False)
        await world.until_settled(300)
        assert {pod["metadata"]["uid"] for pod in world.pods(app="web")} == before
        await asyncio.sleep(2 * KUBERNETES.node_status_interval_s)
        told = [(event["reason"], event["message"], event["count"]) for event in world.objects(EVENTS)
                if event["involvedObject"]["kind"] == "Node" and event["reason"] in ("NodeReady", "NodeNotReady")]
        assert sorted(told) == [("NodeNotReady", "Node n1 status is now: NodeNotReady", 1),
                                ("NodeReady", "Node n1 status is now: NodeReady", 1)]

    in_world(body, profile=KUBERNETES)


def test_a_crash_loop_waits_10_20_40_80_160_300_seconds(in_world: Run) -> None:
    """kubelet: MaxContainerBackOff 300 s, doubling from 10 s; the first restart is at once."""
    async def body(world: World) -> list[float]:
        await world.create(DEPLOYMENTS, flaky())
        deaths: list[float] = []
        starts: list[float] = []

        def died(container: SimulatedContainer, code: int) -> None:
            if key_of(container)[1] == "flaky":
                starts.append(container.started_s)
                deaths.append(world.loop.time())

        world.machine.exits.append(died)
        await world.until(lambda: len(deaths) >= 9, within_s=3600)
        return [start - death for start, death in zip(starts[1:], deaths, strict=False)]

    waits = in_world(body, profile=KUBERNETES)
    for wait_s, expected_s in zip(waits, (0, 10, 20, 40, 80, 160, 300, 300), strict=True):
        assert expected_s - 0.1 <= wait_s <= expected_s + 2.5
