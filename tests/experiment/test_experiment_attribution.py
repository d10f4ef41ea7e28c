"""Where the seconds went: planted causes are named, parts add up, and what no rule can explain is told."""

from __future__ import annotations

import pytest
from evidence_builder import World, hit
from hypothesis import given
from hypothesis import strategies as st
from planted_world import PLANTED, ROLLOUTS, SHAM, measured, rolled_out

from testbed.core.profile import FAST, KUBERNETES
from testbed.experiment.result import Disruption
from testbed.experiment.result.timeline import Path
from testbed.experiment.segments import Segment, cut, explained
from testbed.experiment.timeline import Act, disruption_of

PATHS: tuple[Path, ...] = ("isolation", "repair")
SEEDS = [pytest.param(range(1, 3), id="two seeds"),
         pytest.param(range(3, 33), id="thirty seeds", marks=[pytest.mark.long, pytest.mark.timeout(900)])]


def fault(world: World, *targets: str, at: float = 10.0, recovered: float | None = None, until: float = 60.0,
          verified: float | None = None) -> Disruption:
    act = Act("f", "fault", "a fault", at,
              injections=tuple(hit(target, at, recovered=recovered, verified=verified) for target in targets))
    return disruption_of(act, world.evidence, FAST, until=until)


def adds_up(found: Disruption) -> None:
    """Each gap's parts are its length; so are a path's."""
    for path in PATHS:
        gaps = [gap for gap in found.gaps if gap.path == path]
        for gap in gaps:
            assert sum(part.seconds for part in gap.parts) == pytest.approx(gap.seconds, abs=1e-6)
            assert all(part.seconds > 0 and part.uncertainty_s >= 0 and part.words for part in gap.parts)
        whole = gaps[-1].end_s - gaps[0].start_s if gaps else 0.0
        assert sum(cause.seconds for cause in found.causes(path)) == pytest.approx(whole, abs=1e-6)


def seconds(found: Disruption, path: Path, kind: str) -> float:
    return sum(cause.seconds for cause in found.causes(path) if cause.kind == kind)


# --- experiments with one planted cause each, in virtual time


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("name", PLANTED)
def test_the_largest_part_is_the_planted_cause(name: str, seeds: range) -> None:
    planted, kind = PLANTED[name]
    for seed in seeds:
        found = measured(planted, seed=seed)
        largest = found.largest_cause("repair")
        assert largest is not None and largest.kind == kind, (seed, found.causes("repair"))
        adds_up(found)
        assert seconds(found, "repair", "unexplained") < 0.05 * (found.repair_s or 0.0), found.causes("repair")
        assert found.disrupted


@pytest.mark.parametrize("name", ["back-off", "long drain", "eviction"])
def test_it_is_named_under_upstreams_constants_too(name: str) -> None:
    planted, kind = PLANTED[name]
    found = measured(planted, seed=1, profile=KUBERNETES)
    largest = found.largest_cause("repair")
    assert largest is not None and largest.kind == kind, found.causes("repair")
    assert seconds(found, "repair", "unexplained") == 0.0


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("name", ROLLOUTS)
def test_what_a_rollout_waited_for_is_named(name: str, seeds: range) -> None:
    planted, kind = ROLLOUTS[name]
    for seed in seeds:
        found = rolled_out(planted, seed=seed)
        largest = found.largest_cause("repair")
        assert largest is not None and largest.kind == kind, (seed, found.causes("repair"))
        adds_up(found)
        assert seconds(found, "repair", "unexplained") < 0.05 * (found.repair_s or 0.0), found.causes("repair")


def test_a_sham_is_no_disruption_in_twenty_of_twenty() -> None:
    for seed in range(20):
        found = measured(SHAM, seed=seed)
        assert found.verified and not found.disrupted, (seed, found)
        assert found.marks.detected is None and found.restarts == 0 and not found.causes("isolation")


# --- a rule explains at most what its arithmetic allows


def hang(world: World, *, first_failure: float, killed: float) -> None:
    """web-1 hangs; its first failed probe, and the order to stop it, come at these moments."""
    world.told(first_failure, "Unhealthy", "web-1", "Liveness probe failed: timeout")
    world.told(killed, "Killing", "web-1", "Container web failed liveness probe, will be restarted")
    world.told(killed + 1.0, "ContainerDied", "web-1")
    world.told(killed + 1.1, "Started", "web-1")
    world.pod(killed + 1.11, "web-1", ready=False, restarts=1)
    world.told(killed + 2.0, "ContainerReady", "web-1")
    world.pod(killed + 2.01, "web-1", ready=True, restarts=1)
    world.rotation(killed + 2.02, "web-1", "web-2", "web-3")


