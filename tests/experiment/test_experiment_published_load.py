"""Load of a run as it is published: counted as it comes, each request once, by the second in which it was due."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulse_records import UNIX_S, WALL_NS, ZERO_NS, record

from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.load_results import Target
from testbed.experiment.published_load import LATENCY_BOUNDS_S, LoadTally, rate_now
from testbed.load.records import KEEP, Outcome, PulseData, Record


def tally(*records: Record, deadline_s: float = 1.0) -> LoadTally:
    made = LoadTally("web")
    made.begin(WALL_NS)
    made.take(records, deadline_s)
    return made


def test_requests_are_counted_by_what_became_of_them_each_once() -> None:
    told = tally(record(0.1), record(0.2), record(0.3, 1.5), record(0.4, outcome=Outcome.REFUSED),
                 record(0.5, outcome=Outcome.TIMEOUT), record(0.6, outcome=Outcome.UNSENT)).told(UNIX_S + 1.0)
    assert {key: told[key] for key in ("target", "sent", "ok", "failed", "late", "unsent")} == {
        "target": "web", "sent": 5, "ok": 2, "failed": 2, "late": 1, "unsent": 1}
    assert told["sent"] == told["ok"] + told["late"] + told["failed"]


def test_latencies_of_right_answers_are_buckets_that_add_up() -> None:
    told = tally(record(0.1, 0.004), record(0.2, 0.02), record(0.3, 1.5), record(0.4, 20.0),
                 record(0.5, 0.001, Outcome.STATUS)).told(UNIX_S + 1.0)["latency"]
    buckets = list(told["buckets"].items())
    assert [bound for bound, _ in buckets] == [*(f"{bound:g}" for bound in LATENCY_BOUNDS_S), "+Inf"]
    assert [count for _, count in buckets] == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4], "cumulative, and failures have none"
    assert told["sum_s"] == pytest.approx(21.524)


def test_each_whole_second_is_told_by_when_its_requests_were_due() -> None:
    records = [record(0.2, 0.010), record(0.9, 0.030), record(1.1, outcome=Outcome.REFUSED), record(1.9, 1.4),
               record(3.1, 0.020)]
    rows = tally(*records).told(UNIX_S + 3.5)["recent"]
    assert rows == [
        [UNIX_S, 2, 0, 0, 10.0, 30.0], [UNIX_S + 1, 0, 1, 1, 1400.0, 1400.0],
        [UNIX_S + 2, 0, 0, 0, None, None],  # load ran, and nobody was answered
    ], "the second that goes on is not told yet"


def test_what_ends_late_changes_the_second_in_which_it_was_due() -> None:
    made = tally(record(0.2), record(1.2))
    assert made.told(UNIX_S + 2.0)["recent"][0][:4] == [UNIX_S, 1, 0, 0]
    made.take([record(0.3, 4.0)], 1.0)
    assert made.told(UNIX_S + 5.0)["recent"][0][:4] == [UNIX_S, 1, 0, 1]


def test_seconds_without_load_are_not_told_as_an_outage() -> None:
    made = tally(record(0.2))
    assert len(made.told(UNIX_S + 3.0, running=True)["recent"]) == 3
    made.begin(WALL_NS)
    assert len(made.told(UNIX_S + 9.0, running=True)["recent"]) == 3, "between two repetitions nothing is due"
    made.take([record(10.2)], 1.0)
    assert [row[0] - UNIX_S for row in made.told(UNIX_S + 12.0)["recent"]] == [0, 1, 2, 10, 11]


def test_only_the_newest_minute_is_kept_and_the_counts_go_on() -> None:
    made = LoadTally("web")
    made.begin(WALL_NS)
    for second in range(500):
        made.take([record(second + 0.5)], 1.0)
        told = made.told(UNIX_S + second + 1.0)
    assert told["ok"] == 500 and len(told["recent"]) == 60 and told["recent"][-1][0] == UNIX_S + 499
    assert len(made.told(UNIX_S + 500.0, 7)["recent"]) == 7


def test_the_stream_of_kept_connections_is_not_counted() -> None:
    assert tally(record(0.1, stream=KEEP)).told(UNIX_S + 1.0)["sent"] == 0


def test_failures_of_a_stretch_are_of_this_repetition() -> None:
    made = tally(*(record(at, outcome=Outcome.REFUSED) for at in (3.0, 1.0, 2.0)))
    assert made.failed_between(ZERO_NS + 10**9, ZERO_NS + 3 * 10**9) == 2
    made.begin(WALL_NS)
    assert made.failed_between(0, ZERO_NS * 2) == 0 and made.told(UNIX_S + 4.0)["failed"] == 3


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 12), st.sampled_from(list(Outcome))), max_size=60),
       st.integers(1, 7))
def test_in_however_many_parts_records_come_the_counts_are_the_same(
    drawn: list[tuple[float, float, Outcome]], parts: int
) -> None:
    records = [record(at, took, outcome) for at, took, outcome in drawn]
    whole, pieces = tally(*records), tally()
    for start in range(0, len(records), parts):
        pieces.take(records[start:start + parts], 1.0)
        pieces.told(UNIX_S + 45.0)
    one, other = whole.told(UNIX_S + 100.0), pieces.told(UNIX_S + 100.0)
    assert {key: value for key, value in one.items() if key != "recent"} == {
        key: value for key, value in other.items() if key != "recent"}


@pytest.mark.parametrize(("at_s", "rate"), [(0.0, 50), (4.0, 50), (10.0, 50), (15.0, 100), (20.0, 150), (99.0, 150)])
def test_the_rate_is_what_is_asked_for_now(at_s: float, rate: float) -> None:
    ramp = PulseSpec.model_validate({"service": "web", "startRate": 50, "stages": [{"target": 150, "duration": "10s"}]})
    data = PulseData(start={"t0_ns": ZERO_NS}, stages_ns=ZERO_NS + 10 * 10**9)
    assert rate_now(Target(ramp, data), ZERO_NS + round(at_s * 1e9)) == pytest.approx(rate)
    assert rate_now(Target(ramp, replace(data, stages_ns=0)), ZERO_NS + 99 * 10**9) == 50, "the method has not begun"
    steady = PulseSpec.model_validate({"service": "web", "rate": 70})
    assert rate_now(Target(steady, data), ZERO_NS) == 70
