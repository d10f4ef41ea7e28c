"""What the clients met, from records of a pulse, in the run's time and by disruption."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from evidence_builder import START_NS, World
from hypothesis import given
from hypothesis import strategies as st

from testbed.core.profile import FAST
from testbed.experiment.clients import Clients
from testbed.experiment.kind import SloSpec
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.load_results import Target
from testbed.experiment.observations import InjectionSeen
from testbed.experiment.quantities import OF_RUN
from testbed.experiment.repetition import Repetition, run_result
from testbed.experiment.result import LocustEntry, LocustResult, RunResult
from testbed.experiment.series import MAX_BINS, make_series
from testbed.experiment.timeline import Act
from testbed.load.records import FRESH, Outcome, PulseData, Record
from testbed.report.client_words import client_lines, say_share

RATE = 100


def records(seconds: float, outages: list[tuple[float, float]]) -> list[Record]:
    """A pulse whose requests fail while their due time is within an outage."""
    made = []
    for index in range(int(seconds * RATE)):
        due = index / RATE
        bad = any(begin <= due < end for begin, end in outages)
        due_ns = START_NS + int(due * 1e9)
        made.append(Record(index, FRESH, due_ns, due_ns + 100_000, due_ns + 2_000_000,
                           Outcome.REFUSED if bad else Outcome.OK, 0 if bad else 200, "" if bad else "web-1"))
    return made


def clients(outages: list[tuple[float, float]], seconds: float = 30.0) -> Clients:
    return Clients(records(seconds, outages), start_ns=START_NS, rate=RATE, deadline_s=1.0, healthy_until_s=5.0)


def test_an_outage_has_its_edges_and_counts() -> None:
    found = clients([(10.0, 11.0)]).outages()
    assert len(found) == 1
    assert found[0].start_s == pytest.approx(10.0)
    assert found[0].seconds == pytest.approx(1.0, abs=0.02)
    assert (found[0].failed, found[0].slow, found[0].uncertainty_s) == (100, 0, 0.01)


def test_failures_go_to_the_disruption_they_followed() -> None:
    seen = clients([(10.0, 10.5), (20.0, 20.2)])
    first, second = seen.requests(10.0, 20.0), seen.requests(20.0, 30.0)
    assert (first.failed, second.failed) == (50, 20)
    assert len(seen.outages(10.0, 20.0)) == len(seen.outages(20.0, 30.0)) == 1
    assert seen.requests().failed == 70 and seen.requests().outcomes == {"200": 2930, "refused": 70}


def test_marks_of_clients() -> None:
    marks = clients([(10.0, 10.5)]).marks(10.0, 20.0)
    assert marks["first_failed"] == pytest.approx(10.0)
    assert marks["last_failed"] == pytest.approx(10.49)
    assert marks["latency_normal"] == pytest.approx(10.502, abs=0.01)


def test_without_a_failure_there_are_no_marks() -> None:
    assert clients([]).marks(10.0, 20.0) == {"first_failed": None, "last_failed": None, "latency_normal": None}


def test_latency_is_not_back_with_the_failures_of_something_else() -> None:
    """What begins long after everything was settled is another matter."""
    seen = clients([(10.0, 10.5), (20.0, 20.2)])
    assert seen.marks(10.0, 30.0, settled_s=12.0)["latency_normal"] == pytest.approx(10.502, abs=0.01)
    assert seen.marks(10.0, 30.0)["latency_normal"] == pytest.approx(20.202, abs=0.01)


def test_the_view_of_a_stretch() -> None:
    view = clients([(10.0, 10.5), (11.0, 11.2)]).view(10.0, 20.0, settled_s=12.0, red=[(10.2, 12.0)])
    assert view.outage_count == 2
    assert (view.outage_sum_s, view.outage_longest_s) == (pytest.approx(0.704, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert view.outage_uncertainty_s == pytest.approx(0.044, abs=0.01)  # of four edges
    assert view.availability_requests == pytest.approx(1 - 70 / 1000)
    assert view.availability_time == pytest.approx(1 - 0.0704, abs=0.001)
    assert view.latency_normal_s == pytest.approx(1.202, abs=0.01)
    assert view.latency_disturbed_s == pytest.approx(1.2, abs=0.01)  # closer than a second: one disturbance
    assert view.lost_s == pytest.approx(0.7, abs=0.01) and view.depth == 1.0
    assert view.gray_s == pytest.approx(0.2, abs=0.01)
    assert view.failed_at_most is None and view.burn is None
    assert view.before.p50 == view.after.p50 == pytest.approx(0.002)


def test_the_view_of_a_calm_stretch_bounds_what_was_not_seen() -> None:
    view = clients([]).view(10.0, 20.0, red=[], slo=SloSpec.model_validate({"target": "99%"}))
    assert (view.outage_count, view.outage_sum_s, view.lost_s, view.depth, view.gray_s) == (0, 0.0, 0.0, 0.0, 0.0)
    assert (view.availability_requests, view.availability_time) == (1.0, 1.0)
    assert view.failed_at_most == pytest.approx(3 / 1000)
    assert view.latency_normal_s is None and view.latency_disturbed_s == 0.0
    assert view.burn is not None and view.burn.bad == 0


def test_late_answers_burn_the_budget_too() -> None:
    slow = [Record(r.index, r.stream, r.due_ns, r.sent_ns, r.due_ns + 1_500_000_000, r.outcome, 200, "")
            if 10 <= r.index / RATE < 11 else r for r in records(30.0, [])]
    seen = Clients(slow, start_ns=START_NS, rate=RATE, deadline_s=1.0, healthy_until_s=5.0)
    burn = seen.view(10.0, 20.0, slo=SloSpec.model_validate({"target": "99%"})).burn
    assert burn is not None and burn.bad == 100
    assert burn.spent_s == pytest.approx(1.0, rel=0.01)
    assert burn.rate == pytest.approx(10, rel=0.01)


def test_an_outage_that_does_not_end_counts_so_far() -> None:
    view = clients([(25.0, 40.0)]).view(10.0, 29.0)
    assert view.outage_sum_s == pytest.approx(4.0, abs=0.01)
    assert view.latency_normal_s is None and view.latency_disturbed_s == pytest.approx(4.0, abs=0.02)
    assert view.lost_s == pytest.approx(4.0, abs=0.02)


def test_series_have_one_value_per_bin() -> None:
    world = World()
    world.pod(10.0, "web-1", ready=False, restarts=1)
    world.pod(12.0, "web-1", ready=True, restarts=1)
    series = make_series(world.evidence, ["default/web"], clients([(10.0, 10.5)]), 30.0)
    columns = (series.due, series.failed, series.p50, series.p95, series.p99, series.ready, series.desired,
               series.restarts)
    assert len({len(column) for column in columns}) == 1
    assert (sum(series.due), sum(series.failed), sum(series.restarts)) == (3000, 50, 1)
    assert (series.ready[95], series.ready[105], series.ready[125]) == (3, 2, 3)


def test_long_runs_get_wider_bins() -> None:
    series = make_series(World().evidence, ["default/web"], None, 3600.0)
    assert len(series.due) <= MAX_BINS + 1 and series.bin_s > 0.1


def repetition(pulse: PulseData, *others: tuple[str, PulseData], locust: LocustResult | None = None) -> RunResult:
    """``others``: further targets by name."""
    found = Repetition(1, datetime.now(UTC), START_NS, World().evidence, FAST, ("default/web",))
    found.acts = [Act("hang", "fault", "FreezeChaos", 10.0,
                      injections=(InjectionSeen("default/web-1", began=10.0, verified=10.1, recovered=11.0),))]
    found.method_began, found.watched_until, found.duration_s, found.pulse = 5.0, 29.0, 30.0, pulse
    found.locust = locust
    if others:
        found.targets = tuple(Target(PulseSpec(service="web", name=name), data)
                              for name, data in (("web", pulse), *others))
    return run_result(found)


def pulse_data(sent: list[Record], *, ended: bool = True) -> PulseData:
    return PulseData(start={"rate": RATE}, records=sent, end={"at_ns": 1} if ended else None)


def test_a_run_is_put_together() -> None:
    result = repetition(pulse_data(records(30.0, [(10.0, 10.5)])))
    assert result.requests.failed == 50 and not result.void_reason
    assert result.disruptions[0].requests.failed == 50
    assert result.disruptions[0].outage_s == pytest.approx(0.5, abs=0.02)


moments = st.floats(0.0, 29.0)


@given(calm_s=st.floats(0.0, 20.0), failing=st.tuples(moments, moments).map(lambda pair: (min(pair), max(pair))),
       slow=st.sets(st.integers(0, 2999), max_size=20))
def test_every_share_of_a_run_is_of_one_count(calm_s: float, failing: tuple[float, float], slow: set[int]) -> None:
    """The report, the objectives and the JSON tell the same: right answers in time, of all due from the method on."""
    sent = [Record(r.index, r.stream, r.due_ns, r.sent_ns, r.due_ns + 1_500_000_000, r.outcome, r.status, "")
            if r.index in slow else r for r in records(30.0, [failing])]
    found = Repetition(1, datetime.now(UTC), START_NS, World().evidence, FAST, ("default/web",))
    found.method_began, found.watched_until, found.duration_s, found.pulse = calm_s, 29.0, 30.0, pulse_data(sent)
    run = run_result(found)
    assert run.clients is not None
    counts = run.clients.requests
    assert counts.due == counts.ok + counts.late + counts.failed
    within = [r for r in sent if calm_s <= (r.due_ns - START_NS) / 1e9 < 29.0]
    assert len(within) - 1 <= counts.due <= len(within) + 200  # and those on their way when it began, not at its end
    share = counts.ok / counts.due
    told = {quantity.name: quantity.read(run) for quantity in OF_RUN}
    assert run.clients.availability_requests == told["availability"] == share
    assert told["requests.failed.ratio"] == counts.failed / counts.due
    assert f"{say_share(share, counts.due)} of {counts.due} requests from the method on" in client_lines(run)[0]
    assert (run.clients.failed_at_most is None) is bool(counts.failed)


def left_late() -> list[Record]:
    return [Record(r.index, r.stream, r.due_ns, r.due_ns + 200_000_000, r.due_ns + 202_000_000, r.outcome, 200, "")
            for r in records(30.0, [])]


def test_a_pulse_that_left_late_makes_the_run_void() -> None:
    assert repetition(pulse_data(left_late())).void_reason == "the pulse sent late: p99 200.0 ms"


def test_every_target_is_asked_whether_it_can_be_believed() -> None:
    good = pulse_data(records(30.0, []))
    assert not repetition(good, ("store", good)).void_reason
    run = repetition(good, ("store", pulse_data(left_late())), ("queue", pulse_data(records(30.0, []), ended=False)))
    assert run.void_reason == ("the pulse of store sent late: p99 200.0 ms; "
                               "the pulse of queue was killed: its records have no end")


def test_a_pulse_user_of_locust_is_asked_too_and_closed_users_are_not() -> None:
    entries = (LocustEntry(name="GET /late", requests=10, failures=0, open_loop=True, send_lateness_p99_s=0.2),
               LocustEntry(name="GET /none", requests=10, failures=10, open_loop=True, unsent=10),
               LocustEntry(name="GET /closed", requests=10, failures=0, send_lateness_p99_s=0.2))
    run = repetition(pulse_data(records(30.0, [])), locust=LocustResult(users=1, entries=entries))
    assert run.void_reason == "Locust's GET /late sent late: p99 200.0 ms; Locust's GET /none sent nothing"


# --- what was on its way


def slow_system(fault_s: float, *, latency_s: float = 0.15, until_s: float = 30.0, warm_up_s: float = 0.0) -> Clients:
    """Every answer takes ``latency_s``; what is answered from ``fault_s`` on, for half a second, is an error."""
    made = []
    for index in range(int(until_s * RATE)):
        due_s = index / RATE
        took_s = 3.0 - due_s if due_s < warm_up_s else latency_s
        bad = fault_s <= due_s + took_s < fault_s + 0.5
        due_ns = START_NS + int(due_s * 1e9)
        made.append(Record(index, FRESH, due_ns, due_ns + 100_000, due_ns + int(took_s * 1e9),
                           Outcome.STATUS if bad else Outcome.OK, 503 if bad else 200, "web-1"))
    return Clients(made, start_ns=START_NS, rate=RATE, deadline_s=1.0, healthy_until_s=fault_s - 1.0)


def test_requests_that_were_on_their_way_when_a_fault_hit_are_its_own() -> None:
    """A system that takes 150 ms has 15 requests under way when it is hit, and they fail."""
    seen = slow_system(10.0)
    assert len(seen.outages(10.0, 30.0)) == 1
    assert seen.outages(10.0, 30.0)[0].start_s == pytest.approx(9.85, abs=0.02)
    assert seen.requests(10.0, 30.0).failed == seen.requests().failed == 50
    assert seen.marks(10.0, 30.0)["first_failed"] == pytest.approx(9.85, abs=0.02)


def test_they_are_not_also_the_disruptions_before() -> None:
    seen = slow_system(10.0)
    assert seen.outages(5.0, 10.0) == () and seen.requests(5.0, 10.0).failed == 0


def test_a_request_that_waited_longer_than_is_normal_is_not_blamed_on_what_came_later() -> None:
    made = [record for record in records(30.0, []) if record.index != 700]
    made.append(Record(700, FRESH, START_NS + 7_000_000_000, START_NS + 7_000_100_000, START_NS + 11_000_000_000,
                       Outcome.RESET, 0, ""))
    seen = Clients(made, start_ns=START_NS, rate=RATE, deadline_s=1.0, healthy_until_s=5.0)
    assert seen.requests(10.0, 20.0).failed == 0 and seen.requests(5.0, 10.0).failed == 1


def test_the_warm_up_is_not_what_is_normal() -> None:
    """The first requests of a load wait for everybody's first connection: they say nothing of what comes after."""
    cold, warm = slow_system(10.0, warm_up_s=2.0), slow_system(10.0)
    assert cold.band == warm.band
    assert cold.view(10.0, 20.0).before == warm.view(10.0, 20.0).before
