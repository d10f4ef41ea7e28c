"""What each pulse target met, what Locust's requests met by name, and what sending cost: tables that every report
draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.experiment.durations import say_duration
from testbed.experiment.result import LocustEntry, LocustResult, Outage, RunResult, TargetResult

CLOSED_LOOP = ("Locust's users wait for their answers and ask less while a request fails: how long it failed is what "
               "they saw, not an outage.")


@dataclass(frozen=True)
class Table:
    """``notes``: what must be said beside it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def load_tables(run: RunResult) -> list[Table]:
    """Those that say more than the run's own lines."""
    tables = []
    if len(run.targets) > 1 or any(target.protocol == "tcp" for target in run.targets):
        tables.append(_targets(run.targets))
    if run.locust is not None and any(map(_troubled, run.locust.entries)):
        tables.append(_locust(run.locust))
    if notes := _distribution(run.locust):
        tables.append(Table("locust's workers", (), (), notes))
    return tables


def generator_line(run: RunResult) -> str:
    """What each process that sent requests used of its core; "" where none told."""
    told = [f"{use.name} {use.cpu_share:.0%}" + (f" (busiest second {use.cpu_peak:.0%})" if use.cpu_peak else "")
            for use in run.generator if use.cpu_share is not None]
    return ", ".join(told)


def machine_line(run: RunResult) -> str:
    """What the measuring machine went through; "" where it does not tell."""
    load = run.machine
    if load is None:
        return ""
    told = [f"{value:.0%} {words}" for value, words in (
        (load.busy, "of its CPUs' time used"), (load.steal, "taken by the hypervisor"),
        (load.pressure, "of the time some task waited for a CPU")) if value is not None]
    if load.runnable is not None:
        told.append(f"{load.runnable:.1f} tasks per CPU")
    if load.loop_lag_p99_s is not None and load.loop_lag_max_s is not None:
        told.append(f"the runner woke up {say_duration(load.loop_lag_p99_s)} late (p99), "
                    f"{say_duration(load.loop_lag_max_s)} at most")
    return ", ".join(told)


def _targets(targets: Sequence[TargetResult]) -> Table:
    rows = tuple((target.name, target.aim, target.profile, str(target.requests.due), str(target.requests.failed),
                  str(target.requests.late), _outage(target.outages), say_duration(target.latency.p50),
                  say_duration(target.latency.p99)) for target in targets)
    return Table("pulse targets", ("target", "request", "rate", "due", "failed", "late", "outage", "p50", "p99"), rows)


def _troubled(entry: LocustEntry) -> bool:
    return bool(entry.failures or entry.outages)


def _locust(locust: LocustResult) -> Table:
    rows = []
    for entry in locust.entries:
        if not _troubled(entry):
            continue
        # Without a moment its failures were on another machine's clock.
        never = "unknown" if entry.failures else "–"
        stretch = never
        if entry.first_failed_s is not None:
            stretch = f"{entry.first_failed_s:.2f} s to {entry.last_failed_s:.2f} s"
        longest = never if entry.longest_failing_s is None else say_duration(entry.longest_failing_s)
        outage = _outage(entry.outages) if entry.open_loop else "–"
        rows.append((entry.name, str(entry.requests), str(entry.failures), stretch, longest, outage))
    header = ("name", "requests", "failed", "first to last", "longest without a success", "outage")
    return Table("locust's requests that failed or were slow", header, tuple(rows), (CLOSED_LOOP,))


def _distribution(locust: LocustResult | None) -> tuple[str, ...]:
    if locust is None:
        return ()
    notes = []
    if locust.remote:
        notes.append(f"{locust.remote} of Locust's {locust.workers} workers ran on another machine, whose clock is "
                     "another: of their requests only counts and latencies are taken")
    if locust.lost:
        notes.append(f"{locust.lost} of Locust's {locust.workers} workers were lost while the load ran")
    if locust.uncounted:
        notes.append(f"Locust counted {locust.uncounted} more requests at workers that sent no samples (they had a "
                     "locustfile of their own)")
    return tuple(notes)


def _outage(outages: Sequence[Outage]) -> str:
    if not outages:
        return "none"
    exact_s = sum(outage.length_uncertainty_s for outage in outages)
    length = say_duration(sum(outage.seconds for outage in outages), exact_s)
    windows = f" in {len(outages)} windows" if len(outages) > 1 else ""
    return length + windows + ("" if all(outage.ended for outage in outages) else ", not ended")
