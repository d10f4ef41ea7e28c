"""Where an injection is hit in the simulation, and by whose death.

A point is a step of an injection's life and a victim that dies by SIGKILL then. The steps are seen in the ledger, which
is written before anything is done; so a death "written" comes between the row and everything else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulated_ground import SimulatedGround

from faults.ledger import Entry, Phase
from faults.protocol import Act, Fault
from testbed.api import labels
from testbed.runtime.simulated_machine import SimulatedContainer

STEPS = ("written", "prepared", "acting", "injected", "undoing", "taking back")
VICTIMS = ("daemon", "holder", "daemon and holder", "holder container", "target")
ACTING_S, TAKING_BACK_S = 0.3, 0.1  # longest time after the step before when the blow falls


@dataclass(frozen=True)
class Point:
    step: str
    victim: str

    def __str__(self) -> str:
        return f"{self.victim} dies {self.step}"


def points_of(fault: Fault) -> tuple[Point, ...]:
    """What can happen to it: nothing takes back what cannot be undone, and nothing holds it."""
    steps = STEPS if fault.reversible else STEPS[:3]
    victims = VICTIMS if fault.reversible else ("daemon", "target")
    return tuple(Point(step, victim) for step in steps for victim in victims)


class Killer:
    """Watches the ledger and strikes once. ``struck``: set when it has."""

    def __init__(self, ground: SimulatedGround, fault: Fault, point: Point, draw: random.Random) -> None:
        self._world, self._fault, self._point, self._draw = ground.world, fault, point, draw
        self.struck = asyncio.Event()
        self.entry: Entry | None = None
        self._due = False
        self._write: Callable[..., None] = self._world.chaos.ledger.write
        self._start: Callable[..., tuple[int, int]] = self._world.chaos.holders.start

    def begin(self) -> None:
        vars(self._world.chaos.ledger)["write"] = self._written
        vars(self._world.chaos.holders)["start"] = self._started

    def end(self) -> None:
        vars(self._world.chaos.ledger).pop("write", None)
        vars(self._world.chaos.holders).pop("start", None)

    def _written(self, *entries: Entry) -> None:
        self._write(*entries)
        for entry in entries:
            if not self._due and entry.target.key == "." and (after_s := self._reached(entry)) is not None:
                self._due, self.entry = True, entry
                if after_s:
                    asyncio.get_running_loop().call_later(after_s, self._strike, context=self._world.machine.context)
                else:
                    self._strike()

    def _started(self, entry_id: str, deadline_ns: int, acts: tuple[Act, ...]) -> tuple[int, int]:
        """A daemon that died when it had written the row starts nothing any more."""
        if self._point.step == "written" and self.struck.is_set() and not self._world.chaos.alive:
            return (0, 0)
        return self._start(entry_id, deadline_ns, acts)

    def _reached(self, entry: Entry) -> float | None:
        """Seconds from now until the blow; None: not yet."""
        begun = bool(entry.events) and entry.events[-1].get("type") == "Started"
        match self._point.step:
            case "written" if entry.phase is Phase.PREPARED:
                return 0.0
            case "prepared" if entry.phase is Phase.PREPARED and begun:
                return 0.0
            case "acting" if entry.phase is Phase.PREPARED and begun:
                return self._draw.uniform(0.001, ACTING_S)
            case "injected" if entry.phase is Phase.INJECTED:
                return 0.5
            case "undoing" if entry.phase is Phase.UNDOING:
                return 0.0
            case "taking back" if entry.phase is Phase.UNDOING:
                return self._draw.uniform(0.001, TAKING_BACK_S)
        return None

    def _strike(self) -> None:
        world, victim = self._world, self._point.victim
        assert self.entry is not None
        world.trace.add(f"STRIKE {self._point}")
        if victim.startswith("daemon"):
            world.chaos.kill()
        if victim in ("holder", "daemon and holder"):
            world.chaos.holders.kill(self.entry.id)
        if victim == "holder container":
            for container in self._of({labels.INJECTION: self.entry.id}):
                world.machine.exit(container, 137)
        if victim == "target":
            self._strike_target(self.entry)
        self.struck.set()

    def _strike_target(self, entry: Entry) -> None:
        target, world = entry.target, self._world
        if target.pod:
            role = labels.ROLE_CONTAINER if target.container else labels.ROLE_SANDBOX
            for container in self._of({labels.POD_UID: target.uid, labels.ROLE: role}):
                world.machine.exit(container, 137)
        elif target.node in world.room.nodes:
            world.room.nodes[target.node].crash_agent()

    def _of(self, wanted: dict[str, Any]) -> list[SimulatedContainer]:
        return [item for item in self._world.machine.containers.values()
                if item.running and all(item.spec.labels.get(key) == value for key, value in wanted.items())]
