"""When a repetition's measurement cannot be trusted: rules on what was sampled while it ran. Pure.

Such a run is *void*: counted and shown, not averaged, and made up for by another one (`turns.py`). The limits are wide
on purpose: a small machine that runs a cluster is busy, and being busy is not being wrong. Why each is where it is:
docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.experiment.durations import say_duration
from testbed.experiment.result.machine import MachineLoad


@dataclass(frozen=True)
class Limits:
    """Beyond any of these a run is void.

    Attributes:
        generator: share of one core that a load generator may use: one that is nearly out of CPU measures itself.
        lateness_p99_s: how late requests may leave (the pulse).
        loop_lag_p99_s: how late the runner's loop may wake up: its marks from watches are late by as much.
        platform_lag_p99_s: the same of the platform's own processes, where they tell.
        steal: share of all CPUs' time that the hypervisor may give to others.
        pressure: share of the time in which some task may wait for a CPU.
    """

    generator: float = 0.8
    lateness_p99_s: float = 0.1
    loop_lag_p99_s: float = 0.25
    platform_lag_p99_s: float = 0.25
    steal: float = 0.05
    pressure: float = 0.95


LIMITS = Limits()


def doubts(
    load: MachineLoad | None, limits: Limits = LIMITS, platform_lags_s: Mapping[str, float] | None = None,
) -> list[str]:
    """Why the measurement cannot be trusted; empty when it can. What was not seen raises no doubt.

    Args: platform_lags_s: p99 lateness of the platform's processes, by their name.
    """
    found: list[str] = []
    if load is not None:
        found += _shares(load, limits)
        if load.loop_lag_p99_s is not None and load.loop_lag_p99_s > limits.loop_lag_p99_s:
            found.append(f"the runner woke up {say_duration(load.loop_lag_p99_s)} late (p99)")
    for name, lag_s in sorted((platform_lags_s or {}).items()):
        if lag_s > limits.platform_lag_p99_s:
            found.append(f"{name} was {say_duration(lag_s)} late (p99)")
    return found


def _shares(load: MachineLoad, limits: Limits) -> list[str]:
    rules = (
        (load.generator, limits.generator, "the pulse used {} of its core"),
        (load.locust, limits.generator, "Locust used {} of a core"),
        (load.steal, limits.steal, "the hypervisor took {} of this machine's CPU time for others"),
        (load.pressure, limits.pressure, "tasks of this machine waited for a CPU {} of the time"),
    )
    return [words.format(f"{value:.0%}") for value, limit, words in rules if value is not None and value > limit]


def not_told(load: MachineLoad | None) -> str:
    """What this machine does not say of itself, so that silence is not taken for calm; "" when it says all."""
    if load is None or load.seconds == 0:
        return ""
    silent = [name for name, value in (("CPU pressure (PSI)", load.pressure), ("steal", load.steal)) if value is None]
    return f"this machine does not tell {' and '.join(silent)}" if silent else ""


def cpu_share(ticks: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of one core that a process used between its first and last note of ``at_ns`` and ``cpu_s``."""
    noted = [(int(tick["at_ns"]), float(tick["cpu_s"])) for tick in ticks if "cpu_s" in tick]
    if len(noted) < 2 or noted[-1][0] <= noted[0][0]:
        return None
    return round((noted[-1][1] - noted[0][1]) / ((noted[-1][0] - noted[0][0]) / 1e9), 4)
