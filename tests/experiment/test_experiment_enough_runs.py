"""How many runs it takes to show anything: derived from the test, and held against what the comparison says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from test_experiment_compare import result, run

from testbed.experiment.compare import compare, compare_runs
from testbed.experiment.enough_runs import can_show, judged_together, least_p, runs_needed, too_few, values_expected
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import RunResult

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("n", "m", "p"), [(5, 5, 2 / 252), (6, 6, 2 / 924), (5, 8, 2 / 1287), (0, 9, 1.0)])
def test_the_smallest_p_is_that_of_complete_separation(n: int, m: int, p: float) -> None:
    assert least_p(n, m) == pytest.approx(p)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.lists(st.floats(0, 10), min_size=1, max_size=9))
def test_no_values_have_a_smaller_p(a: list[float], b: list[float]) -> None:
    if len({*a, *b}) == len(a) + len(b):  # ties are tested by an approximation
        assert mannwhitneyu(a, b).pvalue >= least_p(len(a), len(b)) * (1 - 1e-9)


@pytest.mark.parametrize(("values", "runs"), [(1, 5), (2, 5), (3, 6), (5, 6), (9, 6), (10, 7), (30, 7)])
def test_it_takes_more_runs_the_more_is_judged_at_once(values: int, runs: int) -> None:
    assert runs_needed(values) == runs
    assert not too_few((runs, runs), values)
    assert f"it takes {runs} of each" in too_few((runs - 1, runs - 1), values)


def test_few_runs_beside_many_are_too_few_for_an_interval_though_their_p_would_do() -> None:
    assert too_few((4, 20), 1) == "4 and 20 runs are too few for an interval: it takes 5 of each"
    assert too_few((5, 20), 5) == ""


def test_only_what_its_runs_can_show_is_judged_together() -> None:
    assert judged_together([(20, 20)] * 4 + [(5, 5)]) == {0, 1, 2, 3}
    assert judged_together([(20, 20), (5, 5)]) == {0, 1}
    assert judged_together([(5, 5)] * 5) == judged_together([]) == frozenset()
    assert judged_together([(6, 6)] * 5 + [(20, 0)]) == {0, 1, 2, 3, 4}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=12))
def test_each_of_those_that_are_judged_together_could_be_shown(sizes: list[tuple[int, int]]) -> None:
    together = judged_together(sizes)
    assert all(can_show(sizes[index], len(together)) for index in together)
    assert not any(can_show(sizes[index], len(sizes)) for index in range(len(sizes)) if index not in together)


# --- what the comparison makes of it


def several(number: int, disruptions: int, repair_s: float) -> RunResult:
    """A run with so many disruptions, of which isolation, repair, outage, failed requests and restarts are judged."""
    one = run(number, repair_s).disruptions[0]
    return run(number, repair_s).model_copy(
        update={"disruptions": tuple(one.model_copy(update={"name": f"d{index}"}) for index in range(disruptions))})


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 4), st.floats(2.0, 9.0), st.booleans())
def test_complete_separation_is_told_from_the_minimum_on_and_below_it_never(
    disruptions: int, more: int, factor: float, slower: bool
) -> None:
    needed = runs_needed(5 * disruptions)

    def compared(runs: int) -> tuple[str, str]:
        sides = [[several(number, disruptions, scale * (1 + number / 100)) for number in range(1, runs + 1)]
                 for scale in (1.0, factor)]
        first, second = sides if slower else sides[::-1]
        found = compare_runs("a", first, "b", second)
        assert len(found.primary) == 5 * disruptions
        repair = found.of("d0", "repair")
        assert repair is not None
        return repair.verdict, repair.reason

    assert compared(needed + more) == ("worse" if slower else "improved", "")
    below = needed - 1
    verdict, reason = compared(below)
    assert verdict == "cannot tell" and reason.startswith(f"{below} and {below} runs ")
    assert reason.endswith(f"it takes {needed} of each")


def test_five_runs_of_one_disruption_say_that_they_cannot_show_it() -> None:
    """Three times as long, every pair larger: a gate that stays green must say why."""
    steady, slow = [1.0 + n / 100 for n in range(5)], [3.0 + n / 100 for n in range(5)]
    found = compare(result(*steady), result(*slow))
    assert found.verdict == "cannot tell"
    assert "5 and 5 runs cannot show a difference in 5 values at once: it takes 6 of each" in found.reason
    repair = found.of("a", "repair")
    assert repair is not None and repair.ratio == pytest.approx(2.96, abs=0.05) and repair.effect == 1.0
    assert compare(result(*steady, 1.1), result(*slow, 3.1)).verdict == "worse"


# --- before the run


@pytest.mark.parametrize(("example", "values"), [("crash", 5), ("orders-store-crash", 6), ("rolling-update", 8)])
def test_what_will_be_judged_is_known_before_the_run(example: str, values: int) -> None:
    """Isolation, repair, outage, failed requests and restarts of a fault; lost writes where there is state; of each of
    two rollouts no isolation."""
    assert values_expected(load_experiment(EXAMPLES / f"{example}.yaml").experiment) == values
