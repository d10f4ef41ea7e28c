"""Objectives: one condition on the result per line of text, parsed before anything is applied and judged after.

    lose-a-node.isolation.median < 2.5s     a time of one disruption, over runs
    crash.causes.probe.median < 1s          what one kind of thing cost of its repair
    crash.outage.max <= 800ms
    ship-v2.requests.failed == 0            a count of one disruption; must hold in every run
    requests.failed.ratio < 0.1%            of the whole run; must hold in every run
    availability >= 99.9%
    latency.p99 < 250ms
    baseline.crash.repair.ratio <= 1.1      against the baseline that the run is given

Every value of `quantities.py` can be asked for. Medians and quantiles are over runs; a quantile that the number of runs
cannot support is refused.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.experiment.durations import parse_duration, parse_ratio, say_duration
from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN, Quantity, Unit, of_disruption, of_run
from testbed.experiment.result import Disruption, ObjectiveResult, RunResult
from testbed.experiment.result.comparison import Comparison
from testbed.experiment.run_values import Observed, has, watched_s
from testbed.experiment.statistics import median, quantile, supported_quantile, survival_quantile

AGGREGATES = ("median", "mean", "p90", "p95", "p99", "max", "min")
BASELINE, RATIO = "baseline", "ratio"
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">": operator.gt, ">=": operator.ge, "!=": operator.ne,
}


@dataclass(frozen=True)
class Objective:
    """``step`` is ``""`` for the whole run. ``aggregate`` is ``""`` for what must hold in every run, ``ratio`` for what
    is held against the baseline."""

    text: str
    step: str
    quantity: str
    aggregate: str
    comparison: str
    limit: float
    unit: Unit

    @property
    def of(self) -> Quantity[Any]:
        found = of_disruption(self.quantity) if self.step else of_run(self.quantity)
        assert found is not None, "it was parsed"
        return found

    @property
    def needs_baseline(self) -> bool:
        return self.aggregate == RATIO

    @property
    def needs_pulse(self) -> bool:
        return self.of.needs_pulse


class Misspelt(ValueError):
    """An unknown name, with the nearest known one."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.suggestion = suggestion


# --- parsing


