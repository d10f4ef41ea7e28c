"""The status of an object of kind Experiment: what its writer, the runner, and its readers must agree on.

Its fields stand in docs/experiments.md. `testbed.experiment` writes it; `testbed.server` and the live views read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from testbed.api.meta import parse_time

RUNNING, FINISHED = "Running", "Finished"
PHASES = ("steady", "inject", "observe", "undo", "converge")  # of one repetition
RECOVERY_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # of marks, since the injection
OUTAGE = "outage"  # among the marks of a histogram: how long clients had no answer
EVERY_S = 1.0  # a status is written so often while a run goes on
SILENT_S = 60.0  # a run that says it goes on and has written nothing for so long has lost its runner


def goes_on(status: Mapping[str, Any], now: datetime) -> bool:
    """Whether it says so, and was written less than SILENT_S ago: a runner that was killed says nothing more."""
    if status.get("phase") != RUNNING:
        return False
    try:
        return "updatedAt" not in status or (now - parse_time(str(status["updatedAt"]))).total_seconds() < SILENT_S
    except (TypeError, ValueError):  # no time, or one without a zone
        return False


def recovery_seconds(disruption: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """How long its recovery took, of a disruption of the status: to each mark, and how long clients had no answer."""
    yield from disruption["marks"].items()
    if disruption.get("outage_s") is not None:
        yield OUTAGE, disruption["outage_s"]