def test_what_a_probe_can_explain_is_the_probes() -> None:
    world = World()
    hang(world, first_failure=11.9, killed=13.9)  # 1 s period and 1 s timeout, then two more periods
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "probe") == pytest.approx(3.9)
    assert seconds(found, "repair", "draining") == pytest.approx(1.0)
    assert seconds(found, "repair", "unexplained") == 0.0


def test_what_it_cannot_explain_is_unexplained_with_its_seconds() -> None:
    world = World()
    hang(world, first_failure=11.9, killed=20.0)  # liveness: periodSeconds 1 × failureThreshold 3, timeoutSeconds 1
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "probe") == pytest.approx(1.9 + 3.0, abs=0.01)
    assert seconds(found, "repair", "unexplained") == pytest.approx(20.0 - 11.9 - 3.0, abs=0.01)
    unexplained = next(cause for cause in found.causes("repair") if cause.kind == "unexplained")
    assert "periodSeconds 1 × failureThreshold 3" in unexplained.words
    adds_up(found)


def test_a_late_restart_that_nobody_held_back_is_not_called_a_back_off() -> None:
    world = World()
    world.told(10.001, "ContainerDied", "web-1")
    world.told(16.0, "Started", "web-1")
    world.told(16.9, "ContainerReady", "web-1")
    world.pod(16.91, "web-1", ready=True, restarts=1)
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "back-off") == 0.0
    assert seconds(found, "repair", "unexplained") == pytest.approx(4.0, abs=0.05)


def test_a_fault_that_took_its_time_to_be_in_force_is_told_as_such() -> None:
    world = World()
    hang(world, first_failure=14.5, killed=16.5)
    found = fault(world, "default/web-1", verified=13.0)
    assert seconds(found, "isolation", "fault") == pytest.approx(2.5, abs=0.01)
    assert seconds(found, "isolation", "unexplained") == 0.0


def test_no_liveness_probe_explains_no_kill() -> None:
    world = World()
    for pod in world.evidence.pod_json.values():
        pod["spec"]["containers"][0].pop("livenessProbe", None)
    world.told(11.0, "Unhealthy", "web-1", "Readiness probe failed: timeout")
    world.told(15.0, "ContainerDied", "web-1")
    world.told(15.1, "Started", "web-1")
    world.told(15.5, "ContainerReady", "web-1")
    world.pod(15.51, "web-1", ready=True, restarts=1)
    for pod in world.evidence.pod_json.values():
        pod["spec"]["containers"][0].pop("livenessProbe", None)
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "unexplained") == pytest.approx(3.0, abs=0.05)


def test_a_crash_under_memory_pressure_is_the_faults_when_the_engine_saw_it_run_out() -> None:
    world = World()
    for at, action in ((14.0, "oom"), (14.02, "die")):
        world.by_engine(at, action, "web-1")
    world.told(14.01, "ContainerDied", "web-1")
    world.told(14.2, "Started", "web-1")
    world.told(14.9, "ContainerReady", "web-1")
    world.pod(14.91, "web-1", ready=True, restarts=1)
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "fault") == pytest.approx(4.0, abs=0.05)
    assert seconds(found, "repair", "unexplained") == 0.0


def test_what_waited_for_an_api_that_was_away_is_told_as_retries() -> None:
    world = World()
    world.told(10.001, "ContainerDied", "web-1")
    world.pod(10.01, "web-1", ready=False, running=False)
    world.evidence.away.append((10.1, 16.0))
    world.rotation(16.2, "web-2", "web-3")
    world.told(10.2, "Started", "web-1")
    world.told(11.0, "ContainerReady", "web-1")
    world.pod(16.1, "web-1", ready=True, restarts=1)
    world.rotation(16.4, "web-1", "web-2", "web-3")
    found = fault(world, "default/web-1")
    assert seconds(found, "isolation", "retries") == pytest.approx(5.9, abs=0.02)
    assert seconds(found, "isolation", "unexplained") == 0.0