def parse_objective(text: str, steps: Sequence[str], runs: int) -> Objective:
    """Reads one objective of an experiment with these steps and this many runs.

    Raises: ValueError saying what is wrong; ``Misspelt`` (a ValueError) with a suggestion for an unknown name.
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9_.-]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*", text)
    if match is None:
        raise ValueError("write it as <name> <comparison> <value>, e.g. 'crash.repair.median < 2s'")
    name, comparison, limit = match.groups()
    step, quantity, aggregate = _names(name, steps)
    if aggregate.startswith("p"):
        needed = supported_quantile(int(aggregate[1:]) / 100)
        if runs < needed:
            raise ValueError(f"{aggregate} over {runs} run{'s' if runs != 1 else ''} says nothing; "
                             f"it needs runs: {needed} or more (use max or median)")
    unit: Unit = "times" if aggregate == RATIO else quantity.unit
    whole = unit == "" and aggregate in ("", "max", "min")
    return Objective(text.strip(), step, quantity.name, aggregate, comparison, _limit(limit, unit, whole), unit)


def _names(name: str, steps: Sequence[str]) -> tuple[str, Quantity[Any], str]:
    """(step, quantity, aggregate) of a name. Raises: ValueError."""
    if name.startswith(f"{BASELINE}."):
        return _against_baseline(name, steps)
    step, rest = _split_step(name, steps)
    find = of_disruption if step else of_run
    base, _, last = rest.rpartition(".")
    exact: Quantity[Any] | None = find(rest)
    if exact is not None and exact.name == rest:
        if exact.each_run:
            return step, exact, ""
        raise ValueError(f"say which value over the runs: {name}.median, .max or .p95")
    quantity: Quantity[Any] | None = find(base) if last in AGGREGATES else None
    if quantity is not None and quantity.name == base:
        return step, quantity, last
    raise _unknown(name, step, steps)


def _against_baseline(name: str, steps: Sequence[str]) -> tuple[str, Quantity[Any], str]:
    step, rest = _split_step(name.removeprefix(f"{BASELINE}."), steps)
    base, _, last = rest.rpartition(".")
    quantity = of_disruption(base) if last == RATIO else None
    if quantity is None or quantity.name != base:
        known = [f"{BASELINE}.{one}.{item.name}.{RATIO}" for one in steps for item in OF_DISRUPTION]
        known += [f"{BASELINE}.{item.name}.{RATIO}" for item in OF_DISRUPTION]
        raise _misspelt(name, known, "write baseline.<step>.repair.ratio <= 1.1")
    if not step and len(steps) != 1:
        raise ValueError(f"say of which step: {BASELINE}.<step>.{base}.{RATIO} (steps: {', '.join(steps) or 'none'})")
    return step or steps[0], quantity, RATIO


def _split_step(name: str, steps: Sequence[str]) -> tuple[str, str]:
    for step in sorted(steps, key=len, reverse=True):
        if name.startswith(step + "."):
            return step, name[len(step) + 1:]
    return "", name


def known_names(steps: Sequence[str]) -> Iterable[str]:
    """Everything that an objective may begin with."""
    yield from _of_table(OF_RUN, "")
    for step in steps:
        yield from _of_table(OF_DISRUPTION, f"{step}.")


def _of_table(table: Sequence[Quantity[Any]], prefix: str) -> Iterable[str]:
    for item in table:
        if item.each_run:
            yield prefix + item.name
        yield from (f"{prefix}{item.name}.{aggregate}" for aggregate in AGGREGATES)


def _unknown(name: str, step: str, steps: Sequence[str]) -> ValueError:
    known = list(_of_table(OF_DISRUPTION, f"{step}.") if step else known_names(steps))
    of_steps = ", ".join(item.name for item in OF_DISRUPTION if "causes." not in item.name)
    whole = ", ".join(item.name for item in OF_RUN)
    return _misspelt(name, known, f"steps: {', '.join(steps) or 'none'}; of a step: {of_steps}, causes.<kind>; "
                                  f"of the whole run: {whole}; with {', '.join(AGGREGATES)}")


def _misspelt(name: str, known: Sequence[str], otherwise: str) -> ValueError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return Misspelt(f"{name!r} is not a value of the result", near[0])
    return ValueError(f"{name!r} is not a value of the result ({otherwise})")


def _limit(text: str, unit: Unit, whole: bool) -> float:
    """Args: whole: only whole numbers make sense."""
    if unit == "s":
        if re.fullmatch(r"[\d.]+", text) and text.count(".") <= 1 and float(text):
            raise ValueError(f"{text!r} has no unit; write {text}s or {text}ms")
        return parse_duration(text)
    if unit == "ratio":
        return parse_ratio(text)
    try:
        if unit == "times":
            return float(text[:-1]) / 100 if text.endswith("%") else float(text.removesuffix("x"))
        return float(int(text)) if whole else float(text)
    except ValueError:
        word = "a multiple such as 1.1 or 110%" if unit == "times" else "a count"
        raise ValueError(f"{text!r} is not {word}") from None


# --- judging


def judge(objective: Objective, runs: Sequence[RunResult], comparison: Comparison | None = None) -> ObjectiveResult:
    """The verdict on one objective over the trusted runs. A time that never came misses an upper limit.

    Args: comparison: with the baseline, where there is one.
    """
    if objective.needs_baseline:
        return _judged_against(objective, comparison)
    values = _values(objective, runs)
    if not values:
        return _result(objective, None, None, "no trusted run measured it" if not runs else "nothing was measured")
    if not objective.aggregate:
        seen = [item.value for item in values if item.value is not None]
        worst = _worst(objective, seen)
        return _result(objective, COMPARISONS[objective.comparison](worst, objective.limit), worst, "")
    missing = sum(item.censored for item in values)
    note = f"not seen in {missing} of {len(values)} runs" if missing else ""
    measured = _aggregate(objective.aggregate, values)
    if math.isinf(measured):
        return _result(objective, objective.comparison not in ("<", "<=", "=="), None, note)
    return _result(objective, COMPARISONS[objective.comparison](measured, objective.limit), measured, note)


def holds_now(objective: Objective, disruptions: Sequence[Disruption]) -> tuple[float | None, bool]:
    """The value of one step so far, and whether it is as the objective wants it."""
    subject = next((item for item in disruptions if item.name == objective.step), None)
    value = None if subject is None else objective.of.read(subject)
    return value, value is not None and COMPARISONS[objective.comparison](value, objective.limit)


def _judged_against(objective: Objective, comparison: Comparison | None) -> ObjectiveResult:
    found = comparison.of(objective.step, objective.of.key) if comparison is not None else None
    if comparison is None or found is None:
        why = "no baseline was given" if comparison is None else "neither this run nor the baseline has measured it"
        return _result(objective, None, None, why)
    if comparison.not_comparable and not found.counts:
        return _result(objective, None, None, found.reason)
    if found.ratio is None:
        return _result(objective, None, None, "there is no ratio: the baseline's is zero, or beyond what was watched")
    interval = "" if found.ratio_low is None or found.ratio_high is None else (
        f"{found.level:.0%} interval {found.ratio_low:.2f} to {found.ratio_high:.2f}; ")
    return _result(objective, COMPARISONS[objective.comparison](found.ratio, objective.limit), found.ratio,
                   f"{interval}{found.verdict}")


def _result(objective: Objective, met: bool | None, measured: float | None, note: str) -> ObjectiveResult:
    return ObjectiveResult(text=objective.text, disruption=objective.step, quantity=objective.of.key, met=met,
                           measured=measured, limit=objective.limit, unit=objective.unit, note=note)


def _values(objective: Objective, runs: Sequence[RunResult]) -> list[Observed]:
    """The value of each run that measured it. Of what can be censored, runs in which it did not come are there too."""
    found: list[Observed] = []
    for run in runs:
        subject: RunResult | Disruption | None = run.disruption(objective.step) if objective.step else run
        if isinstance(subject, Disruption) and not has(subject, objective.of):
            continue
        value = None if subject is None else objective.of.read(subject)
        if value is not None:
            found.append(Observed(run.number, float(value)))
        elif objective.of.censored:
            watched = watched_s(run, subject, objective.of) if isinstance(subject, Disruption) else math.inf
            found.append(Observed(run.number, None, watched))
    return found


def _worst(objective: Objective, values: Sequence[float]) -> float:
    """What must hold in every run holds if it holds for the worst of them."""
    if objective.comparison in (">", ">="):
        return min(values)
    if objective.comparison in ("==", "!="):
        compare = COMPARISONS[objective.comparison]
        return next((value for value in values if not compare(value, objective.limit)), values[0])
    return max(values)


def _aggregate(name: str, values: Sequence[Observed]) -> float:
    """Infinite where it lies beyond what was watched."""
    seen = [item.value for item in values if item.value is not None]
    if name == "min" and seen:
        return min(seen)
    if len(seen) < len(values):
        return math.inf if name in ("max", "min", "mean") else survival_quantile(values, _share(name))
    if name == "max":
        return max(seen)
    if name == "mean":
        return math.fsum(seen) / len(seen)
    return median(seen) if name == "median" else quantile(seen, _share(name))


def _share(name: str) -> float:
    return 0.5 if name == "median" else int(name[1:]) / 100


def say_value(value: float | None, unit: str) -> str:
    """A measured value or limit for people."""
    if value is None:
        return "–"
    if unit == "s":
        return say_duration(value)
    if unit == "times":
        return f"{value:.3g} ×"
    # A share near one is told by what it lacks: 99.95 % and 99.99 % are not the same.
    if unit == "ratio":
        return f"{value * 100:.3g} %" if value <= 0.99 or value == 1 else f"{value * 100:.3f}".rstrip("0") + " %"
    return f"{value:g}"
