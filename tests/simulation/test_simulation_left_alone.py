"""I3 blames no agent for a container that a fault hurt, whichever that was, and still blames it for all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from faults.kinds import POD_CHAOS
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.checks_containers import HealthyIsLeftAlone
from testbed.simulation.invariants import SIGTERM, Invariants, key_of, pod_of
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.scenarios import Act, Scenario
from testbed.simulation.world import World, open_world

Run = Callable[..., Any]


def ended_by_agents(world: World) -> list[SimulatedContainer]:
    """Filled as they end: containers ``web`` of pods that stay."""
    found: list[SimulatedContainer] = []

    def died(container: SimulatedContainer, code: int) -> None:
        uid, name = key_of(container)
        pod = pod_of(world, uid)
        asked = any(by.startswith("agent") for _, _, by in container.signals)
        if name == "web" and asked and pod is not None and not pod["metadata"].get("deletionTimestamp"):
            found.append(container)

    world.machine.exits.append(died)
    return found


def app(world: World) -> SimulatedContainer:
    return next(item for item in world.machine.containers.values() if item.running and key_of(item)[1] == "web")


def came_later(seed: int) -> list[SimulatedContainer]:
    """Of those that agents ended, the ones that were not there when the freeze was asked for."""
    async def main(loop: VirtualLoop) -> list[SimulatedContainer]:
        async with open_world(loop, seed) as world:
            ended, asked_s = ended_by_agents(world), list[float]()
            world.trace.listeners.append(lambda text: asked_s.append(loop.time()) if "ACT freeze" in text else None)
            scenario = Scenario(world, acts=0)
            scenario.acts = [Act(0.0, "pod-kill", 1.0), Act(0.1, "pod-kill", 1.0), Act(0.2, "freeze", 8.0)]
            await scenario.run()
            return [container for container in ended if container.started_s > asked_s[0]]

    return run_virtual(main)


def test_a_fault_that_was_held_up_hits_a_container_that_came_later() -> None:
    """Two pods are being replaced, which is all that may be hit: the freeze waits, and then hits any of the four:
    the first seed that draws a new one shows it."""
    assert any(came_later(seed) for seed in range(6, 40)), "no freeze hit one that came later"


def test_an_image_that_came_back_before_the_container_had_ended(in_world: Run) -> None:
    async def body(world: World) -> tuple[list[str], int, list[bool]]:
        ended, same = ended_by_agents(world), list[bool]()

        def died(container: SimulatedContainer, code: int) -> None:
            if container in ended:
                pod = pod_of(world, key_of(container)[0])
                assert pod is not None
                same.append(pod["spec"]["containers"][0]["image"] == container.spec.image)

        world.machine.exits.append(died)
        invariants = Invariants(world, [HealthyIsLeftAlone()])
        invariants.begin()
        await world.create(POD_CHAOS, {
            "apiVersion": POD_CHAOS.api_version, "kind": POD_CHAOS.kind, "metadata": {"name": "short"},
            "spec": {"action": "pod-failure", "mode": "one", "duration": "1s",
                     "selector": {"labelSelectors": {"app": "web"}}},
        })
        await asyncio.sleep(10)
        await invariants.close()
        return invariants.found, len(ended), same

    found, count, same = in_world(body)
    assert count and any(same), "nothing ended after its image had come back"
    assert not found


@pytest.mark.parametrize(("stood_s", "after_s", "said"), [
    (2.5, 0.0, False), (2.5, 4.0, True), (1.0, 0.0, True), (0.0, 0.0, True),
])
def test_only_what_stood_still_for_most_of_a_row_of_probes_may_be_ended_and_only_then(
    in_world: Run, stood_s: float, after_s: float, said: bool
) -> None:
    async def body(world: World) -> list[str]:
        checker, container = HealthyIsLeftAlone(), app(world)
        invariants = Invariants(world, [checker])
        invariants.begin()
        if stood_s:
            world.machine.frozen.add(container.cgroup)
            await asyncio.sleep(stood_s)
            world.machine.thaw(container.cgroup)
        await asyncio.sleep(after_s)
        assert container.running and not container.signals
        container.signals.append((world.loop.time(), SIGTERM, "agent n1"))
        found = list(checker.died(world, container, 0))
        await invariants.close()
        return found

    assert bool(in_world(body)) is said


def test_what_stands_still_after_it_was_asked_to_end_was_healthy(in_world: Run) -> None:
    async def body(world: World) -> list[str]:
        checker, container = HealthyIsLeftAlone(), app(world)
        invariants = Invariants(world, [checker])
        invariants.begin()
        container.signals.append((world.loop.time(), SIGTERM, "agent n1"))
        world.machine.frozen.add(container.cgroup)
        await asyncio.sleep(2.5)
        found = list(checker.died(world, container, 0))
        await invariants.close()
        return found

    assert any("which was healthy" in line for line in in_world(body))
