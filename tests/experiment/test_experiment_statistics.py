"""Statistics over runs: censored values, outliers, what was never seen, and when enough was measured."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.experiment import quantities
from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN, of_disruption
from testbed.experiment.result import Disruption, Gap, Marks, Phase, Requests, RunResult, StateView, Verdict, Writes
from testbed.experiment.result.timeline import Part
from testbed.experiment.run_values import Observed, watched_s
from testbed.experiment.sequential import MINIMUM_RUNS, half_width, look, narrow
from testbed.experiment.statistics import (
    censored_interval,
    median,
    median_interval,
    outliers,
    over_runs,
    statistic_of,
    survival_quantile,
    zero_bound,
)

times = st.lists(st.floats(0.001, 1000), min_size=1, max_size=40)


def seen(*values: float) -> list[Observed]:
    return [Observed(number, value) for number, value in enumerate(values, 1)]


def gone(*watched: float) -> list[Observed]:
    return [Observed(100 + number, None, value) for number, value in enumerate(watched)]


def run(number: int, repair: float | None, *, void: str = "", failed: int = 0) -> RunResult:
    return RunResult(
        number=number, verdict=Verdict.PASSED, started_at=datetime(2026, 1, 1, tzinfo=UTC), duration_s=30,
        void_reason=void, phases=(Phase(name="observe", start_s=2, end_s=12),),
        disruptions=(Disruption(
            name="a", kind="fault", requests=Requests(due=100, ok=100 - failed, failed=failed),
            marks=Marks(injected=2.0, detected=2.1, isolated=2.3, restored=None if repair is None else 2.0 + repair),
            gaps=(Gap(path="repair", start_mark="injected", end_mark="restored", start_s=2, end_s=2 + (repair or 0),
                      parts=(Part(kind="probe", seconds=repair or 0),)),)),))


# --- censored values


@given(times)
def test_without_censored_values_the_survival_median_is_the_median(values: list[float]) -> None:
    assert survival_quantile(seen(*values), 0.5) == pytest.approx(median(values))


def test_a_known_survival_curve() -> None:
    """Times 1, 2, 4, 5 with one lost at 3: S falls to 4/5, 3/5, then by halves of what is left."""
    values = [*seen(1, 2, 4, 5), *gone(3)]
    assert survival_quantile(values, 0.5) == 4
    assert survival_quantile(values, 0.4) == pytest.approx(3.0)  # exactly at the step from 2 to 4


def test_what_is_lost_early_says_less_than_what_is_watched_long() -> None:
    late = survival_quantile([*seen(1, 2, 3, 4), *gone(9, 9)], 0.5)
    early = survival_quantile([*seen(1, 2, 3, 4), *gone(0.5, 0.5)], 0.5)
    assert early < late


def test_a_median_beyond_what_was_watched_is_not_known() -> None:
    found = statistic_of("a", "repair", [*seen(1.0, 1.1), *gone(*[math.inf] * 4)], seed=1)
    assert (found.n, found.censored, found.median, found.ci_high) == (2, 4, None, None)


def test_the_interval_of_censored_runs_reaches_as_far_as_they_allow() -> None:
    few = statistic_of("a", "repair", [*seen(*(1.0 + n / 10 for n in range(19))), *gone(math.inf)], seed=1)
    assert few.ci_low and few.ci_high and few.median and few.ci_low < few.median < few.ci_high
    assert few.mean is None
    many = statistic_of("a", "repair", [*seen(*(1.0 + n / 10 for n in range(11))), *gone(*[math.inf] * 9)], seed=1)
    assert many.ci_low is not None and many.ci_high is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=5, max_size=20), st.integers(0, 5), st.integers(0, 3))
def test_a_censored_interval_holds_the_median(values: list[float], lost: int, seed: int) -> None:
    everything = [*seen(*values), *gone(*[1000.0] * lost)]
    found = censored_interval(everything, seed)
    assert found is not None and found == censored_interval(everything, seed)
    assert found[0] <= survival_quantile(everything, 0.5) <= found[1]


def test_how_long_a_run_was_watched_is_known_from_its_phases() -> None:
    lost = run(1, None)
    assert watched_s(lost, lost.disruptions[0]) == 10.0


def test_the_interval_has_the_level_it_claims() -> None:
    """95 % of intervals hold the true median: lognormal values, 20 a time."""
    draw = random.Random(6)
    hits = 0
    for attempt in range(200):
        low, high = median_interval([draw.lognormvariate(0, 0.2) for _ in range(20)], attempt) or (0, 0)
        hits += low <= 1.0 <= high
    assert 182 <= hits <= 200


# --- outliers


def test_an_outlier_is_named_with_its_run() -> None:
    found = outliers(seen(1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 4.0))
    assert [(item.run, item.value) for item in found] == [(7, 4.0)] and found[0].score > 3.5


@pytest.mark.parametrize("values", [(1.0, 9.0), (1, 1, 1, 1, 1), (1.0, 1.1, 0.9, 1.2, 0.8, 1.3, 0.7)])
def test_what_is_no_outlier(values: tuple[float, ...]) -> None:
    assert outliers(seen(*values)) == ()


def test_where_most_are_equal_the_other_one_still_shows() -> None:
    assert [item.run for item in outliers(seen(0, 0, 0, 0, 0, 0, 0, 0, 40))] == [9]


def test_differences_too_small_to_mean_anything_make_no_outlier() -> None:
    values = seen(0.001, 0.0011, 0.0009, 0.001, 0.00105, 0.006)
    assert outliers(values) and not outliers(values, floor=0.02)


# --- what the number of runs supports


def test_nothing_in_n_runs_is_bounded_by_three_over_n() -> None:
    assert (zero_bound(0), zero_bound(2), zero_bound(30)) == (None, 1.0, 0.1)
    assert statistic_of("a", "failed", seen(*[0.0] * 30), seed=1, unit="").zero_bound == 0.1
    assert statistic_of("a", "failed", seen(*[0.0] * 29, 1.0), seed=1, unit="").zero_bound is None


def test_p99_needs_a_hundred() -> None:
    assert statistic_of("a", "repair", seen(*range(99)), seed=1).p99 is None
    assert statistic_of("a", "repair", seen(*range(100)), seed=1).p99 == pytest.approx(98.01)


def test_a_statistic_knows_its_runs() -> None:
    found = next(item for item in over_runs([run(1, 1.0), run(2, 9.0, void="stolen"), run(3, None), run(4, 1.2)], 1)
                 if item.quantity == "repair")
    assert (found.values, found.runs, found.censored, found.mean) == (
        (1.0, pytest.approx(1.2)), (1, 4), 1, None)


@pytest.mark.parametrize("verdict", [item for item in Verdict if item not in (
    Verdict.PASSED, Verdict.OBJECTIVE_MISSED, Verdict.NOT_REGAINED, Verdict.ABORTED)])
def test_a_run_that_was_broken_off_is_no_run_that_never_recovered(verdict: Verdict) -> None:
    broken_off = [run(number, None).model_copy(update={"verdict": verdict}) for number in (6, 7)]
    found = next(item for item in over_runs([*(run(number, 1.0) for number in range(1, 6)), *broken_off], 1)
                 if item.quantity == "repair")
    assert (found.n, found.censored) == (5, 0)
    assert not look([run(1, 1.0), *broken_off * 3], 0.1).enough


@pytest.mark.parametrize("verdict", [Verdict.NOT_REGAINED, Verdict.ABORTED])
def test_a_run_that_went_through_badly_counts(verdict: Verdict) -> None:
    bad = run(2, None).model_copy(update={"verdict": verdict})
    found = next(item for item in over_runs([run(1, 1.0), bad], 1) if item.quantity == "repair")
    assert (found.n, found.censored) == (1, 1)


def test_causes_are_quantities_and_idle_ones_are_left_out() -> None:
    names = [item.quantity for item in over_runs([run(1, 1.0), run(2, 1.5)], 1)]
    assert "causes.probe" in names and "causes.image" not in names and "repair" in names


def test_an_injection_of_which_nothing_came_recovered_from_nothing() -> None:
    sham = run(1, None).disruptions[0].model_copy(update={"disrupted": False})
    names = {item.quantity for item in over_runs([run(1, 1.0).model_copy(update={"disruptions": (sham,)})], 1)}
    assert "failed" in names and not names & {"detection", "repair"}


def test_what_only_systems_with_state_have_is_not_missed_elsewhere() -> None:
    assert not {item.quantity for item in over_runs([run(1, 1.0)], 1)} & {"backlog.drain", "backlog.peak"}


def test_what_became_of_writes_is_a_statistic_of_the_whole_run() -> None:
    runs = [run(number, 1.0).model_copy(update={"state": StateView(writes=writes)}) for number, writes in (
        (1, Writes(acknowledged=9, stored=9)), (2, Writes(acknowledged=9, stored=7, lost=2)), (3, None))]
    (found,) = [item for item in over_runs(runs, 1) if not item.disruption]
    assert (found.quantity, found.values, found.runs) == ("writes.lost", (0.0, 2.0), (1, 2))


def test_no_two_quantities_share_a_name() -> None:
    for table in (OF_DISRUPTION, OF_RUN):
        names = [name for item in table for name in {item.name, item.key}]
        assert len(names) == len(set(names))
    assert of_disruption("failed") is of_disruption("requests.failed")
    assert quantities.of_run("latency.p99") is not None


def test_a_flat_quantity_has_a_flat_interval() -> None:
    found = statistic_of("a", "restarts", seen(*[1.0] * 12), seed=1, unit="")
    assert (found.ci_low, found.ci_high, found.mean, found.outliers) == (1.0, 1.0, 1.0, ())


# --- until an interval is narrow enough


def enough(values: list[Observed], target_ratio: float, floor: float = 0.0) -> bool:
    return narrow(values, target_ratio, floor, 0)[0]


def test_enough_takes_five_runs_and_a_narrow_interval() -> None:
    assert not enough(seen(*[1.0] * (MINIMUM_RUNS - 1)), 0.1)
    assert enough(seen(1.0, 1.01, 0.99, 1.0, 1.02), 0.1)
    assert not enough(seen(0.5, 1.0, 1.5, 2.0, 0.7), 0.1)
    assert not enough([], 0.1)


def test_what_lies_beyond_sight_is_never_enough() -> None:
    assert not enough([*seen(1.0, 1.0), *gone(*[math.inf] * 4)], 0.5)
    assert half_width([*seen(1, 1), *gone(9, 9, 9)]) == math.inf


def test_milliseconds_need_not_be_known_to_a_tenth() -> None:
    values = seen(0.001, 0.003, 0.002, 0.005, 0.001, 0.004)
    assert not enough(values, 0.1) and enough(values, 0.1, floor=0.02)


def test_a_look_says_what_is_too_wide() -> None:
    rough = [run(number, value) for number, value in enumerate([1.0, 1.9, 1.4, 2.5, 1.1, 1.7], 1)]
    assert look(rough, 0.1).widest == "a.repair" and not look(rough, 0.1).enough
    assert look([run(number, 1.0) for number in range(1, 7)], 0.1).enough
    assert not look([run(number, 1.0, void="late") for number in range(1, 7)], 0.1).enough


def test_looking_after_each_run_costs_little_of_the_level() -> None:
    """Stopping at a width of 10 % with at most 40 runs: the interval still holds the median in about 9 of 10."""
    draw = random.Random(8)
    hits = 0
    for _ in range(60):
        values = [draw.lognormvariate(0, 0.15) for _ in range(MINIMUM_RUNS)]
        while len(values) < 40 and not enough(seen(*values), 0.1):
            values.append(draw.lognormvariate(0, 0.15))
        low, high = median_interval(values, 0) or (0, 0)
        hits += low <= 1.0 <= high
    assert hits >= 49
