"""Objectives: what may be said, and how it is judged over runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.core.profile import FAST
from testbed.experiment.compare import compare_runs
from testbed.experiment.jitter import injection_jitter, longest_period
from testbed.experiment.objectives import Misspelt, judge, parse_objective, say_value
from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN
from testbed.experiment.result import ClientView, Disruption, Latency, Marks, Requests, RunResult, Verdict
from testbed.experiment.run_values import Observed
from testbed.experiment.statistics import (
    median,
    median_interval,
    over_runs,
    quantile,
    statistic_of,
    supported_quantile,
)


def run(number: int, repair: float | None = 1.0, failed: int = 0, p99: float = 0.01) -> RunResult:
    return RunResult(
        number=number, verdict=Verdict.PASSED, started_at=datetime(2026, 1, 1, tzinfo=UTC), duration_s=10,
        requests=Requests(due=1000, ok=1000 - failed, failed=failed), latency=Latency(p99=p99), restarts=1,
        disruptions=(Disruption(
            name="a", kind="fault", requests=Requests(due=100, ok=100 - failed, failed=failed),
            marks=Marks(injected=1.0, detected=1.1, restored=None if repair is None else 1.0 + repair)),),
    )


@pytest.mark.parametrize("text", [
    "a.repair.median < 2.5s", "a.isolation.max <= 800ms", "a.requests.failed == 0", "requests.failed.ratio < 0.1%",
    "restarts == 0", "latency.p99 < 250ms", "a.outage.max < 1m", "a.detection.min >= 0s",
    "a.causes.probe.median < 1s", "a.gray.max < 100ms", "availability >= 99.9%", "a.availability.time.min > 99%",
    "a.requests.failed.median <= 3", "a.burn.max < 14.4", "a.depth < 90%", "a.budget < 10%", "a.burn < 1",
    "depth < 90%", "budget.max < 10%", "a.false.restarts == 0", "baseline.a.repair.ratio <= 1.1",
    "baseline.repair.ratio < 110%", "a.isolation.causes.eviction-timeout.max < 2s", "a.requests.failed.mean < 2.5",
])
def test_what_may_be_said(text: str) -> None:
    assert parse_objective(text, ["a"], 1).text == text


@pytest.mark.parametrize(("text", "part"), [
    ("a.repair < 2s", "which value over the runs"), ("b.repair.median < 2s", "not a value of the result"),
    ("a.repair.median", "comparison"), ("a.repair.median < 2", "no unit"), ("a.requests.failed == 0.5", "not a count"),
    ("requests.failed.ratio < 200%", "between"), ("a.repair.p95 < 2s", "20 or more"), ("a.repair.p99 < 2s", "100"),
    ("a.repair.median ~ 2s", "comparison"), ("a.repair.medain < 2s", "not a value"),
    ("a.causes.prob.max < 1s", "not a value"), ("a.gray < 1s", "which value over the runs"),
    ("availability >= 1.5", "between"), ("baseline.repair.median < 2s", "not a value"),
    ("baseline.a.repair.ratio < 2s", "a multiple"), ("a.failed == 0", "not a value"),
    ("a.requests.failed.max <= 2.5", "not a count"), ("a.repair.median < 2.5.1", "not a duration"),
])
def test_what_may_not(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_objective(text, ["a"], 10)


def documented() -> list[str]:
    """Names between backticks in the tables of docs/experiments.md, and its examples."""
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    part = text[text.index("### Objectives"):text.index("## Baselines")]
    cells = [row.split("|")[1] for row in part.splitlines() if row.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([a-z.]+)`", cell) if not name.startswith(".")]


def test_the_documentation_names_what_there_is() -> None:
    known = {item.name for item in (*OF_DISRUPTION, *OF_RUN)}
    assert len(documented()) > 20 and set(documented()) <= known


@pytest.mark.parametrize(("text", "suggestion"), [
    ("a.repair.medain < 2s", "a.repair.median"), ("a.causes.prob.max < 1s", "a.causes.probe.max"),
    ("availabilty > 99%", "availability"), ("baseline.a.repiar.ratio < 2", "baseline.a.repair.ratio")])
def test_an_unknown_value_gets_the_nearest_known_one(text: str, suggestion: str) -> None:
    with pytest.raises(Misspelt) as found:
        parse_objective(text, ["a"], 10)
    assert found.value.suggestion == suggestion


def test_of_several_steps_the_baseline_must_be_told_which() -> None:
    with pytest.raises(ValueError, match="say of which step"):
        parse_objective("baseline.repair.ratio < 1.1", ["a", "b"], 1)
    assert parse_objective("baseline.b.repair.ratio < 1.1", ["a", "b"], 1).step == "b"


def test_a_quantile_that_the_runs_support() -> None:
    assert parse_objective("a.repair.p95 < 2s", ["a"], 20).aggregate == "p95"


def test_a_step_whose_name_has_dots_in_reach_of_another() -> None:
    assert parse_objective("a-b.repair.max < 1s", ["a", "a-b"], 1).step == "a-b"


@pytest.mark.parametrize(("text", "met"), [
    ("a.repair.median < 2s", True), ("a.repair.max < 2s", False), ("a.repair.min < 2s", True),
    ("a.requests.failed == 0", False), ("a.requests.failed <= 3", True), ("requests.failed.ratio < 1%", True),
    ("restarts == 1", True), ("latency.p99 < 5ms", False),
])
def test_judging(text: str, met: bool) -> None:
    runs = [run(1, 1.0), run(2, 1.5, failed=3), run(3, 4.0)]
    assert judge(parse_objective(text, ["a"], 3), runs).met is met


def test_a_count_must_hold_in_every_run_and_the_offender_is_shown() -> None:
    result = judge(parse_objective("a.requests.failed == 0", ["a"], 3), [run(1), run(2, failed=2), run(3)])
    assert (result.met, result.measured) == (False, 2)


def test_a_time_that_never_came_misses_its_limit() -> None:
    objective = parse_objective("a.repair.max < 100s", ["a"], 2)
    result = judge(objective, [run(1, 1.0), run(2, None)])
    assert result.met is False and "1 of 2" in result.note


def test_a_median_survives_a_minority_that_never_came() -> None:
    objective = parse_objective("a.repair.median < 2s", ["a"], 3)
    assert judge(objective, [run(1, 1.0), run(2, 1.2), run(3, None)]).met is True


@pytest.mark.parametrize("text", ["a.requests.failed == 0", "requests.failed.ratio < 1%", "latency.p99 < 5ms"])
def test_what_was_not_counted_is_not_judged(text: str) -> None:
    empty = run(1).model_copy(update={"requests": Requests(), "latency": Latency(), "disruptions": ()})
    assert judge(parse_objective(text, ["a"], 1), [empty]).met is None


def test_a_share_near_one_is_told_by_what_it_lacks() -> None:
    assert (say_value(0.99951, "ratio"), say_value(1.0, "ratio"), say_value(0.012, "ratio")) == (
        "99.951 %", "100 %", "1.2 %")
    runs = [run(1), run(2, failed=1)]
    found = judge(parse_objective("availability >= 99.95%", ["a"], 2), runs)
    assert (found.met, found.measured) == (False, 0.999)


def test_the_shares_of_a_run_are_of_the_requests_that_its_report_counts() -> None:
    """The calm before the method, however long, makes no availability better."""
    counts = Requests(due=200, ok=150, late=10, failed=40)
    view = ClientView(start_s=2.0, end_s=4.0, requests=counts, availability_requests=counts.answered_ratio)
    whole = run(1).model_copy(update={"clients": view, "requests": Requests(due=1000, ok=950, late=10, failed=40)})
    assert judge(parse_objective("availability >= 80%", ["a"], 1), [whole]).measured == 0.75
    assert judge(parse_objective("requests.failed.ratio < 10%", ["a"], 1), [whole]).measured == 0.2


def test_without_a_baseline_its_ratio_is_not_judged() -> None:
    objective = parse_objective("baseline.repair.ratio <= 1.1", ["a"], 10)
    assert objective.needs_baseline and judge(objective, [run(1)]).met is None


def test_a_ratio_is_judged_against_the_baseline() -> None:
    objective = parse_objective("baseline.repair.ratio <= 1.1", ["a"], 10)
    steady = [run(number, 1 + number / 100) for number in range(1, 9)]
    slower = [run(number, 1.4 + number / 100) for number in range(1, 9)]
    worse, same = compare_runs("a", steady, "b", slower), compare_runs("a", steady, "b", steady)
    assert judge(objective, slower, worse).met is False and "worse" in judge(objective, slower, worse).note
    assert judge(objective, steady, same).met is True
    other = compare_runs("a", steady, "b", slower, not_comparable=("CPUs: 2 and 4",))
    assert judge(objective, slower, other).met is None and "CPUs" in judge(objective, slower, other).note


def test_without_a_trusted_run_nothing_is_judged() -> None:
    assert judge(parse_objective("a.repair.max < 2s", ["a"], 1), []).met is None


# --- statistics


@pytest.mark.parametrize(("q", "n"), [(0.5, 2), (0.9, 10), (0.95, 20), (0.99, 100)])
def test_quantiles_need_values_beyond_them(q: float, n: int) -> None:
    assert supported_quantile(q) == n


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_lies_between_the_extremes(values: list[float], q: float) -> None:
    assert min(values) <= quantile(values, q) <= max(values)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=5, max_size=15), st.integers(0, 3))
def test_the_interval_holds_the_median_and_is_repeatable(values: list[float], seed: int) -> None:
    interval = median_interval(values, seed)
    assert interval is not None and interval == median_interval(values, seed)
    assert min(values) <= interval[0] <= interval[1] <= max(values)
    assert interval[0] <= median(values) <= interval[1] or interval[0] == interval[1]


def observed(*values: float | None) -> list[Observed]:
    return [Observed(number, value) for number, value in enumerate(values, 1)]


def test_few_values_have_no_interval_and_no_p95() -> None:
    few = statistic_of("a", "repair", observed(1.0, 2.0, 3.0), seed=1)
    assert (few.ci_low, few.p95, few.median, few.n) == (None, None, 2.0, 3)
    assert statistic_of("a", "repair", observed(*range(20)), seed=1).p95 == pytest.approx(18.05)


def test_censored_runs_are_counted_not_dropped() -> None:
    found = statistic_of("a", "repair", observed(1.0, None, None), seed=1)
    assert (found.n, found.censored, found.median) == (1, 2, None)


def test_void_runs_enter_no_statistics() -> None:
    void = run(2, 99.0).model_copy(update={"void_reason": "the pulse sent late"})
    repair = next(item for item in over_runs([run(1), void], 1) if item.quantity == "repair")
    assert repair.values == (1.0,)


# --- jitter


@given(st.integers(), st.integers(1, 100), st.floats(0.01, 30))
def test_jitter_is_repeatable_and_within_the_period(seed: int, number: int, longest: float) -> None:
    value = injection_jitter(seed, number, "step", longest)
    assert 0 <= value <= longest
    assert value == injection_jitter(seed, number, "step", longest)


def test_jitter_covers_the_longest_period_that_must_notice() -> None:
    spec = {"containers": [{"livenessProbe": {"periodSeconds": 3}, "readinessProbe": {"tcpSocket": {"port": 1}}}]}
    assert longest_period("PodChaos", [spec], FAST) == 10.0
    assert longest_period("NodeChaos", [], FAST) == 0.5
    assert longest_period("PodChaos", [], FAST) == 0.0
