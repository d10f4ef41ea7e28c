"""What a run publishes of itself: the status of its object of kind Experiment. Pure: values in, JSON out.

Bounded whatever the run is: of disruptions the newest are told one by one, as many as there is room for, and the older
ones as counts by how long each mark took, so that nothing that is counted is lost. Fields: docs/experiments.md.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from testbed.api.experiment_status import FINISHED, RECOVERY_BOUNDS_S, RUNNING, recovery_seconds
from testbed.api.meta import format_time
from testbed.experiment.objectives import say_value
from testbed.experiment.result import Disruption, Marks, ObjectiveResult, RunResult

Json = dict[str, Any]
MOST_BYTES = 58_000
MOST_DISRUPTIONS = 200
MOST_TARGETS = 20
MOST_ROWS = 360  # seconds of load, of all targets together
MOST_OBJECTIVES = 40
MOST_FAULTS = 20  # that have counts of their own among the earlier disruptions
MOST_CHARACTERS = 200  # of a name or an objective
MOST_REASON = 1000
OTHER = "other"
VOID = "void"
_MARKS = tuple(name for name in Marks.model_fields if name != "injected")


@dataclass(frozen=True)
class Heading:
    """What stays the same. ``platform``: or the variant's name; ``folder``: as the cluster knows it, "" when it does
    not."""

    experiment: str
    platform: str
    folder: str
    started_at: datetime


@dataclass(frozen=True)
class Place:
    """Where a run is. ``of``: how many repetitions are wanted."""

    number: int = 0
    of: int = 0
    phase: str = "steady"
    step: str = ""


@dataclass(frozen=True)
class Told:
    """Disruptions: the newest as they are published, the earlier ones as counts (see ``earlier``)."""

    newest: tuple[Json, ...] = ()
    count: int = 0
    seconds: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    @property
    def earlier(self) -> Json:
        """``seconds``: by fault and mark, ``counts`` of one bucket each (`RECOVERY_BOUNDS_S`, and above) and their
        sum."""
        return {"count": self.count, "seconds": {fault: dict(marks) for fault, marks in self.seconds.items()}}


# --- the whole


def running(
    heading: Heading, place: Place, *, at: datetime, load: Sequence[Json], told: Told, fresh: Sequence[Json],
    objectives: Sequence[ObjectiveResult], verdicts: Mapping[str, int],
) -> Json:
    """Args: at: now. told: disruptions of the repetitions before; ``fresh``: of this one."""
    base = {
        "phase": RUNNING, "startedAt": format_time(heading.started_at, micro=True),
        "updatedAt": format_time(at, micro=True),
        "experiment": heading.experiment[:MOST_CHARACTERS], "platform": heading.platform[:MOST_CHARACTERS],
        "folder": heading.folder,
        "run": {"number": place.number, "of": max(place.of, place.number), "phase": place.phase, "step": place.step},
        "load": list(load[:MOST_TARGETS]), "objectives": [_objective(item) for item in objectives[:MOST_OBJECTIVES]],
        "verdicts": dict(verdicts),
    }
    shown = folded(told, fresh, most_bytes=MOST_BYTES - _bytes(base))
    return {**base, "disruptions": list(shown.newest), "earlier": shown.earlier}


def finished(
    status: Json, *, verdict: str, reason: str, exit_code: int, at: datetime,
    objectives: Sequence[ObjectiveResult] | None = None,
) -> Json:
    """``status``, the run's last one, with how it ended. ``objectives``: as they were judged; None: as they stood."""
    ended = format_time(at, micro=True)
    found = {**status, "phase": FINISHED, "updatedAt": ended, "endedAt": ended, "verdict": verdict,
             "reason": reason[:MOST_REASON], "exitCode": exit_code}
    if objectives is not None:
        found["objectives"] = [_objective(item) for item in objectives[:MOST_OBJECTIVES]]
    return found


def rows_each(targets: int) -> int:
    """How many seconds of load each of so many targets may tell."""
    return min(60, MOST_ROWS // max(1, min(targets, MOST_TARGETS)))


def changed(before: Json, after: Json) -> Json:
    """The merge patch from one status to the next, by whole fields."""
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def verdicts_of(runs: Iterable[RunResult]) -> dict[str, int]:
    """Of finished repetitions."""
    return dict(Counter(VOID if run.void_reason else run.verdict.value for run in runs))


def _objective(item: ObjectiveResult) -> Json:
    return {"text": item.text[:MOST_CHARACTERS], "met": item.met,
            "measured": "" if item.measured is None else say_value(item.measured, item.unit)}


# --- disruptions


def disruption_told(
    item: Disruption, run: int, started_at: datetime, *, over: RunResult | None = None, failed: int | None = None,
) -> Json | None:
    """One disruption as it is published; None before it was injected.

    Args:
        started_at: of its repetition. over: the repetition's result, when it has one: then nothing changes any more.
        failed: requests that failed so far, while there is no result.
    """
    injected = item.marks.injected
    if injected is None:
        return None
    sent = over is not None and item.requests.due > 0
    target = next(iter(item.targets), "")
    return {
        "run": run, "step": item.name[:MOST_CHARACTERS], "fault": _fault(item)[:MOST_CHARACTERS],
        "target": target[:MOST_CHARACTERS], "targets": len(item.targets),
        "injectedAt": format_time(started_at + timedelta(seconds=injected), micro=True),
        "marks": {name: round(at - injected, 4) for name in _MARKS if (at := item.marks.get(name)) is not None},
        "restored": item.marks.restored is not None,
        "outage_s": round(item.outage_s, 4) if sent else None,
        "failed": item.requests.failed if sent else failed,
        # Its marks are times of a recovery that can be trusted, and final.
        "counted": over is not None and over.trusted and item.disrupted and not item.noise,
    }


def _fault(item: Disruption) -> str:
    """``PodChaos/container-kill``, as metrics name it; of what is no fault, its kind."""
    return item.what.replace(" ", "/", 1) if item.kind == "fault" else item.kind


def folded(
    told: Told, fresh: Sequence[Json], *, most: int = MOST_DISRUPTIONS, most_bytes: int = MOST_BYTES // 2
) -> Told:
    """``told`` with newer disruptions: as many of the newest as there is room for, the others as counts."""
    everything = [*told.newest, *fresh]
    older = everything[:max(0, len(everything) - most)]
    seconds = {fault: {mark: {**value, "counts": list(value["counts"])} for mark, value in marks.items()}
               for fault, marks in told.seconds.items()}
    for item in older:
        if item["counted"]:
            _count(seconds, item)
    found = Told(tuple(everything[len(older):]), told.count + len(older), seconds)
    left = len(found.newest)
    if left and _bytes(found.newest) + _bytes(found.earlier) > most_bytes:
        return folded(told, fresh, most=left * 3 // 4, most_bytes=most_bytes)
    return found


def _count(seconds: dict[str, dict[str, Json]], item: Json) -> None:
    fault = item["fault"] if item["fault"] in seconds or len(seconds) < MOST_FAULTS else OTHER
    for mark, value in recovery_seconds(item):
        into = seconds.setdefault(fault, {}).setdefault(
            mark, {"counts": [0] * (len(RECOVERY_BOUNDS_S) + 1), "sum_s": 0.0})
        into["counts"][bisect_left(RECOVERY_BOUNDS_S, value)] += 1
        into["sum_s"] = round(into["sum_s"] + value, 4)


def _bytes(value: Any) -> int:
    return len(json.dumps(value))
