"""Runs on ``/metrics``: what their objects say, in counters that never fall while the control plane lives."""

from __future__ import annotations

import copy
import random
import time
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from server_world import HandClock

from testbed.api.experiment_status import PHASES, RECOVERY_BOUNDS_S, SILENT_S
from testbed.api.meta import format_time
from testbed.errors import NotFound
from testbed.server.metrics_experiments import FAMILIES, MOST_GONE, ExperimentMetrics
from testbed.server.metrics_totals import MOST_NAMES, OTHER

Json = dict[str, Any]


def status(**more: Any) -> Json:
    return {
        "phase": "Running", "startedAt": "2026-01-01T11:59:00.000000Z", "updatedAt": "2026-01-01T12:00:00.000000Z",
        "experiment": "crash", "platform": "testbed",
        "run": {"number": 2, "of": 3, "phase": "observe", "step": "crash"},
        "load": [{"target": "web", "sent": 97, "ok": 90, "failed": 4, "late": 3, "unsent": 2,
                  "latency": {"buckets": {"0.005": 60, "0.25": 90, "10": 93, "+Inf": 93}, "sum_s": 1.5}}],
        "disruptions": [disruption()], "objectives": [{"text": "crash.repair.max < 4s", "met": True}],
        "verdicts": {"passed": 1}, **more}


def disruption(**more: Any) -> Json:
    return {"fault": "PodChaos/container-kill", "marks": {"detected": 0.12, "restored": 3.0}, "outage_s": 0.25,
            "restored": True, "counted": True, **more}


