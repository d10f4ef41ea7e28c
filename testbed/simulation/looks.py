"""What ``look.py WHAT QUESTION`` tells inside simulated containers: a table of looks, each a small function.

A fault's look on a real machine is ``module.function`` of the tools image; its simulated twin stands here under that
name, with the same question and answer, and answers from the simulated world. It raises OSError, ValueError or
LookupError where the real one would say on stderr that it cannot see. ``ping`` is no look: it is one of the simulated
programs (``runtime/simulated_programs.py``), and so is ``date``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from faults.effects import Disk, Load
from testbed.api import labels
from testbed.runtime.simulated import SimulatedMachine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.runtime.simulated_process import Program
from testbed.simulation.effects import Effects

Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """From where something is looked at. ``container``: where ``look.py`` runs; ``program``: its run, to wait with."""

    machine: SimulatedMachine
    effects: Effects
    container: SimulatedContainer
    program: Program


Look = Callable[[Seen, Json], Awaitable[Any]]
LOOKS: dict[str, Look] = {}


def look(name: str) -> Callable[[Look], Look]:
    """Registers the simulated twin of ``module.function``."""

    def register(function: Look) -> Look:
        LOOKS[name] = function
        return function

    return register


@look("stress.used")
async def _stress_used(seen: Seen, question: Json) -> Json:
    """What the stress of this holder takes: {"cpus", "memory_bytes", "processes"}; question: {"for_s"}."""
    await seen.program.pause(float(question["for_s"]))
    held = seen.effects.in_force.get(seen.container.spec.labels[labels.INJECTION], ())
    loads = [effect for effect in held if isinstance(effect, Load)]
    return {"cpus": sum(one.cpus for one in loads), "memory_bytes": sum(one.memory_bytes for one in loads),
            "processes": 2 if loads else 0}


@look("slow_disk.timed")
async def _slow_disk_timed(seen: Seen, question: Json) -> Json:
    """Seconds that transfers take: {kind: seconds}; question: {kind: bytes or count}. Only these take their time."""
    took: dict[str, float] = {}
    for kind, amount in question.items():
        limits = [dict(effect.limits)[kind] for effects in seen.effects.in_force.values() for effect in effects
                  if isinstance(effect, Disk) and seen.machine.within(seen.container.cgroup, effect.cgroup)
                  and kind in dict(effect.limits)]
        took[kind] = amount / min(limits) if limits else 0.001
        await seen.program.pause(took[kind])
    return took
