"""Two sets of runs: the same is called the same, a slowdown is found, and the rule has no favourite side."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import jittered, lognormal, verdicts
from testbed.experiment.compare import compare, compare_runs, judged
from testbed.experiment.contrast import sample
from testbed.experiment.quantities import Quantity, of_disruption
from testbed.experiment.result import (
    Disruption,
    Environment,
    Marks,
    Outage,
    Requests,
    Result,
    RunResult,
    StateView,
    Verdict,
    Writes,
)
from testbed.experiment.result.comparison import Compared
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.run_values import Observed

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
OPPOSITE = {"worse": "improved", "improved": "worse", "same": "same", "cannot tell": "cannot tell"}
REPAIR, FAILED = of_disruption("repair"), of_disruption("failed")
assert REPAIR is not None and FAILED is not None


def compare_values(quantity: Quantity[Disruption], *sides: Iterable[float | None]) -> Compared:
    """One quantity alone. A None did not come while it was watched."""
    a, b = ([Observed(number, value) for number, value in enumerate(values, 1)] for values in sides)
    found = sample(quantity, a, b, seed=0)
    return judged("", quantity, found, found.p)


# --- how often the rule is right (fixed seeds)


def gamma(draw: random.Random, cv: float) -> float:
    return draw.gammavariate(1 / cv**2, cv**2)


def with_outliers(draw: random.Random, cv: float) -> float:
    return lognormal(draw, cv) * (2.5 if draw.random() < 0.05 else 1.0)


NOISES = pytest.mark.parametrize("noise", [lognormal, gamma, jittered])
PAIRS = 200


@NOISES
@pytest.mark.parametrize("cv", [0.10, 0.20])
def test_the_same_is_called_the_same_in_95_of_100(
    noise: Callable[[random.Random, float], float], cv: float
) -> None:
    assert verdicts(noise, cv, 1.0, 20, PAIRS)["same"] >= 190


@NOISES
@pytest.mark.parametrize(("cv", "least"), [(0.10, 198), (0.15, 160)])
def test_a_slowdown_of_a_fifth_is_found_with_twenty_runs(
    noise: Callable[[random.Random, float], float], cv: float, least: int
) -> None:
    found = verdicts(noise, cv, 1.2, 20, PAIRS)
    assert found["worse"] >= least and found["improved"] == 0


def test_outliers_neither_hide_a_slowdown_nor_make_one() -> None:
    assert verdicts(with_outliers, 0.10, 1.0, 20, PAIRS)["same"] >= 190
    assert verdicts(with_outliers, 0.10, 1.2, 20, PAIRS)["worse"] >= 190


def test_where_runs_scatter_too_much_nothing_is_claimed() -> None:
    found = verdicts(lognormal, 0.8, 1.0, 10, PAIRS)
    assert found["cannot tell"] >= 150


# --- properties

values = st.lists(st.floats(0.001, 100), min_size=5, max_size=12)
counts = st.lists(st.integers(0, 40).map(float), min_size=5, max_size=12)


@settings(max_examples=60, deadline=None)
@given(values, values)
def test_swapping_the_sides_swaps_the_verdict(a: list[float], b: list[float]) -> None:
    assert REPAIR is not None
    one, other = compare_values(REPAIR, a, b), compare_values(REPAIR, b, a)
    assert other.verdict == OPPOSITE[one.verdict]
    assert other.p == pytest.approx(one.p) and other.effect == pytest.approx(1 - (one.effect or 0), abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(counts, counts)
def test_swapping_counts_swaps_the_verdict(a: list[float], b: list[float]) -> None:
    assert FAILED is not None
    assert compare_values(FAILED, b, a).verdict == OPPOSITE[compare_values(FAILED, a, b).verdict]


@settings(max_examples=40, deadline=None)
@given(values, values, st.sampled_from([4.0, 64.0]))
def test_the_unit_does_not_matter_where_it_can_be_measured(a: list[float], b: list[float], factor: float) -> None:
    """Beyond the floor only ratios count."""
    assert REPAIR is not None
    one = compare_values(REPAIR, [100 * value for value in a], [100 * value for value in b])
    more = compare_values(REPAIR, [100 * factor * value for value in a], [100 * factor * value for value in b])
    if abs(one.shift or 0) > REPAIR.floor and min(abs(one.shift_low or 1), abs(one.shift_high or 1)) > REPAIR.floor:
        assert more.verdict == one.verdict


@settings(max_examples=30, deadline=None)
@given(values)
def test_what_is_equal_is_never_worse(a: list[float]) -> None:
    assert REPAIR is not None
    assert compare_values(REPAIR, a, a).verdict in ("same", "cannot tell")


# --- single cases


def test_few_runs_cannot_tell() -> None:
    assert REPAIR is not None
    found = compare_values(REPAIR, [1.0] * 4, [9.0] * 20)
    assert found.verdict == "cannot tell" and "4 and 20 runs" in found.reason and found.p is None


def test_a_difference_that_cannot_be_measured_is_none() -> None:
    assert REPAIR is not None
    assert compare_values(REPAIR, [0.001 + n / 1e6 for n in range(20)], [0.004 + n / 1e6 for n in range(20)]
                          ).verdict == "same"


def test_never_recovered_is_worse_than_any_time() -> None:
    assert REPAIR is not None
    steady = [1.0 + n / 100 for n in range(20)]
    found = compare_values(REPAIR, steady, [*steady[:8], *[None] * 12])
    assert (found.verdict, found.censored_b, found.centre_b) == ("worse", 12, None)
    assert "0 of 20 and 12 of 20" in found.reason
    assert compare_values(REPAIR, [*steady[:8], *[None] * 12], steady).verdict == "improved"


def test_one_that_did_not_recover_does_not_make_nineteen_worse() -> None:
    assert REPAIR is not None
    steady = [1.0 + n / 100 for n in range(20)]
    assert compare_values(REPAIR, steady, [*steady[:19], None]).verdict == "same"


def test_the_ratio_has_an_interval_that_holds_it() -> None:
    assert REPAIR is not None
    draw = random.Random(4)
    found = compare_values(REPAIR, [lognormal(draw, 0.1) for _ in range(20)],
                           [1.2 * lognormal(draw, 0.1) for _ in range(20)])
    assert found.ratio and found.ratio_low and found.ratio_high
    assert found.ratio_low < found.ratio < found.ratio_high and found.ratio_low > 1 and (found.effect or 0) > 0.8


# --- whole results


def run(number: int, repair: float | None, failed: int = 0, void: str = "", uninvited: bool = False) -> RunResult:
    outages = (Outage(start_s=1, end_s=1 + (repair or 0) / 10, failed=failed),)
    return RunResult(
        number=number, verdict=Verdict.PASSED, started_at=STARTED, duration_s=10, void_reason=void,
        disruptions=(Disruption(
            name="a", kind="uninvited" if uninvited else "fault", outages=outages,
            requests=Requests(due=100, ok=100 - failed, failed=failed),
            marks=Marks(injected=1.0, detected=1.1, isolated=1.2, restored=None if repair is None else 1 + repair)),),
    )


def result(*repairs: float, failed: int = 0, **machine: object) -> Result:
    environment = {"cpus": 2, "memory_bytes": 8 << 30, "kernel": "6.18.5", "engine": "docker 20.10", **machine}
    profile = str(environment.pop("profile", "fast"))
    return Result(
        run_id="r", name="x", started_at=STARTED, ended_at=STARTED, verdict=Verdict.PASSED, exit_code=0,
        profile=profile, environment=Environment.model_validate(environment, by_name=True),
        runs=tuple(run(number, value, failed) for number, value in enumerate(repairs, 1)))


STEADY = tuple(1.0 + n / 200 for n in range(20))
SLOW = tuple(1.2 * value for value in STEADY)


def test_a_slower_result_is_worse_and_says_where() -> None:
    found = compare(result(*STEADY), result(*SLOW))
    assert (found.verdict, found.reason) == ("worse", "a.repair, a.outage")
    assert compare(result(*SLOW), result(*STEADY)).verdict == "improved"
    assert compare(result(*STEADY), result(*STEADY)).verdict == "same"


@pytest.mark.parametrize(("change", "word"), [
    ({"cpus": 4}, "CPUs: 2 and 4"), ({"memory_bytes": 16 << 30}, "8.0 and 16.0 GiB"), ({"kernel": "5.10"}, "kernel"),
    ({"engine": "docker 27"}, "engine"), ({"profile": "kubernetes"}, "profile"), ({"platform": "swarm"}, "platform")])
def test_times_of_another_class_of_machine_are_not_judged_but_counts_are(
    change: dict[str, object], word: str
) -> None:
    found = compare(result(*STEADY), result(*SLOW, **change))
    repair, failed = found.of("a", "repair"), found.of("a", "failed")
    assert repair is not None and failed is not None
    assert repair.verdict == "cannot tell" and word in repair.reason
    assert failed.verdict == "same" and found.verdict == "cannot tell"
    assert compare(result(*STEADY), result(*SLOW, failed=7, **change)).verdict == "worse"


@pytest.mark.parametrize("change", [{"memory_bytes": int(8.4 * 2**30)}, {"kernel": "6.1"}, {"python": "3.13"}])
def test_small_differences_of_the_machine_do_not_matter(change: dict[str, object]) -> None:
    assert compare(result(*STEADY), result(*SLOW, **change)).verdict == "worse"


def busy(result: Result, runnable: float | None) -> Result:
    machine = MachineLoad(seconds=9, runnable=runnable)
    return result.model_copy(update={"runs": tuple(run.model_copy(update={"machine": machine}) for run in result.runs)})


@pytest.mark.parametrize(("before", "after", "verdict"), [
    (0.4, 15.0, "cannot tell"), (15.0, 0.4, "cannot tell"), (0.4, 0.9, "worse"), (6.0, 8.0, "worse"),
    (None, 9.0, "worse")])
def test_a_machine_on_which_others_work_is_another_one(before: float | None, after: float, verdict: str) -> None:
    found = compare(busy(result(*STEADY), before), busy(result(*SLOW), after))
    assert found.verdict == verdict
    assert ("shared each CPU" in found.reason) is (verdict == "cannot tell")
    runs = busy(result(*STEADY), before).runs, busy(result(*SLOW), after).runs
    assert compare_runs("a", runs[0], "b", runs[1]).verdict == "worse", "in turns they share the machine"


def test_void_runs_are_left_out() -> None:
    bad = result(*STEADY)
    bad = bad.model_copy(update={"runs": (*bad.runs, *(run(30 + n, 99.0, void="stolen") for n in range(20)))})
    assert compare(result(*STEADY), bad).verdict == "same"


def test_a_single_false_alarm_among_many_quantities_is_held_against_their_number() -> None:
    """Holm: what alone is just below the limit, is above it among others."""
    draw = random.Random(3)
    a = [run(n, 1.0 + draw.random()) for n in range(1, 21)]
    b = [run(n, 1.0 + draw.random() + 0.22) for n in range(1, 21)]
    found = compare_runs("a", a, "b", b).of("a", "repair")
    assert found is not None and found.p is not None and found.p_adjusted is not None
    assert found.p_adjusted > found.p


def test_without_a_common_disruption_nothing_can_be_told() -> None:
    other = result(*STEADY).model_copy(update={"runs": ()})
    assert compare(other, other).verdict == "cannot tell"
    assert compare_runs("a", [run(1, 1.0, uninvited=True)], "b", []).verdict == "cannot tell"


# --- the whole run


def writing(number: int, lost: int | None) -> RunResult:
    """None: nobody could say what became of the writes."""
    writes = None if lost is None else Writes(acknowledged=1000, stored=1000 - lost, lost=lost)
    return run(number, 1.0 + number / 200).model_copy(update={"state": StateView(writes=writes)})


def writings(*lost: int | None) -> list[RunResult]:
    return [writing(number, one) for number, one in enumerate(lost, 1)]


def test_a_release_that_loses_writes_is_worse() -> None:
    kept, one_lost = writings(*[0] * 10), writings(*[1] * 10)
    found = compare_runs("a", kept, "b", one_lost)
    assert (found.verdict, found.reason) == ("worse", "writes.lost")
    assert compare_runs("a", one_lost, "b", kept).verdict == "improved"
    assert compare_runs("a", kept, "b", kept).verdict == "same"
    lost = found.of("", "writes.lost")
    assert lost is not None and lost.primary and (lost.centre_a, lost.centre_b) == (0, 1)


def test_writes_that_nobody_could_account_for_are_not_taken_for_kept() -> None:
    found = compare_runs("a", writings(*[0] * 10), "b", writings(*[None] * 10))
    assert found.verdict == "cannot tell" and "writes.lost" in found.reason


def test_what_the_whole_run_shares_with_its_disruptions_is_compared_once() -> None:
    found = compare(result(*STEADY, failed=1), result(*STEADY, failed=9))
    assert [item.name for item in found.primary if item.verdict == "worse"] == ["a.failed"]


def test_values_of_too_few_runs_take_no_power_from_the_others() -> None:
    """Holm counts only what could be tested."""
    draw = random.Random(3)
    a = [run(n, 1.0 + draw.random()) for n in range(1, 21)]
    b = [run(n, 1.0 + draw.random() + 0.22) for n in range(1, 21)]
    rare = (Disruption(name="rare", kind="fault", marks=Marks(injected=1.0, isolated=1.1, restored=2.0)),)
    more = [[side[0].model_copy(update={"disruptions": (*side[0].disruptions, *rare)}), *side[1:]] for side in (a, b)]
    alone, beside = (compare_runs("a", x, "b", y).of("a", "repair") for x, y in ((a, b), more))
    assert alone is not None and beside is not None and alone.p_adjusted == beside.p_adjusted


def test_a_value_that_its_runs_cannot_show_among_all_leaves_the_others_theirs() -> None:
    """Five runs show a difference in two values at once, not in five: those of twenty runs are judged all the same."""
    found = compare_runs("a", writings(*[0] * 5, *[None] * 15), "b", writings(*[2] * 5, *[None] * 15))
    lost, repair = found.of("", "writes.lost"), found.of("a", "repair")
    assert lost is not None and repair is not None
    assert lost.verdict == "cannot tell" and lost.reason.startswith("5 and 5 runs cannot show a difference in ")
    assert repair.verdict == "same"
