"""What was done to the healthy: false restarts, false isolations, and what is none of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from evidence_builder import START_NS, World

from testbed.core.profile import FAST
from testbed.experiment.noise import Accounts
from testbed.experiment.observations import InjectionSeen
from testbed.experiment.repetition import Repetition, run_result
from testbed.experiment.result import Detector, Disruption, Marks, RunResult
from testbed.experiment.timeline import Act, disruption_of, settled
from testbed.experiment.views import as_noise

UNTIL = 30.0


def account(world: World, *known: Disruption) -> Detector:
    return Accounts(world.evidence, ("default/web",), known, UNTIL).between(0.0, UNTIL)


def fault(target: str, since: float, until: float, *, noise: bool = False) -> Disruption:
    return Disruption(name="it", kind="fault", targets=(target,), noise=noise, window_s=(since, until),
                      marks=Marks(injected=since, restored=until, undone=until))


def shot(world: World, pod: str, at: float, back: float) -> None:
    """A pod that fails its probes: out of rotation, killed, and back."""
    names = [f"web-{index}" for index in range(1, 4)]
    world.told(at - 1, "Unhealthy", pod, "Liveness probe failed: timeout")
    world.told(at, "Killing", pod, "Container web failed liveness probe, will be restarted")
    world.pod(at + 0.02, pod, ready=False)
    world.rotation(at + 0.03, *(name for name in names if name != pod))
    world.pod(back, pod, ready=True, restarts=1)
    world.rotation(back + 0.01, *names)


def test_a_quiet_run_has_nothing_to_tell() -> None:
    found = account(World())
    assert (found.false_restarts, found.false_isolations, found.acts) == (0, 0, ())
    assert found.probe_hours == pytest.approx(3 * 2 * 30 / 3600)  # three pods, a readiness and a liveness probe each
    assert found.per_1000_probe_hours == 0 and found.flapping is None


def test_a_restart_that_no_fault_explains_is_false() -> None:
    world = World()
    shot(world, "web-1", 12.0, 15.0)
    found = account(world)
    assert (found.false_restarts, found.false_isolations) == (1, 1)
    assert found.false_isolated_s == pytest.approx(2.98)
    assert found.state_changes == 2
    assert found.per_1000_probe_hours == pytest.approx(1000 / (180 / 3600))


@pytest.mark.parametrize(("known", "false"), [
    (fault("default/web-1", 10.0, 15.0), 0),
    (fault("default/web-1/web", 10.0, 15.0), 0),
    (fault("node-1", 10.0, 15.0), 0),
    (fault("default/web-2", 10.0, 15.0), 1),   # a fault of another pod explains nothing
    (fault("default/web-1", 2.0, 8.0), 1),     # nor one that was long over
    (fault("default/web-1", 10.0, 15.0, noise=True), 1),
])
def test_what_explains_a_restart(known: Disruption, false: int) -> None:
    world = World()
    shot(world, "web-1", 12.0, 15.0)
    found = account(world, known)
    assert (found.false_restarts, found.false_isolations) == (false, false)
    assert found.faults == (0 if known.noise else 1)


def test_a_deletion_and_a_death_are_no_false_acts() -> None:
    world = World()
    world.pod(12.0, "web-1", deleting=True)
    world.told(12.0, "Killing", "web-1", "Stopping container web")
    world.rotation(12.02, "web-2", "web-3")
    world.pod(13.0, "web-1", gone=True)
    world.told(20.0, "ContainerDied", "web-2")
    world.pod(20.02, "web-2", restarts=1)
    assert account(world).acts == ()


def test_an_isolation_that_does_not_end_counts_so_far() -> None:
    world = World()
    world.pod(20.0, "web-3", ready=False)
    world.rotation(20.0, "web-1", "web-2")
    found = account(world)
    assert (found.false_isolations, found.false_isolated_s) == (1, 10.0)
    assert found.acts[0].end_s is None


def test_an_eviction_from_a_node_that_lived_is_false() -> None:
    world = World()
    world.told(12.0, "TaintManagerEviction", "web-1", "Marking for deletion")
    assert account(world).false_evictions == 1


def run_with_noise(world: World) -> RunResult:
    found = Repetition(1, datetime.now(UTC), START_NS, world.evidence, FAST, ("default/web",),
                       noise=frozenset({"starved"}))
    found.acts = [Act("starved", "fault", "StressChaos", 10.0,
                      injections=(InjectionSeen("default/web-1", began=10.0, verified=10.1, recovered=20.0),))]
    found.method_began, found.watched_until, found.duration_s = 5.0, 29.0, 30.0
    return run_result(found)


def test_what_noise_causes_is_no_recovery() -> None:
    world = World()
    shot(world, "web-1", 12.0, 15.0)
    result = run_with_noise(world)
    item = result.disruptions[0]
    assert item.noise and item.gaps == () and item.detection_s is None and item.isolation_s is None
    assert (item.marks.injected, item.marks.undone, item.marks.restored) == (10.0, 20.0, 20.0)
    assert item.detector is not None and item.detector.false_restarts == 1
    assert result.detector is not None and result.detector.false_restarts == 1


def test_noise_is_over_when_it_is_undone_whatever_it_has_caused() -> None:
    """One failed probe mends nothing and is never mended: a run must not wait for that."""
    world = World()
    world.told(12.0, "Unhealthy", "web-1", "Liveness probe failed: timeout")
    act = Act("starved", "fault", "StressChaos", 10.0,
              injections=(InjectionSeen("default/web-1", began=10.0, verified=10.1, recovered=20.0),))
    found = disruption_of(act, world.evidence, FAST, until=25.0)
    assert settled(as_noise(found).marks)
    still = Act("starved", "fault", "StressChaos", 10.0,
                injections=(InjectionSeen("default/web-1", began=10.0, verified=10.1),))
    assert not settled(as_noise(disruption_of(still, world.evidence, FAST, until=25.0)).marks)


def test_noise_that_was_lived_through_says_so_in_figures() -> None:
    result = run_with_noise(World())
    assert result.detector is not None
    assert (result.detector.false_restarts, result.detector.false_isolations, result.detector.faults) == (0, 0, 0)
    assert result.disruptions[0].notes == ()
