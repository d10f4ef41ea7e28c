"""What many runs say together, in lines: how well a median is known, who lies outside, what never happened. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment.durations import say_duration
from testbed.experiment.objectives import say_value
from testbed.experiment.quantities import named
from testbed.experiment.result import Result, Statistic
from testbed.experiment.run_values import uncertainty_s
from testbed.report.words import WHOLE_RUN, clean, subjects

# Below this many runs the table's least and largest value say it all.
FROM_RUNS = 5


def void_line(result: Result) -> str:
    """``2 of 13 runs are void, 1 of 13 runs was broken off: no statistics count them``; "" when all count. That a lone
    run was broken off is what its verdict says."""
    void = sum(1 for run in result.runs if run.void_reason)
    broken_off = len(result.runs) - len(result.trusted_runs) - void if len(result.runs) > 1 else 0
    parts = [f"{count} of {len(result.runs)} runs {one if count == 1 else many}"
             for count, one, many in ((void, "is void", "are void"),
                                      (broken_off, "was broken off", "were broken off")) if count]
    return f"{', '.join(parts)}: no statistics count {'it' if void + broken_off == 1 else 'them'}" if parts else ""


def over_runs_lines(result: Result) -> Iterator[str]:
    """What many runs say together: of the whole run, then of each disruption, whose name stands first."""
    yield from (f"{WHOLE_RUN} {line}" for line in whole_run_lines(result))
    for name in result.disruption_names():
        yield from (f"{clean(name)} {line}" for line in statistics_lines(result, name))


def whole_run_lines(result: Result) -> Iterator[str]:
    """Of the counts that no disruption has, from two runs on: ``acknowledged writes lost: 3 in 2 of 10 runs``."""
    for item in result.statistics:
        quantity = named("", item.quantity)
        if item.disruption or quantity is None or item.n < 2:
            continue
        some = sum(1 for value in item.values if value)
        if some:
            yield f"{quantity.words}: {say_value(sum(item.values), item.unit)} in {some} of {item.n} runs"
        elif item.n < FROM_RUNS:
            yield f"{quantity.words}: none in {item.n} runs"
    yield from statistics_lines(result, "")


def statistics_lines(result: Result, disruption: str) -> Iterator[str]:
    """Of what a comparison would hang on, from five runs on."""
    for item in result.statistics:
        quantity = named(disruption, item.quantity)
        if item.disruption != disruption or quantity is None or not quantity.primary or _runs(item) < FROM_RUNS:
            continue
        if item.unit == "s":
            wrong_by_s = uncertainty_s(item.quantity, subjects(result, disruption))
            yield clean(f"{quantity.words}: {_middle(item, wrong_by_s)}")
        elif item.zero_bound is not None:
            yield clean(f"{quantity.words}: none in {item.n} runs, so in at most {item.zero_bound:.0%} of all (95 %)")
        if item.outliers:
            yield clean(f"{quantity.words}, outliers: " + ", ".join(
                f"run {one.run} ({say_value(one.value, item.unit)}, z {one.score:+g})" for one in item.outliers))


def _runs(item: Statistic) -> int:
    return item.n + item.censored


def _middle(item: Statistic, wrong_by_s: float) -> str:
    def say(value: float | None) -> str:
        """No finer than one run's value is known."""
        return "beyond what was watched" if value is None else say_duration(value, wrong_by_s).partition(" ± ")[0]

    parts = [f"median {say(item.median)}"]
    if item.ci_low is not None or item.ci_high is not None:
        parts.append(f"{item.ci_level:.0%} interval {say(item.ci_low)} to {say(item.ci_high)}")
    for name, value in (("mean", item.mean), ("p95", item.p95), ("p99", item.p99)):
        if value is not None:
            parts.append(f"{name} {say(value)}")
    parts.append(f"{_runs(item)} runs" + (f", {item.censored} of them not seen to end" if item.censored else ""))
    return ", ".join(parts)
