"""How values of a result are said, the same in every report."""

from __future__ import annotations

import re
from collections.abc import Iterable

from testbed.experiment.durations import say_apart, say_duration
from testbed.experiment.objectives import say_value
from testbed.experiment.result import Disruption, ObjectiveResult, Result, RunResult, Statistic, Verdict
from testbed.experiment.run_values import uncertainty_s

MARK_WORDS = {
    "injected": "injected", "detected": "detected", "unready": "unready", "isolated": "isolated", "acted": "acted",
    "running": "running", "ready": "ready", "in_rotation": "in rotation", "restored": "restored", "undone": "undone",
    "stalled": "stalled", "first_failed": "first failed request", "last_failed": "last failed request",
    "latency_normal": "latency back to normal", "alerted": "alerted",
}
QUANTITY_WORDS = {
    "detection": "noticed after", "isolation": "isolated after", "repair": "restored after",
    "outage": "outage for users", "failed": "failed requests", "alerted": "paged after",
}
COLUMNS = {"detection": "noticed", "isolation": "isolated", "repair": "restored", "outage": "outage",
           "failed": "failed"}
PAGED = {"alerted": "paged"}  # a column where an Alertmanager was attached
NOT_PAGED = "not paged"
OUTAGE_NOTE = ("outage: from the first request that failed or took longer than is normal to the first normal answer; "
               "an outage without failed requests was slowness")
MOST_FIGURES = 15  # what a float holds
WHOLE_RUN = "whole run"  # where a disruption would be named
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Text from a cluster without escape sequences and control characters: it must not drive a terminal or a page."""
    return _CONTROL.sub("", text)


def headline(result: Result) -> str:
    """``passed``, or the verdict with its reason."""
    return clean(f"{result.verdict.value}: {result.reason}" if result.reason else result.verdict.value)


def passed(result: Result) -> bool:
    return result.verdict is Verdict.PASSED


def say_statistic(item: Statistic, uncertainty_s: float = 0.0) -> str:
    """``1.52 s``; over several runs ``1.52 s (1.31 – 1.80 s)``, and how often it was not seen. ``uncertainty_s``: of
    one value of it."""
    def say(value: float | None) -> str:
        return say_duration(value, uncertainty_s) if item.unit == "s" else "–" if value is None else f"{value:g}"

    if item.n == 0:
        return "not seen" if item.censored else "–"
    if item.n + item.censored == 1:
        return say(item.median)
    tail = f", not seen in {item.censored}" if item.censored else ""
    middle, low, high = (say(value).partition(" ± ")[0] for value in (item.median, item.minimum, item.maximum))
    return f"{middle} ({low} – {high}{tail})"


def columns(*results: Result) -> dict[str, str]:
    """Quantities that the tables of these results show, with their titles."""
    known = {item.quantity for result in results for item in result.statistics}
    return COLUMNS | (PAGED if "alerted" in known else {})


def say_quantity(result: Result, disruption: str, quantity: str) -> str:
    """A cell of a table: the statistic, or that a rollout stalled where it was never restored."""
    found = statistics_of(result, disruption).get(quantity)
    if found is None:
        return "–"
    stalled = [item for item in result.disruptions(disruption) if item.marks.stalled is not None]
    if quantity == "repair" and found.n == 0 and stalled:
        marks = stalled[-1].marks
        return f"stalled after {say_duration((marks.stalled or 0.0) - (marks.injected or 0.0))}"
    if quantity in PAGED and found.n == 0:
        return NOT_PAGED
    return say_statistic(found, uncertainty_s(quantity, result.disruptions(disruption)))


def say_measured(result: Result, item: ObjectiveResult) -> str:
    """What was measured for an objective, no finer than one run's value is known; of one that was missed, with as many
    figures as it takes to see why."""
    missed = item.met is False
    if item.unit != "s" or item.measured is None:
        return _say_apart(item.measured, item.limit, item.unit) if missed else say_value(item.measured, item.unit)
    known_s = uncertainty_s(item.quantity, subjects(result, item.disruption))
    return say_apart(item.measured, item.limit, known_s) if missed else say_duration(item.measured, known_s)


def _say_apart(value: float | None, limit: float, unit: str) -> str:
    """A value that is no time, told from its limit."""
    said = say_value(value, unit)
    if value is None or value == limit or said != say_value(limit, unit):
        return said
    scale, sign = {"ratio": (100.0, " %"), "times": (1.0, " ×")}.get(unit, (1.0, ""))
    told = ((f"{value * scale:.{figures}g}", f"{limit * scale:.{figures}g}") for figures in range(3, MOST_FIGURES))
    return next((mine for mine, other in told if mine != other), f"{value * scale:.{MOST_FIGURES}g}") + sign


def subjects(result: Result, disruption: str) -> Iterable[Disruption | RunResult]:
    """What an objective or a statistic is of, in each run that counts: a disruption, or "" for the run itself."""
    return result.disruptions(disruption) if disruption else result.trusted_runs


def statistics_of(result: Result, disruption: str) -> dict[str, Statistic]:
    return {item.quantity: item for item in result.statistics if item.disruption == disruption}


def main_run(result: Result) -> RunResult | None:
    """The run that single-run tables show: the trusted one whose repairs took the median time, else the last one."""
    runs = list(result.trusted_runs) or list(result.runs)
    if not runs:
        return None
    bad = [run for run in runs if run.verdict is not Verdict.PASSED]
    if bad:
        return bad[-1]
    ordered = sorted(runs, key=lambda run: sum(item.repair_s or 0.0 for item in run.disruptions))
    return ordered[len(ordered) // 2]
