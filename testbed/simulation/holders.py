"""The programs of the tools image, in the simulation: ``hold.py`` keeps an effect in force, ``look.py`` tells.

Decides when an effect begins and ends and what is left of it: taken back at the deadline (a little later than whoever
started the holder) or at SIGTERM, with exit code 0; killed, a holder leaves what a real one leaves until it is cleared.
What the effects mean is ``effects.py``; what an injection's effects are, its fault says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from faults.protocol import Json
from faults.registry import Registry
from testbed.api import labels
from testbed.errors import TestbedError
from testbed.runtime.simulated import SimulatedMachine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.runtime.simulated_process import Program
from testbed.simulation.effects import Effects
from testbed.simulation.looks import LOOKS, Seen

_SPARE_S = 0.25  # compose/images/nettools/hold.py
_BEGIN_S, _END_S = (0.04, 0.08), (0.002, 0.01)  # an interpreter starts, and rules are set and deleted
_FOR_EVER_S = 1e9


class HolderPrograms:
    """``plan_of``: an injection's plan in the ledger; None where there is none (an engine that is used alone)."""

    def __init__(
        self, machine: SimulatedMachine, effects: Effects, registry: Registry, plan_of: Callable[[str], Json | None],
    ) -> None:
        self._machine, self._effects, self._registry, self._plan_of = machine, effects, registry, plan_of
        machine.scripts["/opt/testbed/hold.py"] = self._hold
        machine.scripts["/opt/testbed/look.py"] = self._look
        machine.exits.append(self._died)

    async def _hold(self, program: Program, container: SimulatedContainer, words: list[str]) -> int:
        if len(words) != 3 or words[0] not in ("hold", "clear"):
            program.complain(b"hold.py hold|clear PROGRAM PLAN\n")
            return 2
        argument: Json = json.loads(words[2])
        await program.pause(self._machine.draw.uniform(*_BEGIN_S))
        if words[0] == "hold":
            program.traps["TERM"] = ":"
            try:
                effects = self._registry.get(argument["fault"]).simulated(self._plan(argument, container))
            except (TestbedError, LookupError, ValueError, OSError) as error:
                program.complain(f"{type(error).__name__}: {error}\n".encode())
                return 1
            self._effects.apply(argument["id"], effects)
            program.write(f"in force: simulated, {len(effects)} effects\n".encode())
            left_s = argument["deadline_ns"] / 1e9 + _SPARE_S - asyncio.get_running_loop().time()
            await program.until_signalled(max(0.0, left_s) if argument["deadline_ns"] else _FOR_EVER_S)
        await program.pause(self._machine.draw.uniform(*_END_S))
        self._effects.lift(argument["id"])
        return 0

    def _plan(self, argument: Json, container: SimulatedContainer) -> Json:
        """What the fault wrote into the ledger; alone, as much of it as its holder was given."""
        joined = next((where.removeprefix("container:") for where in (container.spec.network, container.spec.pid_mode)
                       if where.startswith("container:")), "")
        alone = {**argument, "hold": {"entry_id": argument["id"], "joined": joined, "plan": argument}}
        return {**alone, **(self._plan_of(argument["id"]) or {})}

    def _died(self, container: SimulatedContainer, code: int) -> None:
        own = container.spec.labels
        if own.get(labels.ROLE) == labels.ROLE_HOLDER and code and "hold" in (container.spec.args or ()):
            self._effects.abandon(own[labels.INJECTION])

    async def _look(self, program: Program, container: SimulatedContainer, words: list[str]) -> int:
        if len(words) != 2 or words[0] not in LOOKS:
            program.complain(f"look.py: there is no simulated look {words[:1]}\n".encode())
            return 2
        seen = Seen(self._machine, self._effects, container, program)
        try:
            answer: Any = await LOOKS[words[0]](seen, json.loads(words[1]))
        except (OSError, ValueError, LookupError) as error:
            program.complain(f"{type(error).__name__}: {error}\n".encode())
            return 1
        program.write(json.dumps(answer).encode())
        return 0