def test_an_image_that_cannot_be_pulled_is_held_back_not_started_slowly() -> None:
    world = World()
    world.pod(10.02, "web-1", deleting=True)
    world.pod(10.06, "web-9", node="node-1", ready=False, running=False)
    world.told(10.07, "Scheduled", "web-9")
    world.told(10.3, "Pulling", "web-9", "Pulling image \"r/sample:v1\"")
    world.told(10.4, "Failed", "web-9", "Failed to pull image \"r/sample:v1\": no such tag")
    world.told(10.41, "Failed", "web-9", "Error: ErrImagePull")
    world.told(10.9, "BackOff", "web-9", "Back-off pulling image \"r/sample:v1\"")
    world.told(11.4, "Pulling", "web-9", "Pulling image \"r/sample:v1\"")
    world.told(13.4, "Pulled", "web-9")
    world.told(13.5, "Started", "web-9")
    world.told(14.0, "ContainerReady", "web-9")
    world.pod(14.01, "web-9", ready=True)
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "back-off") == pytest.approx(1.0, abs=0.02)
    assert seconds(found, "repair", "image") == pytest.approx(2.1, abs=0.02)
    adds_up(found)


def test_a_delay_that_another_orchestrator_tells_is_a_back_off_of_that_length() -> None:
    world = World()
    world.told(10.01, "ContainerDied", "web-1")
    world.pod(10.02, "web-1", ready=False, running=False)
    world.pod(10.1, "web-9", node="node-1", ready=False, running=False)
    world.told(10.1, "RestartDelay", "web-9", "restart delay 5 s")
    world.told(15.5, "Started", "web-9")
    world.told(16.4, "ContainerReady", "web-9")
    world.pod(16.41, "web-9", ready=True)
    found = fault(world, "default/web-1")
    assert seconds(found, "repair", "back-off") == pytest.approx(5.0, abs=0.02)
    assert seconds(found, "repair", "container-start") == pytest.approx(0.4, abs=0.05)
    adds_up(found)


# --- properties


segments = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 10), st.floats(0, 8)), max_size=8)
spans = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 10)), max_size=4)


@given(segments, spans, st.floats(0, 20), st.floats(0, 30))
def test_parts_of_any_gap_add_up_to_it(
    given_segments: list[tuple[float, float, float]], away: list[tuple[float, float]], start: float, length: float
) -> None:
    row, at = [], 0.0
    for begin, long, limit in sorted(given_segments):
        begin = max(begin, at)
        row.append(Segment(begin, begin + long, "control", "a rule", limit))
        at = begin + long
    found = explained(row, [(begin, begin + long) for begin, long in away])
    parts = cut(found, start, start + length, 0.01, 0.02)
    assert sum(part.seconds for part in parts) == pytest.approx(length, abs=1e-6)
    explained_s = sum(segment.seconds for segment in found if segment.kind == "control")
    allowed_s = sum(max(segment.limit_s, 0.0) + segment.start_u + segment.end_u for segment in row) * (len(away) + 1)
    assert explained_s <= allowed_s + 1e-6


@given(
    deaths=st.lists(st.tuples(st.integers(1, 4), st.floats(5, 30), st.floats(0.05, 6), st.floats(0.05, 4)), max_size=5),
    hung=st.lists(st.tuples(st.integers(1, 4), st.floats(10, 30), st.floats(0.1, 9)), max_size=2),
    at=st.floats(5, 20), until=st.floats(20, 60), verified=st.floats(0, 3),
)
def test_paths_add_up_whatever_was_seen(
    deaths: list[tuple[int, float, float, float]], hung: list[tuple[int, float, float]], at: float, until: float,
    verified: float,
) -> None:
    world = World(replicas=4)
    for number, moment, held_s, up_s in sorted(deaths, key=lambda item: item[1]):
        pod, rest = f"web-{number}", tuple(f"web-{index}" for index in range(1, 5) if index != number)
        world.told(moment, "ContainerDied", pod)
        world.pod(moment + 0.01, pod, ready=False, running=False)
        world.rotation(moment + 0.02, *rest)
        world.told(moment + held_s, "Started", pod)
        world.pod(moment + held_s, pod, ready=False, restarts=1)
        world.told(moment + held_s + up_s, "ContainerReady", pod)
        world.pod(moment + held_s + up_s, pod, ready=True, restarts=1)
        world.rotation(moment + held_s + up_s + 0.01, pod, *rest)
    for number, moment, waited_s in hung:
        world.told(moment, "Unhealthy", f"web-{number}", "Readiness probe failed: timeout")
        world.told(moment + waited_s, "Killing", f"web-{number}", "Container web failed liveness probe")
    for seen in (world.evidence.pods, world.evidence.endpoints):
        seen.sort(key=lambda item: item.at)
    found = fault(world, "default/web-1", "default/web-2", at=at, until=until, verified=at + verified)
    adds_up(found)
    probes_s = 2 * (1.0 + 1.0) + 3 * 1.0 + 1.0  # next probe of each kind, and the longer threshold
    assert seconds(found, "repair", "probe") <= probes_s + 0.1
