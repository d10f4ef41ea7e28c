"""Every registered fault on the simulation: seen, told with evidence, undone without a trace."""

from __future__ import annotations

import pytest
from faults_contract import NAMES, REGISTRY, injected, is_as, keeps_the_contract, object_of, removed
from simulated_ground import SimulatedGround, on_simulated_ground

from faults.held import HeldFault
from faults.kinds import SHAM_CHAOS


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_seen_told_and_undone_without_a_trace(name: str) -> None:
    on_simulated_ground(REGISTRY.get(name), lambda ground: keeps_the_contract(ground, REGISTRY.get(name), "f"))


@pytest.mark.parametrize("name", [name for name in NAMES if REGISTRY.get(name).reversible])
def test_a_fault_ends_by_itself_when_its_time_is_over(name: str) -> None:
    async def body(ground: SimulatedGround) -> None:
        fault = REGISTRY.get(name)
        before = await ground.snapshot()
        await ground.create(fault.kind, object_of(fault, "f", "20s", ground.engine_node))
        await injected(ground, fault, "f")

        async def over() -> bool:
            return not await ground.left()

        await ground.until("nothing to be left", over, 40)
        await is_as(ground, before)

    on_simulated_ground(REGISTRY.get(name), body)


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(REGISTRY.get(name), HeldFault)
                                  and REGISTRY.get(name).kind != SHAM_CHAOS])
def test_a_fault_that_does_nothing_is_not_called_injected(name: str) -> None:
    """A holder that says that it holds, and holds nothing: the proof must miss it, and all is taken back."""

    async def body(ground: SimulatedGround) -> None:
        fault, apply = REGISTRY.get(name), ground.world.effects.apply
        vars(ground.world.effects)["apply"] = lambda injection, effects: apply(injection, ())
        before = await ground.snapshot()
        await ground.create(fault.kind, object_of(fault, "f", "5m", ground.engine_node))
        with pytest.raises(AssertionError, match="NotInEffect"):
            await injected(ground, fault, "f", 240)
        await removed(ground, fault, "f")
        await is_as(ground, before)

    on_simulated_ground(REGISTRY.get(name), body)
