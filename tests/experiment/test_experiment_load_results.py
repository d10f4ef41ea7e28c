"""What each pulse target met and what sending cost, as values of a run."""

from __future__ import annotations

from testbed.experiment.kind_load import LoadSpec
from testbed.experiment.load_results import Target, generator_uses, target_results
from testbed.experiment.locust_load import locust_result
from testbed.load.locust_samples import LocustData, Sample
from testbed.load.records import FRESH, Outcome, PulseData, Record

MS = 1_000_000
START_NS = 7_000 * MS


def pulse(rate: float, failing_ms: tuple[int, int], ticks: tuple[tuple[float, float], ...] = ()) -> PulseData:
    """20 seconds of requests from the start of the run; the moments are of the run."""
    records = []
    for index in range(int(20 * rate)):
        due_ns = START_NS + round(index * 1e9 / rate)
        bad = failing_ms[0] <= (due_ns - START_NS) / MS < failing_ms[1]
        outcome = Outcome.REFUSED if bad else Outcome.OK
        records.append(Record(index, FRESH, due_ns, due_ns + MS, due_ns + 2 * MS, outcome, 0 if bad else 200))
    notes = [{"kind": "tick", "at_ns": START_NS + int(at_s * 1e9), "cpu_s": cpu_s} for at_s, cpu_s in ticks]
    return PulseData({"rate": rate}, records, notes)


def test_each_target_is_judged_by_its_own_requests() -> None:
    store = {"service": "store", "protocol": "tcp", "rate": 50}
    specs = LoadSpec.model_validate({"pulse": [{"service": "web", "rate": 100}, store, {"service": "idle"}]}).pulses
    targets = [Target(specs[0], pulse(100, (0, 0))), Target(specs[1], pulse(50, (10_000, 12_000))),
               Target(specs[2], PulseData())]
    web, tcp, idle = target_results(targets, START_NS, 5.0)
    assert (web.name, web.aim, web.profile) == ("web", "GET service/web /", "100/s")
    assert (web.requests.failed, web.outages, web.send_lateness_p99_s) == (0, (), 0.001)
    assert (tcp.aim, tcp.requests.failed) == ("tcp service/store", 100)
    (outage,) = tcp.outages
    assert abs(outage.seconds - 2.0) <= 0.04
    assert outage.uncertainty_s == 0.02
    assert (idle.requests.due, idle.send_lateness_p99_s) == (0, None)


def test_the_use_of_a_core_is_told_on_average_and_of_the_busiest_second() -> None:
    (spec,) = LoadSpec.model_validate({"pulse": {"service": "web"}}).pulses
    data = pulse(10, (0, 0), ((0, 0.0), (1, 0.1), (2, 0.9), (4, 1.0)))
    often = [{"at_ns": int(at * 0.25e9), "cpu_s": at * 0.05} for at in range(12)]
    web, worker, silent = generator_uses([Target(spec, data)], {"locust worker 1": often, "locust": []})
    assert (web.name, web.cpu_share, web.cpu_peak) == ("pulse web", 0.25, 0.8)
    assert (worker.cpu_share, worker.cpu_peak) == (0.2, 0.2)
    assert (silent.cpu_share, silent.cpu_peak) == (None, None)


def locust_sample(at_ms: int, error: str = "", due_ms: int = -1, number: int = 0) -> Sample:
    due_ns = START_NS + due_ms * MS if due_ms >= 0 else 0
    return Sample(START_NS + at_ms * MS, 0.002, error, 2, "GET", "/", due_ns, number)


def test_locusts_requests_without_due_times_have_no_outage_but_a_stretch_of_failing() -> None:
    samples = [locust_sample(at, "HTTPError" if 5_000 <= at < 6_000 else "") for at in range(0, 10_000, 100)]
    (entry,) = locust_result(LocustData(samples), 3, START_NS, 4.0).entries
    assert (entry.open_loop, entry.outages, entry.failures) == (False, (), 10)
    assert (entry.first_failed_s, entry.last_failed_s) == (5.0, 5.9)
    assert entry.longest_failing_s is not None and abs(entry.longest_failing_s - 1.002) < 0.001


def test_a_pulse_users_requests_are_judged_as_the_pulses_are() -> None:
    samples = []
    for number in range(1000):
        due_ms = number * 10
        error = "ConnectionRefusedError" if 5_000 <= due_ms < 6_000 else "Unsent" if due_ms == 8_000 else ""
        samples.append(locust_sample(due_ms + 2, error, due_ms, number))
    (entry,) = locust_result(LocustData(samples), 3, START_NS, 4.0).entries
    assert entry.open_loop and entry.unsent == 1
    longest = max(entry.outages, key=lambda outage: outage.seconds)
    assert abs(longest.seconds - 1.0) <= 0.02 and abs(longest.start_s - 5.0) <= 0.01


def test_of_another_clock_only_counts_are_taken() -> None:
    far = [Sample(0, 0.002, "HTTPError", 2, "GET", "/far") for _ in range(5)]
    data = LocustData([locust_sample(1_000), *far], workers=["a", "b"], remote=["b"], uncounted=(7, 1))
    result = locust_result(data, 3, START_NS, 4.0)
    assert (result.requests, result.failures, result.workers, result.remote, result.uncounted) == (6, 5, 2, 1, 7)
    assert sum(result.rate) == 1
    far_entry = next(entry for entry in result.entries if entry.name == "GET /far")
    assert (far_entry.failures, far_entry.first_failed_s, far_entry.longest_failing_s) == (5, None, None)
