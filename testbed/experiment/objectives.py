"""Objectives: one condition on the result per line of text, parsed before anything is applied and judged after.

    lose-a-node.isolation.median < 2.5s     a time of one disruption, over runs
    crash.outage.max <= 800ms
    ship-v2.requests.failed == 0            a count of one disruption; must hold in every run
    requests.failed.ratio < 0.1%            of the whole run; must hold in every run
    latency.p99 < 250ms                     of the whole run; must hold in every run
    restarts == 0

Medians and quantiles are over runs; a quantile that the number of runs cannot support is refused.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.experiment.durations import parse_duration, parse_ratio, say_duration
from testbed.experiment.result import Disruption, ObjectiveResult, RunResult
from testbed.experiment.statistics import median, quantile, supported_quantile

TIMES = ("detection", "isolation", "repair", "outage")
AGGREGATES = ("median", "p90", "p95", "p99", "max", "min")
COUNTS = ("requests.failed", "requests.late", "requests.unsent", "requests.failed.ratio", "restarts")
LATENCIES = ("latency.p50", "latency.p95", "latency.p99", "latency.max")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">": operator.gt, ">=": operator.ge, "!=": operator.ne,
}
Unit = Literal["s", "", "ratio"]


@dataclass(frozen=True)
class Objective:
    """``step`` is ``""`` for the whole run. ``aggregate`` is ``""`` for what must hold in every run."""

    text: str
    step: str
    quantity: str
    aggregate: str
    comparison: str
    limit: float
    unit: Unit


def parse_objective(text: str, steps: Sequence[str], runs: int) -> Objective:
    """Reads one objective of an experiment with these steps and this many runs.

    Raises: ValueError saying what is wrong; ``Misspelt`` (a ValueError) with a suggestion for an unknown name.
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9_.-]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*", text)
    if match is None:
        raise ValueError("write it as <name> <comparison> <value>, e.g. 'crash.repair.median < 2s'")
    name, comparison, limit = match.groups()
    step, rest = _split_step(name, steps)
    quantity, aggregate = _quantity(step, rest, name, steps)
    if aggregate.startswith("p"):
        needed = supported_quantile(int(aggregate[1:]) / 100)
        if runs < needed:
            raise ValueError(f"{aggregate} over {runs} run{'s' if runs != 1 else ''} says nothing; "
                             f"it needs runs: {needed} or more (use max or median)")
    unit: Unit = "ratio" if quantity.endswith(".ratio") else (
        "s" if quantity in TIMES or quantity in LATENCIES else "")
    return Objective(text.strip(), step, quantity, aggregate, comparison, _limit(limit, unit), unit)


