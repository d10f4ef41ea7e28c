"""Every fault that can follow does, in the simulation: to the pod that comes instead, to a restarted container."""

from __future__ import annotations

from typing import Any

import pytest
from faults_contract import NAMES, REGISTRY, injected, object_of
from simulated_ground import SimulatedGround, on_simulated_ground

from testbed.api import labels
from testbed.api.resources import PODS

FOLLOWERS = [name for name in NAMES if (fault := REGISTRY.get(name)).reversible and fault.level in ("pod", "container")]
QUICK = ("FreezeChaos/", "NetworkChaos/delay", "PodChaos/pod-failure", "StressChaos/")
CURED = [name for name in FOLLOWERS if REGISTRY.get(name).after_restart == "container"]


def followed(name: str) -> dict[str, Any]:
    obj = object_of(REGISTRY.get(name), "f", "10m")
    return {**obj, "metadata": {"name": "f", "annotations": {"testbed.io/follow": "true"}}}


async def records(ground: SimulatedGround, name: str) -> list[dict[str, Any]]:
    obj = await ground.get(REGISTRY.get(name).kind, "f")
    return [item for item in obj["status"]["experiment"]["containerRecords"] if item["selectorKey"] == "."]


async def ends_without_a_trace(ground: SimulatedGround, name: str) -> None:
    await ground.delete(REGISTRY.get(name).kind, "f")

    async def nothing() -> bool:
        return not await ground.left()

    await ground.until("nothing to be left", nothing)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in FOLLOWERS])
def test_it_follows_to_the_pod_that_takes_its_targets_place(name: str) -> None:
    async def body(ground: SimulatedGround) -> None:
        fault = REGISTRY.get(name)
        await ground.create(fault.kind, followed(name))
        await injected(ground, fault, "f")
        (first,) = await records(ground, name)
        await ground.world.delete(PODS, first["id"].split("/")[1])

        async def moved() -> bool:
            found = await records(ground, name)
            return found[-1]["phase"] == "Injected" and found[-1]["podUID"] != first["podUID"] and len(found) == 2

        await ground.until("the fault to follow", moved, 120)
        await ends_without_a_trace(ground, name)

    on_simulated_ground(REGISTRY.get(name), body)


@pytest.mark.parametrize("name", CURED)
def test_it_hits_the_container_that_was_started_in_its_targets_place(name: str) -> None:
    async def body(ground: SimulatedGround) -> None:
        fault, machine = REGISTRY.get(name), ground.world.machine
        await ground.create(fault.kind, followed(name))
        await injected(ground, fault, "f")
        (first,) = await records(ground, name)
        old = machine.containers[first["containerID"]]
        assert old.spec.labels[labels.ROLE] == labels.ROLE_CONTAINER
        machine.exit(old, 137)

        async def again() -> bool:
            found = await records(ground, name)
            return found[-1]["phase"] == "Injected" and found[-1].get("containerID") not in (None, first["containerID"])

        await ground.until("the fault to hit the new container", again, 120)
        assert (await records(ground, name))[-1]["podUID"] == first["podUID"]
        await ends_without_a_trace(ground, name)

    on_simulated_ground(REGISTRY.get(name), body)
