"""Holder containers in awkward moments, on the simulation: paused, removed, never started; the engine is silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults_contract import APP, REGISTRY, injected, object_of, removed
from simulated_ground import SimulatedGround, on_simulated_ground

from testbed.api import labels
from testbed.runtime.simulated import SimulatedEngine
from testbed.runtime.simulated_machine import SimulatedContainer

LOSS, DELAY, FAILURE, SLOW_DISK = (REGISTRY.get(f"{name}") for name in (
    "NetworkChaos/loss", "NetworkChaos/delay", "PodChaos/pod-failure", "NodeChaos/slow-disk"))
ENGINE_CALL_S = 30.0  # the longest that a call to a silent engine is waited for


def holder_of(ground: SimulatedGround) -> SimulatedContainer:
    return next(item for item in ground.world.machine.containers.values()
                if item.spec.labels.get(labels.ROLE) == labels.ROLE_HOLDER)


async def until_nothing_is_left(ground: SimulatedGround, within_s: float) -> None:
    async def none() -> bool:
        return not await ground.left()

    await ground.until("nothing to be left", none, within_s)


async def lossy(ground: SimulatedGround, duration: str = "1m") -> SimulatedContainer:
    """The holder container of a NetworkChaos ``loss`` that is in effect."""
    await ground.create(LOSS.kind, object_of(LOSS, "f", duration))
    await injected(ground, LOSS, "f")
    return holder_of(ground)


def test_a_paused_holder_does_not_hold_up_the_undo() -> None:
    async def body(ground: SimulatedGround) -> None:
        holder = await lossy(ground)
        await SimulatedEngine(ground.world.machine).pause(holder.id)
        await removed(ground, LOSS, "f", 20)
        assert not await ground.left()

    on_simulated_ground(LOSS, body)


def test_rules_of_a_holder_that_somebody_removed_are_cleared() -> None:
    async def body(ground: SimulatedGround) -> None:
        holder = await lossy(ground)
        await SimulatedEngine(ground.world.machine).remove(holder.id)
        assert any("loss=0.4" in one for one in await ground.left()), "the kernel keeps its rules"
        await removed(ground, LOSS, "f", 20)
        assert not await ground.left()

    on_simulated_ground(LOSS, body)


@pytest.mark.parametrize("daemon", ["alive", "dead"])
def test_limits_of_a_nodes_group_are_lifted_though_the_node_has_no_power(daemon: str) -> None:
    """The group is there when the node is back, and would still have them."""
    async def body(ground: SimulatedGround) -> None:
        world = ground.world
        await ground.create(SLOW_DISK.kind, object_of(SLOW_DISK, "f", "10s"))
        await injected(ground, SLOW_DISK, "f")
        (entry,) = ground.entries()
        await world.room.set_power(entry.target.node, on=False)
        assert not holder_of(ground).running
        assert any("wbps" in one for one in await ground.left()), "the kernel keeps the limit"
        if daemon == "dead":
            world.chaos.kill()

        def undone() -> bool:
            return not world.chaos.ledger.active()

        await world.until(undone, within_s=30)
        assert await ground.left() == [f"{entry.target.node} has no power"]

    on_simulated_ground(SLOW_DISK, body)


@pytest.mark.parametrize("daemon", ["alive", "dead"])
def test_a_silent_engine_holds_up_an_undo_only_while_it_is_silent(daemon: str) -> None:
    async def body(ground: SimulatedGround) -> None:
        await lossy(ground, "10s")
        if daemon == "dead":
            ground.world.chaos.kill()
        ground.world.machine.hiccups.silent = True
        await asyncio.sleep(40)
        ground.world.machine.hiccups.silent = False
        await until_nothing_is_left(ground, ENGINE_CALL_S + 10)

    on_simulated_ground(LOSS, body)


def test_a_daemon_that_dies_between_create_and_start_leaves_no_container() -> None:
    async def body(ground: SimulatedGround) -> None:
        chaos, machine = ground.world.chaos, ground.world.machine
        await ground.create(LOSS.kind, object_of(LOSS, "f", "10s"))

        async def created() -> Any:
            return [item for item in machine.containers.values()
                    if item.spec.labels.get(labels.ROLE) == labels.ROLE_HOLDER and item.status == "created"]

        while not await created():  # noqa: ASYNC110 - virtual time, and nobody tells
            await asyncio.sleep(0.0005)
        chaos.kill()
        await until_nothing_is_left(ground, 30)
        chaos.start()
        await removed(ground, LOSS, "f", 20)

    on_simulated_ground(LOSS, body)


def test_an_object_that_is_deleted_before_its_effect_is_seen_is_not_waited_for() -> None:
    async def body(ground: SimulatedGround) -> None:
        for container in ground.world.machine.containers.values():
            if container.application is not None and container.spec.labels.get(labels.CONTAINER_NAME) == APP:
                ground.world.machine.hiccups.hung.add(container.id)  # it cannot be exchanged: no effect to be seen
        await ground.create(FAILURE.kind, object_of(FAILURE, "f", "1m"))

        async def begun() -> bool:
            return any(entry.events for entry in ground.entries())

        await ground.until("the injection to begin", begun, 10)
        ground.world.machine.hiccups.hung.clear()
        began_s = ground.world.loop.time()
        await removed(ground, FAILURE, "f", 30)
        assert ground.world.loop.time() - began_s < FAILURE.verify_within_s({"grace_s": 1})
        assert not await ground.left()

    on_simulated_ground(FAILURE, body)


def test_two_injections_on_one_pod_add_up_and_go_in_any_order() -> None:
    async def body(ground: SimulatedGround) -> None:
        pod = ground.world.pods(app=APP)[0]
        gateway = next(item for item in ground.world.machine.containers.values()
                       if item.spec.labels.get(labels.ROLE) == labels.ROLE_GATEWAY)

        async def round_trip_ms() -> float:
            argv = ("ping", "-q", "-c", "3", "-i", "0.01", pod["status"]["podIP"])
            result = await SimulatedEngine(ground.world.machine).exec(gateway.id, argv, timeout_s=10)
            return float(result.output.decode().rpartition("= ")[2].split("/")[1])

        for name in ("first", "second"):
            obj = object_of(DELAY, name, "1m")
            obj["spec"]["selector"] = {"pods": {"default": [pod["metadata"]["name"]]}}
            await ground.create(DELAY.kind, obj)
            await injected(ground, DELAY, name)
        assert await round_trip_ms() > 199
        await removed(ground, DELAY, "first")
        assert 99 < await round_trip_ms() < 150
        await removed(ground, DELAY, "second")
        assert await round_trip_ms() < 5

    on_simulated_ground(DELAY, body)
