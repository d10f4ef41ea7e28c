"""When requests are due by a profile, and the pace that records show."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from testbed.load.outage import Band, outages
from testbed.load.pace import Pace
from testbed.load.profile import Profile, Stage, parse_stage, say_stages
from testbed.load.records import FRESH, Outcome, Record

RATES = st.floats(1, 2000)
SPANS = st.one_of(st.just(0.0), st.floats(0.1, 60))
STAGES = st.lists(st.builds(Stage, st.one_of(st.just(0.0), RATES), SPANS), max_size=5)
PROFILES = st.builds(Profile, RATES, STAGES.map(tuple), st.floats(0, 30))


def rate_at(profile: Profile, at_s: float) -> float:
    """Requests per second, stage by stage as a person would."""
    begin_s, rate = profile.wait_s, profile.rate
    if at_s < begin_s:
        return rate
    for stage in profile.stages:
        if at_s < begin_s + stage.duration_s:
            return rate + (stage.target - rate) * (at_s - begin_s) / stage.duration_s
        begin_s, rate = begin_s + stage.duration_s, stage.target
    return rate


@given(PROFILES, st.integers(0, 200_000))
def test_arrivals_come_in_order_and_none_at_the_same_moment(profile: Profile, number: int) -> None:
    first, second = profile.due_s(number), profile.due_s(number + 1)
    assert first <= second
    assert first < second or math.isinf(second) or rate_at(profile, first) > 1e6


@given(PROFILES, st.integers(0, 200_000))
def test_an_arrival_is_due_when_the_integral_of_the_rate_reaches_its_number(profile: Profile, number: int) -> None:
    due_s = profile.due_s(number)
    assume(math.isfinite(due_s))
    assert profile.arrivals(due_s) == pytest.approx(number, rel=1e-9, abs=1e-3)


@given(PROFILES, st.floats(0, 300))
def test_the_count_up_to_a_moment_is_the_integral(profile: Profile, at_s: float) -> None:
    expected = math.floor(profile.arrivals(at_s))  # arrival 0 is due at once, so arrivals 0 to expected are due
    assert profile.due_s(expected - 1) <= at_s + 1e-6 if expected else True
    assert profile.due_s(expected + 1) > at_s - 1e-6


@given(PROFILES, st.floats(0, 300))
def test_the_integral_is_that_of_the_rate(profile: Profile, at_s: float) -> None:
    """Summed by the midpoints of short steps, as one would without any formula."""
    step_s, end_s = 0.01, min(at_s, 5.0)
    steps = int(end_s / step_s)
    summed = sum(rate_at(profile, (step + 0.5) * step_s) for step in range(steps)) * step_s
    # A step in which the rate jumps is off by at most the jump, once for each stage.
    slack = sum(2000 * step_s for _ in profile.stages) + 2000 * step_s
    assert summed == pytest.approx(profile.arrivals(steps * step_s), abs=slack, rel=1e-6)


def test_a_ramp_by_hand() -> None:
    profile = Profile(50, (Stage(50, 10), Stage(150, 10)))
    assert profile.due_s(499) == pytest.approx(9.98)
    assert profile.arrivals(20) == 500 + 1000
    assert profile.due_s(1500) == pytest.approx(20)
    assert profile.due_s(1650) == pytest.approx(21)  # the last target is held


def test_stages_begin_when_they_are_told_to() -> None:
    profile = Profile(10, (Stage(100, 0),), wait_s=3.0)
    assert profile.due_s(30) == pytest.approx(3.0)
    assert profile.due_s(130) == pytest.approx(4.0)


def test_a_rate_that_comes_to_nothing_sends_nothing_more() -> None:
    profile = Profile(10, (Stage(0, 10),))
    assert profile.arrivals(100) == 50
    assert math.isfinite(profile.due_s(49)) and math.isinf(profile.due_s(51))


@pytest.mark.parametrize("text", ["30s", "x:5", "5:", "-1s:5", "1s:-5", "nan:5", "1s:inf"])
def test_a_stage_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        parse_stage(text)


def test_stages_are_written_as_k6_reads_them() -> None:
    assert parse_stage("1m:500") == Stage(500, 60)
    stages = (Stage(12.5, 0.25), Stage(0, 90))
    assert tuple(parse_stage(text) for text in say_stages(stages)) == stages


# --- what the records show


def records(profile: Profile, number: int, failing: tuple[float, float] = (0, 0)) -> list[Record]:
    found = []
    for index in range(number):
        due_ns = int(profile.due_s(index) * 1e9)
        bad = failing[0] <= due_ns / 1e9 < failing[1]
        found.append(Record(index, FRESH, due_ns, due_ns, due_ns + 1_000_000, Outcome.REFUSED if bad else Outcome.OK))
    return found


def test_the_pace_is_the_one_around_the_moment_and_missing_records_do_not_slow_it() -> None:
    found = records(Profile(10, (Stage(100, 0),), wait_s=5), 500)
    pace = Pace([record for record in found if not 20 <= record.index < 40 and not 200 <= record.index < 300])
    assert pace.period_s(int(2.5e9)) == pytest.approx(0.1)
    assert pace.period_s(int(7.0e9)) == pytest.approx(0.01)
    assert Pace(found[:1]).period_s(0) == 0.0


def test_an_outage_is_as_exact_as_the_pace_it_was_met_at() -> None:
    profile = Profile(10, (Stage(200, 0),), wait_s=10)
    slow = outages(records(profile, 1000, (4.0, 6.0)), Band(0.001, 0.051), until_ns=int(14e9))
    fast = outages(records(profile, 1000, (12.0, 13.0)), Band(0.001, 0.051), until_ns=int(14e9))
    assert [window.resolution_s for window in (*slow, *fast)] == [0.1, 0.005]
    assert slow[0].length_s(0) == pytest.approx(2.0, abs=0.2)
    assert fast[0].length_s(0) == pytest.approx(1.0, abs=0.01)
