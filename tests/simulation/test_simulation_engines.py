"""EngineChaos on a simulated node with an engine of its own: what cannot be seen is left as it is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from faults.kinds import ENGINE_CHAOS
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.workloads import deployment
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]
Json = dict[str, Any]
OWN = "own"


async def start(world: World) -> None:
    """Two pods on a node with an engine of its own."""
    await world.room.add_node(OWN, kind="engine")
    made = deployment("apart", 2)
    made["spec"]["template"]["spec"]["nodeSelector"] = {labels.NODE_KIND: "engine"}
    await world.create(DEPLOYMENTS, made)
    await world.until(lambda: [is_true(pod, "Ready") for pod in world.pods(app="apart")] == [True] * 2, within_s=60)


def containers(world: World) -> list[SimulatedContainer]:
    """Of pods on the node, that run."""
    return [item for item in world.machine.containers.values() if item.running
            and item.spec.labels.get(labels.ROLE) == labels.ROLE_CONTAINER and item.spec.labels.get(labels.NODE) == OWN
            and str(item.spec.labels.get(labels.POD_NAME)).startswith("apart-")]


def restarts(world: World) -> int:
    return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in world.pods(app="apart"))


async def inject(world: World, action: str, duration: str) -> None:
    await world.create(ENGINE_CHAOS, {
        "apiVersion": ENGINE_CHAOS.api_version, "kind": ENGINE_CHAOS.kind, "metadata": {"name": action},
        "spec": {"action": action, "mode": "all", "selector": {"nodes": [OWN]}, "duration": duration}})
    await world.until(lambda: is_true(world.objects(ENGINE_CHAOS)[0], "AllInjected"), within_s=10)


async def over(world: World) -> None:
    await world.until(lambda: is_true(world.objects(ENGINE_CHAOS)[0], "AllRecovered"), within_s=180)


def test_a_frozen_engine_for_two_minutes_kills_nothing(in_world: Run) -> None:
    async def body(world: World) -> None:
        await start(world)
        before = {item.id for item in containers(world)}
        await inject(world, "freeze", "120s")
        for _ in range(110):
            await asyncio.sleep(1)
            assert {item.id for item in containers(world)} == before
            assert all(is_true(pod, "Ready") for pod in world.pods(app="apart"))
        await over(world)
        await asyncio.sleep(30)
        assert {item.id for item in containers(world)} == before
        assert restarts(world) == 0

    in_world(body)


def test_what_dies_under_a_frozen_engine_is_started_again_when_it_answers(in_world: Run) -> None:
    async def body(world: World) -> None:
        await start(world)
        await inject(world, "freeze", "20s")
        victim = containers(world)[0]
        assert victim.process is not None
        world.machine.send_signal(victim.process, signal.SIGKILL)
        await asyncio.sleep(10)
        assert len(containers(world)) == 1
        await over(world)
        await world.until(lambda: restarts(world) == 1 and len(containers(world)) == 2, within_s=30)

    in_world(body)


def test_containers_outlive_a_killed_engine_and_end_when_the_next_one_starts(in_world: Run) -> None:
    async def body(world: World) -> None:
        await start(world)
        before = {item.id for item in containers(world)}
        await inject(world, "kill", "20s")
        await asyncio.sleep(15)
        assert {item.id for item in containers(world)} == before
        await over(world)
        await world.until(lambda: len(containers(world)) == 2 and restarts(world) == 2, within_s=60)
        assert not before & {item.id for item in containers(world)}

    in_world(body)


def test_other_nodes_engines_answer_meanwhile(in_world: Run) -> None:
    async def body(world: World) -> None:
        await start(world)
        await inject(world, "freeze", "60s")
        await world.create(DEPLOYMENTS, deployment("other", 3))
        await world.until(lambda: any(is_true(pod, "Ready") for pod in world.pods(app="other")
                                      if pod["spec"].get("nodeName") != OWN), within_s=30)

    in_world(body)
