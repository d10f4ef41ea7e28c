"""The outage rule on made-up records."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.load.outage import (
    Band,
    count,
    normal_band,
    outages,
    percentile,
    quality,
)
from testbed.load.records import FRESH, Outcome, Record, parse_line

MS = 1_000_000
PERIOD_S = 0.005


def made(number: int, latency: Callable[[int], float | None], outcome: Callable[[int], Outcome]) -> list[Record]:
    """Records due every 5 ms; ``latency(due_ms)`` in ms, None for never."""
    records = []
    for index in range(number):
        due_ns = index * 5 * MS
        took = latency(index * 5)
        done_ns = due_ns + int(took * MS) if took is not None else 0
        records.append(Record(index, FRESH, due_ns, due_ns, done_ns, outcome(index * 5)))
    return records


def ok(_: int) -> Outcome:
    return Outcome.OK


def freeze(begin_ms: float, length_ms: float) -> Callable[[int], float]:
    """A server that answers in 1 ms, but not while frozen."""
    return lambda due: max(1.0, begin_ms + length_ms + 0.5 - due) if due + 1 > begin_ms else 1.0


@given(begin_ms=st.floats(500, 1000), length_ms=st.floats(70, 3000))
def test_a_freeze_is_measured_to_the_resolution(begin_ms: float, length_ms: float) -> None:
    records = made(1200, freeze(begin_ms, length_ms), ok)
    band = normal_band(records, int(begin_ms * MS) - 10 * MS)
    (window,) = outages(records, band, period_s=PERIOD_S, until_ns=6000 * MS)
    assert window.over
    assert abs(window.length_s(0) * 1000 - length_ms) <= 10
    assert abs(window.begin_ns / MS - begin_ms) <= 5 + 1


def queue(begin_ms: float, length_ms: float, each_ms: float) -> Callable[[int], float]:
    """A server that is frozen and then works off what waited, in order, one request in ``each_ms``."""
    free_ms = 0.0
    ends: dict[int, float] = {}
    for due in range(0, 6000, 5):
        ready = begin_ms + length_ms if due + each_ms > begin_ms and due < begin_ms + length_ms else due
        free_ms = max(free_ms, ready) + each_ms
        ends[due] = free_ms - due
    return lambda due: ends[due]


@given(begin_ms=st.floats(500, 1000), length_ms=st.floats(120, 2000), each_ms=st.floats(0.05, 2.0))
def test_the_queue_of_a_freeze_is_no_part_of_the_outage(begin_ms: float, length_ms: float, each_ms: float) -> None:
    records = made(1200, queue(begin_ms, length_ms, each_ms), ok)
    band = normal_band(records, int(begin_ms * MS) - 10 * MS)
    (window,) = outages(records, band, period_s=PERIOD_S, until_ns=6000 * MS)
    assert abs(window.length_s(0) * 1000 - length_ms) <= 10


@given(delay_ms=st.integers(80, 600), length_ms=st.integers(100, 2000))
def test_slow_service_is_an_outage_until_it_is_quick_again(delay_ms: int, length_ms: int) -> None:
    """All answers of a phase are late by the same: they keep pace and work off nothing."""
    records = made(1200, lambda due: delay_ms + 1.0 if 1000 <= due < 1000 + length_ms else 1.0, ok)
    (window,) = outages(records, normal_band(records, 990 * MS), period_s=PERIOD_S, until_ns=6000 * MS)
    assert abs(window.length_s(0) * 1000 - length_ms) <= 11


def test_nothing_bad_is_no_outage() -> None:
    records = made(100, lambda _: 1.0, ok)
    assert outages(records, normal_band(records, 10**9), period_s=PERIOD_S, until_ns=10**9) == ()


def test_quick_failures_are_an_outage_from_the_first_due_to_the_first_answer() -> None:
    records = made(200, lambda _: 1.0, lambda due: Outcome.REFUSED if 300 <= due < 500 else Outcome.OK)
    (window,) = outages(records, Band(0.001, 0.021), period_s=PERIOD_S, until_ns=1000 * MS)
    assert (window.begin_ns, window.end_ns, window.bad) == (300 * MS, 501 * MS, 40)


def test_one_dead_backend_of_three_is_one_window_when_failures_are_close() -> None:
    records = made(300, lambda _: 1.0,
                   lambda due: Outcome.REFUSED if 300 <= due < 900 and due // 5 % 3 == 0 else Outcome.OK)
    (window,) = outages(records, Band(0.001, 0.021), period_s=PERIOD_S, until_ns=1500 * MS)
    assert window.begin_ns == 300 * MS
    assert window.end_ns == 891 * MS
    assert window.bad == 40


def test_far_failures_are_windows_of_their_own() -> None:
    records = made(300, lambda _: 1.0, lambda due: Outcome.RESET if due in (300, 900) else Outcome.OK)
    windows = outages(records, Band(0.001, 0.021), period_s=PERIOD_S, until_ns=1500 * MS)
    assert [(window.begin_ns // MS, window.end_ns // MS) for window in windows] == [(300, 306), (900, 906)]


def test_an_outage_that_has_not_ended_says_so() -> None:
    records = made(200, lambda due: None if due >= 500 else 1.0,
                   lambda due: Outcome.UNANSWERED if due >= 500 else Outcome.OK)
    (window,) = outages(records, Band(0.001, 0.021), period_s=PERIOD_S, until_ns=1000 * MS)
    assert not window.over
    assert window.length_s(1000 * MS) == pytest.approx(0.5)


def test_in_flight_within_the_band_says_nothing() -> None:
    records = made(100, lambda due: None if due >= 490 else 1.0,
                   lambda due: Outcome.UNANSWERED if due >= 490 else Outcome.OK)
    assert outages(records, Band(0.001, 0.021), period_s=PERIOD_S, until_ns=496 * MS) == ()


def test_the_deadline_decides_how_requests_are_counted_only() -> None:
    records = made(1000, freeze(1000, 500), ok)
    band = normal_band(records, 900 * MS)
    strict, lax = count(records, deadline_s=0.05), count(records, deadline_s=10.0)
    assert strict.late > 0 and lax.late == 0
    assert strict.due == lax.due == 1000 and strict.lost == 0
    assert len(outages(records, band, period_s=PERIOD_S, until_ns=5000 * MS)) == 1


def test_unsent_and_failed_are_lost() -> None:
    records = made(10, lambda _: 1.0, lambda due: Outcome.UNSENT if due < 10 else Outcome.CLOSED if due < 25 else
                   Outcome.OK)
    counts = count(records, deadline_s=1.0)
    assert (counts.unsent, counts.failed, counts.ok, counts.lost) == (2, 3, 5, 5)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_of_the_list_and_never_beyond_it(values: list[float], fraction: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, fraction)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= math.floor(fraction * len(ordered))


def test_missing_indexes_and_late_sends_are_doubts() -> None:
    records = [Record(index, FRESH, 0, 30 * MS, 31 * MS, Outcome.OK) for index in (0, 1, 3)]
    doubts = quality(records).doubts(lateness_p99_limit_s=0.02)
    assert len(doubts) == 2
    assert quality(records, ended=False).doubts(lateness_p99_limit_s=0.02, who="the pulse of web") == (
        "the pulse of web sent late: p99 30.0 ms", "1 requests of the pulse of web were never recorded",
        "the pulse of web was killed: its records have no end")


@given(st.integers(0, 10**6), st.sampled_from(list(Outcome)), st.integers(0, 599), st.text("abc-0123", max_size=20))
def test_lines_read_back_as_they_were_written(index: int, outcome: Outcome, status: int, backend: str) -> None:
    record = Record(index, FRESH, 5, 6, 7, outcome, status, backend)
    assert parse_line(record.line()) == record
