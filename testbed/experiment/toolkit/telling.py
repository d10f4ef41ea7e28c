"""The testbed's own result of a Chaos Toolkit run, so that it is listed, shown and compared like every other."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from testbed import __version__
from testbed.experiment.result import (
    EXIT_CODES,
    Environment,
    Phase,
    Result,
    RunResult,
    SteadyStateResult,
    TimelineEvent,
    Verdict,
)
from testbed.experiment.toolkit.activities import Done, Look
from testbed.experiment.toolkit.journal import FILE
from testbed.experiment.toolkit.outcome import Happened
from testbed.experiment.toolkit.values import ToolkitExperiment

ARTEFACTS = {"journal": "journal.json", "chaos toolkit journal": FILE, "result": "result.json",
             "report": "report.html", "manifests": "manifests"}


def run_name(title: str) -> str:
    """A title as the beginning of a run's id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:30].strip("-") or "experiment"


def result_of(
    experiment: ToolkitExperiment, happened: Happened, verdict: Verdict, reason: str, *, run_id: str, title: str,
    started_at: datetime, duration_s: float, phases: Sequence[tuple[str, float, float]], notes: Sequence[str],
) -> Result:
    run = RunResult(
        number=1, verdict=verdict, reason=reason, started_at=started_at, duration_s=round(duration_s, 3),
        phases=tuple(Phase.model_validate({"name": name, "startS": round(start, 3), "endS": round(end, 3)})
                     for name, start, end in phases),
        steady_states=tuple(_steady_states(happened)), events=tuple(_events(happened)))
    return Result(
        run_id=run_id, name=title, file=experiment.file.name, profile="", started_at=started_at,
        ended_at=datetime.now(UTC), environment=_environment(), verdict=verdict, exit_code=EXIT_CODES[verdict],
        reason=reason, runs=(run,), artefacts=ARTEFACTS, notes=(*notes, *_own_notes(happened)))


def _steady_states(happened: Happened) -> Iterator[SteadyStateResult]:
    """Every probe before and after; of the looks in between, each probe that was missed, once."""
    for when, look in (("before", happened.before), ("after", happened.after)):
        for name in look.looked_at if look else ():
            yield _steady_state(when, name, look)
    told: set[str] = set()
    for look in happened.during:
        if look.missed and look.missed not in told:
            told.add(look.missed)
            yield _steady_state("during", look.missed, look)


def _steady_state(when: str, name: str, look: Look | None) -> SteadyStateResult:
    assert look is not None, "a name comes from a look"
    missed = name == look.missed
    return SteadyStateResult.model_validate({
        "when": when, "what": name, "met": not missed, "atS": round(look.at_s, 3), "waitedS": round(look.took_s, 3),
        "message": look.why if missed else ""})


def _events(happened: Happened) -> Iterator[TimelineEvent]:
    for part, done in (("", happened.method), ("rollback ", happened.rollbacks)):
        for item in done:
            yield TimelineEvent(
                at_s=round(item.began_s, 3), kind="step", object=f"{part}{item.activity.kind} {item.activity.name}",
                message=item.problem or f"{item.record.get('status', '')} after {item.ended_s - item.began_s:.3f} s",
                level="warning" if item.problem else "normal")


def _own_notes(happened: Happened) -> Iterator[str]:
    """What cannot change the verdict, and should be known."""
    for done in _silent_probes(happened):
        yield f"probe {done.activity.name} gave no answer: {done.problem}"
    if happened.during:
        missed = sum(not look.met for look in happened.during)
        yield f"hypothesis during the method: {len(happened.during)} looks, {missed} not met"
    if happened.without_rollbacks:
        yield "no rollbacks: SIGUSR2 asks for none"


def _silent_probes(happened: Happened) -> list[Done]:
    return [done for done in happened.method if done.activity.kind == "probe" and done.problem]


def _environment() -> Environment:
    return Environment(
        testbed_version=__version__, platform="chaos-toolkit", kernel=platform.release(),
        python=platform.python_version(), cpus=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load_average=round(os.getloadavg()[0], 2))