class World:
    """Experiment objects, and a control plane that is asked for its metrics."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.objects: dict[str, Json] = {}
        self.left_out = 0
        self.version = 0
        self.start()

    def start(self) -> None:
        """The control plane, anew."""
        self._metrics = ExperimentMetrics(lambda _: list(self.objects.values()), self.clock, self._failed)
        self._collected = CollectorRegistry(auto_describe=False)
        self._collected.register(self._metrics)

    def _failed(self) -> None:
        self.left_out += 1

    def put(self, name: str, value: Json, uid: str = "") -> None:
        self.version += 1
        meta = {"namespace": "default", "name": name, "uid": uid or name, "resourceVersion": str(self.version)}
        self.objects[name] = {"metadata": meta, "status": copy.deepcopy(value)}

    def samples(self) -> dict[tuple[str, ...], float]:
        """As Prometheus reads them: name and the labels' values, by the labels' names."""
        text = generate_latest(self._collected).decode()
        return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text) for sample in family.samples}


@pytest.fixture
def world() -> World:
    return World()


def test_without_any_run_there_is_nothing_to_show_and_no_error(world: World) -> None:
    assert world.samples() == {}

    def missing(_: Any) -> list[Json]:
        raise NotFound("no such kind")

    assert all(not list(family.samples) for family in ExperimentMetrics(missing, world.clock, world._failed).collect())


def test_it_says_which_experiment_runs_and_in_which_phase(world: World) -> None:
    world.put("crash-1", status())
    found = world.samples()
    assert found["testbed_experiment_running", "crash", "testbed"] == 1
    assert {phase: found["testbed_experiment_phase", "crash", phase] for phase in PHASES} == {
        **dict.fromkeys(PHASES, 0), "observe": 1}
    world.put("crash-1", status(phase="Finished", verdict="passed"))
    found = world.samples()
    assert found["testbed_experiment_running", "crash", "testbed"] == 0
    assert not any(found["testbed_experiment_phase", "crash", phase] for phase in PHASES)


def test_a_run_whose_runner_was_killed_does_not_run_for_ever(world: World) -> None:
    world.put("crash-1", status())
    world.clock.moment += timedelta(seconds=SILENT_S - 1)
    assert world.samples()["testbed_experiment_running", "crash", "testbed"] == 1
    world.clock.advance(2)
    assert world.samples()["testbed_experiment_running", "crash", "testbed"] == 0


def test_requests_are_counted_by_outcome_and_their_latencies_are_a_histogram(world: World) -> None:
    world.put("crash-1", status())
    found = world.samples()
    assert {outcome: found["testbed_requests_total", "crash", outcome, "web"]
            for outcome in ("ok", "failed", "late", "unsent")} == {"ok": 90, "failed": 4, "late": 3, "unsent": 2}
    assert {le: found["testbed_request_duration_seconds_bucket", "crash", le, "web"]
            for le in ("0.005", "0.25", "10", "+Inf")} == {"0.005": 60, "0.25": 90, "10": 93, "+Inf": 93}
    assert found["testbed_request_duration_seconds_count", "crash", "web"] == 93
    assert found["testbed_request_duration_seconds_sum", "crash", "web"] == 1.5


def test_recoveries_are_histograms_by_fault_and_phase(world: World) -> None:
    earlier = {"count": 2, "seconds": {"PodChaos/container-kill": {
        "detected": {"counts": [2, *[0] * len(RECOVERY_BOUNDS_S)], "sum_s": 0.1}}}}
    world.put("crash-1", status(earlier=earlier))
    found = world.samples()
    fault = "PodChaos/container-kill"
    buckets = [found["testbed_recovery_seconds_bucket", fault, le, "detected"] for le in ("0.1", "0.25", "+Inf")]
    assert buckets == [2, 3, 3]
    assert found["testbed_recovery_seconds_sum", fault, "detected"] == pytest.approx(0.22)
    assert found["testbed_recovery_seconds_count", fault, "restored"] == 1
    assert found["testbed_recovery_seconds_bucket", fault, "2.5", "restored"] == 0
    assert found["testbed_recovery_seconds_bucket", fault, "5", "restored"] == 1
    assert found["testbed_recovery_seconds_bucket", fault, "0.25", "outage"] == 1, "a bound belongs to its bucket"


def test_what_is_not_final_is_in_no_histogram(world: World) -> None:
    world.put("crash-1", status(disruptions=[disruption(counted=False), disruption(counted=True, outage_s=None)]))
    found = world.samples()
    assert found["testbed_recovery_seconds_count", "PodChaos/container-kill", "detected"] == 1
    assert ("testbed_recovery_seconds_count", "PodChaos/container-kill", "outage") not in found


def test_objectives_are_those_of_the_newest_run_as_far_as_they_are_known(world: World) -> None:
    world.put("crash-2", status(startedAt="2026-01-01T12:00:00.000000Z", objectives=[
        {"text": "a < 1s", "met": False}, {"text": "b < 1s", "met": None}, {"text": "c < 1s", "met": True}]))
    world.put("crash-1", status())
    found = {key: value for key, value in world.samples().items() if key[0] == "testbed_objective_met"}
    assert found == {("testbed_objective_met", "crash", "a < 1s"): 0, ("testbed_objective_met", "crash", "c < 1s"): 1}


def test_counts_of_all_runs_of_an_experiment_add_up(world: World) -> None:
    world.put("crash-1", status(phase="Finished", verdicts={"passed": 2, "void": 1}))
    world.put("crash-2", status())
    found = world.samples()
    assert found["testbed_runs_total", "crash", "passed"] == 3 and found["testbed_runs_total", "crash", "void"] == 1
    assert found["testbed_requests_total", "crash", "ok", "web"] == 180
    assert found["testbed_request_duration_seconds_bucket", "crash", "0.005", "web"] == 120


def counters(world: World) -> dict[tuple[str, ...], float]:
    return {key: value for key, value in world.samples().items()
            if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}


def test_what_was_counted_stays_when_an_object_is_removed(world: World) -> None:
    world.put("crash-1", status())
    before = counters(world)
    world.objects.clear()
    assert counters(world) == before
    assert not any(key[0] == "testbed_experiment_running" for key in world.samples())


def test_an_object_that_is_made_again_is_the_same_run_s(world: World) -> None:
    world.put("crash-1", status())
    before = counters(world)
    world.objects.clear()
    counters(world)
    world.put("crash-1", status(), uid="another")
    assert counters(world) == before


def test_a_control_plane_that_is_started_again_begins_with_what_is_kept(world: World) -> None:
    world.put("crash-1", status())
    world.put("crash-2", status())
    before = counters(world)
    world.start()
    assert counters(world) == before


def test_counters_never_fall_whatever_becomes_of_the_objects(world: World) -> None:
    draw = random.Random(7)
    last: dict[tuple[str, ...], float] = {}
    for step in range(300):
        name = f"crash-{draw.randrange(MOST_GONE * 2)}"
        if draw.random() < 0.3:
            world.objects.pop(name, None)
        else:
            ok = draw.randrange(1000)
            world.put(name, status(verdicts={"passed": draw.randrange(3)}, load=[{
                "target": "web", "sent": ok, "ok": ok, "failed": 0, "late": 0, "unsent": 0,
                "latency": {"buckets": {"0.1": ok // 2, "+Inf": ok}, "sum_s": ok / 100}}]))
        now = counters(world)
        assert all(now.get(key, 0) >= value for key, value in last.items()), f"step {step}"
        last = now


def test_an_object_that_cannot_be_read_is_left_out_and_said_and_the_others_are_shown(world: World) -> None:
    world.put("bad", status(experiment="bad", load=[{"target": "web"}]))
    world.put("crash-1", status())
    found = world.samples()
    assert world.left_out == 1 and found["testbed_requests_total", "crash", "ok", "web"] == 90
    assert ("testbed_requests_total", "bad", "ok", "web") not in found


@pytest.mark.parametrize("odd", [{"run": "x"}, {"objectives": [7]}, {"objectives": [{"text": "a", "met": "yes"}]},
                                 {"objectives": [{"text": "a", "met": 10**400}]}, {"run": 3, "phase": "Running"}])
def test_one_whose_state_cannot_be_read_takes_no_other_away(world: World, odd: Json) -> None:
    world.put("bad", status(experiment="bad", **odd))
    world.put("crash-1", status())
    found = world.samples()
    assert world.left_out == 1 and ("testbed_experiment_running", "bad", "testbed") not in found
    assert found["testbed_experiment_running", "crash", "testbed"] == 1
    assert found["testbed_experiment_phase", "crash", "observe"] == 1
    assert found["testbed_objective_met", "crash", "crash.repair.max < 4s"] == 1
    assert found["testbed_requests_total", "bad", "ok", "web"] == 90, "what can be read of it is counted"


def test_experiments_of_ever_new_names_do_not_make_the_page_grow_for_ever(world: World) -> None:
    for begin in range(0, MOST_NAMES + 20, 40):
        world.objects.clear()
        for number in range(begin, min(begin + 40, MOST_NAMES + 20)):
            world.put(f"run-{number}", status(experiment=f"e-{number}"))
        world.samples()
    found = world.samples()
    names = {key[1] for key in found if key[0] == "testbed_requests_total"}
    assert len(names) == MOST_NAMES + 1 and OTHER in names
    assert found["testbed_requests_total", "other", "ok", "other"] == 20 * 90


def test_a_bucket_whose_bound_is_no_number_is_one_that_cannot_be_read(world: World) -> None:
    load = status()["load"][0]
    world.put("bad", status(experiment="bad", load=[{**load, "latency": {"buckets": {"x": 1, "+Inf": 2}, "sum_s": 1}}]))
    world.put("crash-1", status())
    assert world.samples()["testbed_requests_total", "crash", "ok", "web"] == 90 and world.left_out == 1


def test_names_and_types_are_those_that_were_declared(world: World) -> None:
    world.put("crash-1", status())
    text = generate_latest(world._collected).decode()
    found = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert found == {family.name.removesuffix("_total") if family.type == "counter" else family.name: family.type
                     for family in FAMILIES}


def test_a_scrape_of_many_runs_costs_little_when_nothing_changed(world: World) -> None:
    for number in range(50):
        world.put(f"crash-{number}", status(
            phase="Finished", updatedAt=format_time(world.clock.now(), micro=True),
            disruptions=[disruption(fault=f"Kind/{index % 5}") for index in range(150)]))
    world.samples()
    begin = time.process_time()
    for _ in range(5):
        world.samples()
    assert (time.process_time() - begin) / 5 < 0.05
