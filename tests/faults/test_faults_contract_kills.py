"""Every registered fault, and a death by SIGKILL at each step: nothing is left after the deadline or the next start."""

from __future__ import annotations

import asyncio
import random

import pytest
from faults_contract import NAMES, REGISTRY, condition, is_as, object_of, removed
from kill_points import Killer, Point, points_of
from simulated_ground import SimulatedGround, on_simulated_ground

from faults.protocol import Fault
from testbed.errors import ApiError

DURATION_S = 15.0
DELETED_S = 4.0  # when the object is deleted, where the blow falls upon the undo
GRACE_S = 8.0  # a holder waits half a second longer, and an undo takes its time
SAMPLE = 1  # points of each fault that `make test` strikes


def sample_of(name: str) -> list[Point]:
    """Different ones for different faults, always the same ones for one."""
    return random.Random(name).sample(points_of(REGISTRY.get(name)), SAMPLE)


async def survives(ground: SimulatedGround, fault: Fault, name: str, point: Point, draw: random.Random) -> None:
    world = ground.world
    before = await ground.snapshot()
    killer = Killer(ground, fault, point, draw)
    killer.begin()
    try:
        began_s = world.loop.time()
        await ground.create(fault.kind, object_of(fault, name, f"{DURATION_S:g}s", ground.engine_node))
        if point.step in ("undoing", "taking back"):
            await asyncio.sleep(DELETED_S)
            await taken_back(ground, fault, name)
        async with asyncio.timeout(DURATION_S + GRACE_S):
            await killer.struck.wait()
    finally:
        killer.end()
    await asyncio.sleep(max(0.0, began_s + DURATION_S + GRACE_S - world.loop.time()))
    if fault.reversible and point.victim != "daemon and holder" and (point.victim, point.step) != ("daemon", "written"):
        damage = [one for one in await ground.left() if "ledger" not in one]
        assert not damage, f"{point}: after its deadline, without a new start: {damage}"
    if not world.chaos.alive:
        world.chaos.start()

    async def over() -> bool:
        return not await ground.left() and await concluded()

    async def concluded() -> bool:
        """One that cannot be undone has been done, or given up."""
        try:
            obj = await ground.get(fault.kind, name)
        except ApiError:
            return True
        return fault.reversible or condition(obj, "AllInjected") != ""

    await ground.until(f"{point}: all to be over", over)
    await removed(ground, fault, name)
    await is_as(ground, before)


async def taken_back(ground: SimulatedGround, fault: Fault, name: str) -> None:
    """By its deletion; by the ledger, where nobody can be told of that."""
    try:
        await ground.delete(fault.kind, name)
    except ApiError:
        await ground.undo_all()


def strike(name: str, points: list[Point]) -> None:
    async def body(ground: SimulatedGround) -> None:
        for number, point in enumerate(points):
            try:
                await survives(ground, REGISTRY.get(name), f"f{number}", point, random.Random(f"{name} {point}"))
            except Exception as error:
                raise AssertionError(f"{name}: {point}: {error}\n{ground.world.trace.tail(60)}") from error

    on_simulated_ground(REGISTRY.get(name), body)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_whoever_dies_at_some_steps(name: str) -> None:
    strike(name, sample_of(name))


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_whoever_dies_at_each_step(name: str) -> None:
    strike(name, list(points_of(REGISTRY.get(name))))
