"""When a repetition's measurement cannot be trusted: rules on what was sampled while it ran. Pure.

Such a run is *void*: counted and shown, not averaged, and made up for by another one (`turns.py`). The limits are wide
on purpose: a small machine that runs a cluster is busy, and being busy is not being wrong. Why each is where it is:
docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.experiment.durations import say_duration
from testbed.experiment.result.load import GeneratorUse
from testbed.experiment.result.machine import MachineLoad


@dataclass(frozen=True)
class Limits:
    """Beyond any of these a run is void.

    Attributes:
        generator: share of one core that a load generator may use: one that is nearly out of CPU measures itself.
        loop_lag_p99_s: how late the runner's loop may wake up: its marks from watches are late by as much.
        steal: share of all CPUs' time that the hypervisor may give to others.
        starved_pressure, starved_lag_p99_s: beyond both at once. On a small machine that runs a cluster some task
            nearly always waits for a CPU, for a moment: waiting alone is no harm (and a fault may be its cause); with a
            loop that is late it is.
        told_runnable: tasks per CPU from which on it is said that the machine was busy, and the run is trusted.
    """

    generator: float = 0.8
    loop_lag_p99_s: float = 0.5
    steal: float = 0.05
    starved_pressure: float = 0.8
    starved_lag_p99_s: float = 0.2
    told_runnable: float = 2.0


LIMITS = Limits()


def doubts(
    load: MachineLoad | None, generators: Iterable[GeneratorUse] = (), limits: Limits = LIMITS
) -> list[str]:
    """Why the measurement cannot be trusted; empty when it can. What was not seen raises no doubt.

    Args: generators: processes that send requests.
    """
    found = [f"{item.name} used {item.cpu_share:.0%} of a core" for item in generators
             if item.cpu_share is not None and item.cpu_share > limits.generator]
    if load is not None:
        found += _of_machine(load, limits)
    return found


def _of_machine(load: MachineLoad, limits: Limits) -> list[str]:
    found = []
    lag_s = load.loop_lag_p99_s or 0.0
    if load.steal is not None and load.steal > limits.steal:
        found.append(f"the hypervisor took {load.steal:.0%} of this machine's CPU time for others")
    if lag_s > limits.loop_lag_p99_s:
        found.append(f"the runner woke up {say_duration(lag_s)} late (p99)")
    elif lag_s > limits.starved_lag_p99_s and (load.pressure or 0.0) > limits.starved_pressure:
        found.append(f"this machine was starved: tasks waited for a CPU {load.pressure:.0%} of the time, and the "
                     f"runner woke up {say_duration(lag_s)} late (p99)")
    return found


def told(loads: Sequence[MachineLoad | None], limits: Limits = LIMITS) -> tuple[str, ...]:
    """What a reader of these runs' figures should know of the machine."""
    notes = []
    busy = sorted(load.runnable for load in loads if load is not None and load.runnable is not None
                  and load.runnable > limits.told_runnable)
    if busy:
        where = "" if len(loads) == 1 else f" in {len(busy)} of {len(loads)} runs"
        notes.append(f"this machine was busy{where}: {busy[len(busy) // 2]:.0f} tasks shared each CPU; on a calm one "
                     "recovery is faster")
    if silent := next(filter(None, map(not_told, loads)), ""):
        notes.append(f"{silent}: whether it was stolen from or starved could not be told")
    return tuple(notes)


def not_told(load: MachineLoad | None) -> str:
    """What this machine does not say of itself, so that silence is not taken for calm; "" when it says all."""
    if load is None or load.seconds == 0:
        return ""
    silent = [name for name, value in (("CPU pressure (PSI)", load.pressure), ("steal", load.steal)) if value is None]
    return f"this machine does not tell {' and '.join(silent)}" if silent else ""