class Misspelt(ValueError):
    """An unknown name, with the nearest known one."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.suggestion = suggestion


def _split_step(name: str, steps: Sequence[str]) -> tuple[str, str]:
    for step in sorted(steps, key=len, reverse=True):
        if name.startswith(step + "."):
            return step, name[len(step) + 1:]
    return "", name


def _quantity(step: str, rest: str, name: str, steps: Sequence[str]) -> tuple[str, str]:
    base, _, last = rest.rpartition(".")
    if step and base in TIMES and last in AGGREGATES:
        return base, last
    if step and rest in TIMES:
        raise ValueError(f"say which value over the runs: {name}.median, .max or .p95")
    if rest in COUNTS or (not step and rest in LATENCIES):
        return rest, ""
    whole = (*COUNTS, *LATENCIES)
    known = [f"{item}.{tail}" for item in (step,) if step for tail in (*_times(), *COUNTS)] if step else [
        *whole, *(f"{item}.{tail}" for item in steps for tail in (*_times(), *COUNTS))]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        raise Misspelt(f"{name!r} is not a value of the result", near[0])
    steps_text = ", ".join(steps) or "none"
    raise ValueError(f"{name!r} is not a value of the result (steps: {steps_text}; times: {', '.join(TIMES)} with "
                     f"{', '.join(AGGREGATES)}; counts: {', '.join(COUNTS)}; whole run: {', '.join(LATENCIES)})")


def _times() -> Iterable[str]:
    return (f"{quantity}.{aggregate}" for quantity in TIMES for aggregate in AGGREGATES)


def _limit(text: str, unit: Unit) -> float:
    if unit == "s":
        if re.fullmatch(r"[\d.]+", text) and float(text):
            raise ValueError(f"{text!r} has no unit; write {text}s or {text}ms")
        return parse_duration(text)
    if unit == "ratio":
        return parse_ratio(text)
    try:
        return float(int(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a count") from None


# --- judging


def judge(objective: Objective, runs: Sequence[RunResult]) -> ObjectiveResult:
    """The verdict on one objective over the trusted runs. A time that never came misses an upper limit."""
    values, missing = _values(objective, runs)
    if not values and not missing:
        return _result(objective, None, None, "no trusted run measured it")
    compare = COMPARISONS[objective.comparison]
    if not objective.aggregate:
        if not values:
            return _result(objective, None, None, "nothing was counted")
        worst = _worst(objective, values)
        return _result(objective, compare(worst, objective.limit), worst, "")
    if missing and objective.aggregate != "min":
        upper = objective.comparison in ("<", "<=", "==")
        censored = sorted(values) + [float("inf")] * missing
        measured = _aggregate(objective.aggregate, censored)
        if measured == float("inf"):
            return _result(objective, not upper, None, f"not seen in {missing} of {len(censored)} runs")
        return _result(objective, compare(measured, objective.limit), measured,
                       f"not seen in {missing} of {len(censored)} runs")
    if not values:
        return _result(objective, False, None, f"not seen in {missing} runs")
    measured = _aggregate(objective.aggregate, values)
    return _result(objective, compare(measured, objective.limit), measured, "")


def holds_now(objective: Objective, disruptions: Sequence[Disruption]) -> tuple[float | None, bool]:
    """The value of one step so far, and whether it is as the objective wants it."""
    subject = next((item for item in disruptions if item.name == objective.step), None)
    value = None if subject is None else _measure(subject, objective.quantity)
    return value, value is not None and COMPARISONS[objective.comparison](value, objective.limit)


def _result(objective: Objective, met: bool | None, measured: float | None, note: str) -> ObjectiveResult:
    return ObjectiveResult(text=objective.text, met=met, measured=measured, limit=objective.limit,
                           unit=objective.unit, note=note)


def _values(objective: Objective, runs: Sequence[RunResult]) -> tuple[list[float], int]:
    """The value of each run, and in how many runs a time did not come."""
    values: list[float] = []
    missing = 0
    for run in runs:
        subject: RunResult | Disruption | None = run.disruption(objective.step) if objective.step else run
        value = None if subject is None else _measure(subject, objective.quantity)
        if value is None:
            missing += 1
        else:
            values.append(value)
    return values, missing


def _measure(subject: RunResult | Disruption, quantity: str) -> float | None:
    if quantity == "restarts":
        return float(subject.restarts)
    if quantity == "requests.failed.ratio":
        return subject.requests.failed_ratio
    if quantity.startswith("requests."):
        return float(getattr(subject.requests, quantity.removeprefix("requests."))) if subject.requests.due else None
    if isinstance(subject, RunResult):
        value = getattr(subject.latency, quantity.removeprefix("latency."))
        return None if value is None else float(value)
    times = {"detection": subject.detection_s, "isolation": subject.isolation_s, "repair": subject.repair_s,
             "outage": subject.outage_s if subject.requests.due else None}
    return times[quantity]


def _worst(objective: Objective, values: Sequence[float]) -> float:
    """What must hold in every run holds if it holds for the worst of them."""
    if objective.comparison in (">", ">="):
        return min(values)
    if objective.comparison in ("==", "!="):
        compare = COMPARISONS[objective.comparison]
        return next((value for value in values if not compare(value, objective.limit)), values[0])
    return max(values)


def _aggregate(name: str, values: Sequence[float]) -> float:
    if name == "median":
        return median(values)
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    return quantile(values, int(name[1:]) / 100)


def say_value(value: float | None, unit: str) -> str:
    """A measured value or limit for people."""
    if value is None:
        return "–"
    if unit == "s":
        return say_duration(value)
    return f"{value * 100:.3g} %" if unit == "ratio" else f"{value:g}"
