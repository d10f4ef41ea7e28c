"""The budget, looked at again and again while records come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.experiment import budget
from testbed.experiment.budget import BudgetWatch
from testbed.experiment.clients import Clients
from testbed.experiment.kind import BudgetSpec
from testbed.load.records import FRESH, KEEP, Outcome, PulseData, Record

BEGAN_NS = 5_000_000_000
RATE = 100


def record(index: int, *, ok: bool = True, took_ms: float = 2.0, stream: str = FRESH) -> Record:
    due_ns = index * 10_000_000
    return Record(index, stream, due_ns, due_ns, due_ns + int(took_ms * 1e6), Outcome.OK if ok else Outcome.REFUSED)


def data(records: list[Record], **tick: Any) -> PulseData:
    return PulseData(start={"rate": RATE}, records=records, ticks=[tick] if tick else [])


def watch(**limits: Any) -> BudgetWatch:
    return BudgetWatch(BudgetSpec.model_validate(limits), BEGAN_NS)


def test_what_failed_before_the_method_and_on_the_kept_stream_is_not_counted() -> None:
    records = [record(index, ok=index >= 100) for index in range(600)]
    records += [record(index, ok=False, stream=KEEP) for index in range(600, 620)]
    assert watch(failedRequests=0).over(data(records)) == ""


def test_failures_are_counted_as_they_come() -> None:
    pulse = data([record(index) for index in range(600)])
    seen = watch(failedRequests=5)
    assert seen.over(pulse) == ""
    pulse.records += [record(index, ok=False) for index in range(600, 605)]
    assert seen.over(pulse) == ""
    pulse.records += [record(605, ok=False)]
    assert seen.over(pulse) == "6 requests failed, the budget is 5"


def test_a_share_of_few_requests_says_nothing() -> None:
    few = [record(index, ok=index < 540) for index in range(599)]
    assert watch(failedRatio="1%").over(data(few)) == ""
    assert "the budget is 1.0%" in watch(failedRatio="1%").over(data([*few, record(599, ok=False)]))


@settings(max_examples=15)
@given(begin=st.integers(510, 900), length=st.integers(1, 250), step=st.integers(20, 120))
def test_an_outage_is_seen_as_the_whole_of_the_records_shows_it(begin: int, length: int, step: int) -> None:
    """Looked at in steps, it is over the budget exactly when the clients' own account has ever been."""
    records = [record(index, ok=not begin <= index < begin + length) for index in range(1400)]
    seen, pulse, told = watch(outage="1s"), data([]), ""
    for end in range(step, 1400 + step, step):
        pulse.records = records[:end]
        told = told or seen.over(pulse)
    clients = Clients(records, start_ns=0, rate=RATE, deadline_s=1.0, healthy_until_s=5.0)
    assert bool(told) == any(window.seconds > 1.0 for window in clients.outages(5.0))


def test_silence_shows_before_any_record_does() -> None:
    """Requests that wait are no records yet; the pulse says that it lives and that they are in flight."""
    records = [record(index) for index in range(600)]
    waiting = {"at_ns": 8_500_000_000, "cpu_s": 0.1, "in_flight": 250}
    assert watch(outage="2s").over(data(records, **waiting)) == "an outage lasts 2.5 s, the budget is 2 s"
    assert watch(outage="3s").over(data(records, **waiting)) == ""
    assert watch(outage="2s").over(data(records, **{**waiting, "in_flight": 0})) == ""


def test_a_look_costs_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long run, a look takes the newest stretch only."""
    looked: list[int] = []

    def look(records: list[Record], *_: Any, **__: Any) -> tuple[()]:
        looked.append(len(records))
        return ()

    monkeypatch.setattr(budget, "outages", look)
    seen = watch(outage="1s")
    pulse = data([record(index) for index in range(60_000)])
    seen.over(pulse)
    pulse.records += [record(index) for index in range(60_000, 60_025)]
    seen.over(pulse)
    assert looked[-1] <= 22 * RATE
