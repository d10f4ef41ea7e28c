"""Which marks and causes come out of which evidence: one small world per kind of disruption."""

from __future__ import annotations

import pytest
from evidence_builder import World, hit
from hypothesis import given
from hypothesis import strategies as st

from testbed.core.profile import FAST
from testbed.experiment.result import Disruption
from testbed.experiment.timeline import REPAIR, Act, disruption_of
from testbed.experiment.uninvited import uninvited


def fault(world: World, *targets: str, at: float = 10.0, by_deletion: bool = False,
          recovered: float | None = None, until: float = 60.0) -> Disruption:
    act = Act("f", "fault", "a fault", at, by_deletion=by_deletion,
              injections=tuple(hit(target, at, recovered=recovered) for target in targets))
    return disruption_of(act, world.evidence, FAST, until=until)


def causes(found: Disruption, path: str) -> dict[str, str]:
    return {gap.end_mark: gap.cause for gap in found.gaps if gap.path == path}


def crash(world: World, pod: str, at: float, *, back_off_s: float = 0.0, rest: tuple[str, ...] = ()) -> None:
    """``pod`` dies at ``at`` and is restarted in place."""
    started = at + 0.1 + back_off_s
    world.told(at + 0.001, "ContainerDied", pod)
    world.pod(at + 0.01, pod, ready=False, running=False)
    world.rotation(at + 0.012, *rest)
    world.told(started, "Started", pod)
    world.pod(started + 0.01, pod, ready=False, restarts=1)
    world.told(started + 1.0, "ContainerReady", pod)
    world.pod(started + 1.01, pod, ready=True, restarts=1)
    world.rotation(started + 1.02, pod, *rest)


class TestCrash:
    def test_the_two_paths(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        found = fault(world, "default/web-1/web")
        assert found.verified
        assert found.marks.detected == pytest.approx(10.001)
        assert found.marks.isolated == pytest.approx(10.017)
        assert found.marks.running == pytest.approx(10.1)
        assert found.marks.ready == pytest.approx(11.1)
        assert found.marks.in_rotation == pytest.approx(11.125)
        assert found.marks.restored == pytest.approx(11.125)
        assert found.restarts == 1

    def test_causes_are_named(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        found = fault(world, "default/web-1/web")
        assert "saw the process end" in causes(found, "isolation")["detected"]
        assert "restarted at once" in causes(found, "repair")["acted"]
        assert "periodSeconds 1" in causes(found, "repair")["ready"]
        assert "gateway" in causes(found, "isolation")["isolated"]

    def test_a_back_off_is_named_with_its_step(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, back_off_s=1.9, rest=("web-2", "web-3"))
        world.told(10.003, "BackOff", "web-1", "Back-off restarting failed container web in pod web-1")
        assert "crash back-off 2 s" in causes(fault(world, "default/web-1/web"), "repair")["acted"]

    def test_a_slow_start_is_not_called_a_back_off(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, back_off_s=1.9, rest=("web-2", "web-3"))
        assert "image start" in causes(fault(world, "default/web-1/web"), "repair")["acted"]

    def test_a_single_replica_has_no_one_to_take_over(self) -> None:
        world = World(replicas=1)
        crash(world, "web-1", 10.0, rest=())
        found = fault(world, "default/web-1/web")
        assert found.marks.isolated == pytest.approx(10.017)
        assert found.marks.restored == pytest.approx(11.125)

    def test_all_replicas_at_once_are_restored_with_the_last(self) -> None:
        world = World()
        for index, pod in enumerate(("web-1", "web-2", "web-3")):
            crash(world, pod, 10.0 + index * 0.001)
        world.pod(14.0, "web-3", ready=False, restarts=1)
        world.evidence.pods.sort(key=lambda pod: pod.at)
        world.evidence.endpoints.sort(key=lambda item: item.at)
        found = fault(world, "default/web-1", "default/web-2", "default/web-3")
        assert found.marks.restored is not None and found.marks.ready is not None
        assert found.marks.restored >= found.marks.ready
        assert found.restarts == 3

    def test_without_a_service_there_is_no_isolation(self) -> None:
        world = World()
        world.evidence.endpoints.clear()
        world.evidence.events.clear()
        crash(world, "web-1", 10.0)
        world.evidence.endpoints.clear()
        world.evidence.events = [event for event in world.evidence.events if event.reason != "EndpointsProgrammed"]
        found = fault(world, "default/web-1/web")
        assert found.marks.isolated is None and found.marks.in_rotation is None
        assert found.marks.restored is not None

    def test_a_platform_that_tells_nothing_of_its_gateway_is_taken_at_the_slice(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        world.evidence.events = [event for event in world.evidence.events if event.reason != "EndpointsProgrammed"]
        assert fault(world, "default/web-1").marks.isolated == pytest.approx(10.012)


class TestHang:
    def world(self) -> World:
        world = World()
        world.told(11.2, "Unhealthy", "web-1", "Readiness probe failed: timeout")
        world.told(11.4, "Unhealthy", "web-1", "Liveness probe failed: timeout")
        world.told(12.2, "ContainerUnready", "web-1")
        world.pod(12.21, "web-1", ready=False)
        world.rotation(12.22, "web-2", "web-3")
        world.told(13.4, "Killing", "web-1", "Container web failed liveness probe, will be restarted")
        world.told(14.5, "ContainerDied", "web-1")
        world.told(14.6, "Started", "web-1")
        world.pod(14.61, "web-1", ready=False, restarts=1)
        world.told(15.5, "ContainerReady", "web-1")
        world.pod(15.51, "web-1", ready=True, restarts=1)
        world.rotation(15.52, "web-1", "web-2", "web-3")
        return world

    def test_readiness_isolates_and_liveness_repairs(self) -> None:
        found = fault(self.world(), "default/web-1/web")
        assert found.marks.detected == pytest.approx(11.2)
        assert found.marks.isolated == pytest.approx(12.225)
        assert found.marks.acted == pytest.approx(13.4)
        assert found.marks.running == pytest.approx(14.6)
        assert found.marks.restored == pytest.approx(15.525)

    def test_causes_name_both_probes_and_the_stop(self) -> None:
        found = fault(self.world(), "default/web-1/web")
        assert causes(found, "isolation")["unready"] == "readiness probe: periodSeconds 1 × failureThreshold 2"
        assert causes(found, "repair")["acted"] == "liveness probe: periodSeconds 1 × failureThreshold 3"
        assert causes(found, "repair")["running"] == "stopped (terminationGracePeriodSeconds 10), then image start"

    def test_a_fault_that_ends_before_anything_was_done_repairs_itself(self) -> None:
        world = World()
        world.told(11.2, "Unhealthy", "web-1", "Readiness probe failed: timeout")
        world.told(12.2, "ContainerUnready", "web-1")
        world.pod(12.21, "web-1", ready=False)
        world.rotation(12.22, "web-2", "web-3")
        world.told(13.2, "ContainerReady", "web-1")
        world.pod(13.21, "web-1", ready=True)
        world.rotation(13.22, "web-1", "web-2", "web-3")
        found = fault(world, "default/web-1", recovered=12.6)
        assert found.marks.acted is None and found.marks.running is None
        assert found.marks.restored == pytest.approx(13.225)
        assert any("ended with the fault" in note for note in found.notes)
        assert "the fault ended" in causes(found, "repair")["ready"]

    def test_a_fault_that_nobody_notices(self) -> None:
        found = fault(World(), "default/web-1", recovered=10.4)
        assert found.marks.detected is None
        assert found.marks.restored == pytest.approx(10.4)
        assert any("did not notice" in note for note in found.notes)


class TestNode:
    def world(self) -> World:
        """node-1 with web-1 is lost; web-9 replaces it on node-2."""
        world = World()
        world.event(11.6, "NodeNotReady", "Node", "node-1", "Node node-1 status is now: NodeNotReady")
        world.node(11.61, "node-1", ready=False)
        world.pod(11.63, "web-1", ready=False)
        world.rotation(11.64, "web-2", "web-3")
        world.told(13.6, "TaintManagerEviction", "web-1")
        world.pod(13.62, "web-1", ready=False, deleting=True)
        world.pod(13.65, "web-9", node="node-2", ready=False, running=False)
        world.told(13.70, "Scheduled", "web-9")
        world.told(14.2, "Started", "web-9")
        world.pod(14.21, "web-9", ready=False)
        world.told(15.0, "ContainerReady", "web-9")
        world.pod(15.01, "web-9", ready=True)
        world.rotation(15.02, "web-2", "web-3", "web-9")
        return world

    @pytest.mark.parametrize("recovered", [None, 30.0])
    def test_kill_and_partition_look_the_same_from_here(self, recovered: float | None) -> None:
        found = fault(self.world(), "node-1", recovered=recovered)
        assert found.marks.detected == pytest.approx(11.6)
        assert found.marks.isolated == pytest.approx(11.645)
        assert found.marks.acted == pytest.approx(13.6)
        assert found.marks.running == pytest.approx(14.2)
        assert found.marks.restored == pytest.approx(15.025)
        assert found.window_s == (10.0, recovered or 60.0)

    def test_causes_come_from_the_profile(self) -> None:
        found = fault(self.world(), "node-1")
        assert "node monitor grace 1.5 s" in causes(found, "isolation")["detected"]
        assert "toleration 2 s" in causes(found, "repair")["acted"]
        assert causes(found, "repair")["running"].startswith("new pod: scheduled, ")

    def test_not_restored_while_the_replacement_is_not_ready(self) -> None:
        world = self.world()
        found = fault(world, "node-1", until=14.5)
        assert found.marks.running is not None
        assert found.marks.ready is None and found.marks.restored is None


class TestDeletion:
    def test_a_deleted_pod_is_replaced_not_restarted(self) -> None:
        world = World()
        world.pod(10.02, "web-1", deleting=True)
        world.told(10.03, "Killing", "web-1")
        world.rotation(10.04, "web-2", "web-3")
        world.pod(10.06, "web-9", node="node-1", ready=False, running=False)
        world.told(10.5, "Started", "web-9")
        world.told(11.2, "ContainerReady", "web-9")
        world.pod(11.21, "web-9", ready=True)
        world.rotation(11.22, "web-2", "web-3", "web-9")
        found = fault(world, "default/web-1", by_deletion=True)
        assert found.marks.acted == pytest.approx(10.06)
        assert found.marks.restored == pytest.approx(11.225)
        assert "replacement" in causes(found, "repair")["acted"]


class TestRollout:
    def test_a_rollout_is_restored_when_the_deployment_is_complete(self) -> None:
        world = World()
        world.deployment(10.01, generation=2, observed=2, updated=0)
        world.pod(10.05, "web-8", node="node-1", ready=False, running=False)
        world.told(10.5, "Started", "web-8")
        world.told(11.2, "ContainerReady", "web-8")
        world.pod(11.21, "web-8", ready=True)
        world.rotation(11.22, "web-1", "web-2", "web-3", "web-8")
        world.deployment(11.3, generation=2, observed=2, updated=1, replicas=4)
        world.deployment(14.0, generation=2, observed=2)
        act = Act("ship", "rollout", "rollout", 10.0, deployment="default/web", generation=2)
        found = disruption_of(act, world.evidence, FAST, until=60.0)
        marks = found.marks
        assert (marks.detected, marks.acted) == (pytest.approx(10.01), pytest.approx(10.05))
        assert (marks.running, marks.ready) == (pytest.approx(10.5), pytest.approx(11.2))
        assert marks.in_rotation == pytest.approx(11.225)
        assert marks.restored == pytest.approx(14.0)
        assert "maxSurge 1, maxUnavailable 0" in causes(found, "repair")["restored"]

    @pytest.mark.parametrize(("supervisor", "words"), [
        ("compose", "recreated at the same time"), ("swarm", "maxSurge 1, maxUnavailable 0")])
    def test_another_supervisors_rollout_is_told_by_what_it_has(self, supervisor: str, words: str) -> None:
        """Compose has no maxSurge."""
        world = World(supervisor=supervisor)
        world.deployment(10.01, generation=2, observed=2, updated=0)
        world.pod(10.05, "web-8", node="node-1", ready=False, running=False)
        world.pod(11.21, "web-8", ready=True)
        world.deployment(14.0, generation=2, observed=2)
        act = Act("ship", "rollout", "rollout", 10.0, deployment="default/web", generation=2)
        told = causes(disruption_of(act, world.evidence, FAST, until=60.0), "repair")
        assert words in told["restored"]
        assert not any(word in cause for cause in told.values() for word in ("ReplicaSet", "Deployment controller"))
        assert told["acted"] == f"{supervisor} made the first container"

    def test_it_is_not_restored_before_its_first_new_pod_gets_requests(self) -> None:
        """The Deployment is complete a moment before the gateway is programmed: marks go forward all the same."""
        world = World()
        world.deployment(10.01, generation=2, observed=2, updated=0)
        world.pod(10.05, "web-8", node="node-1", ready=False, running=False)
        world.told(10.03, "Started", "web-8")  # exact, while the watch was late
        world.told(11.2, "ContainerReady", "web-8")
        world.pod(11.202, "web-8", ready=True)
        world.rotation(11.25, "web-1", "web-2", "web-3", "web-8")
        world.deployment(11.21, generation=2, observed=2)
        world.deployment(20.0, desired=0, generation=3, observed=3)
        world.pod(30.0, "web-9", node="node-1", ready=False)  # of something that came later
        act = Act("ship", "scale", "scaled", 10.0, deployment="default/web", generation=2, ended=20.0)
        found = disruption_of(act, world.evidence, FAST, until=60.0)
        marks = [found.marks.get(name) for name in REPAIR]
        assert marks == sorted(marks, key=lambda at: at or 0.0) and None not in marks
        assert found.marks.acted == pytest.approx(10.03)
        assert found.marks.restored == found.marks.in_rotation == pytest.approx(11.255)
        assert sum(gap.seconds for gap in found.gaps) == pytest.approx(found.repair_s)
        assert causes(found, "repair")["restored"] == "3 replicas desired"  # not what a later step made of it
        (last,) = [gap for gap in found.gaps if gap.end_mark == "in_rotation"]
        assert [part.kind for part in last.parts] == ["endpoints"]

    def test_what_a_rollout_went_on_with_is_not_told_as_the_way_into_rotation(self) -> None:
        world = World()
        world.deployment(10.01, generation=2, observed=2, updated=0)
        world.pod(10.05, "web-8", node="node-1", ready=False, running=False)
        world.told(10.5, "Started", "web-8")
        world.told(11.2, "ContainerReady", "web-8")
        world.rotation(11.22, "web-1", "web-2", "web-3", "web-8")
        world.pod(11.201, "web-9", node="node-1", ready=False, running=False)
        world.told(12.5, "ContainerReady", "web-9")
        world.deployment(12.6, generation=2, observed=2)
        act = Act("ship", "rollout", "rollout", 10.0, deployment="default/web", generation=2)
        found = disruption_of(act, world.evidence, FAST, until=60.0)
        assert causes(found, "repair")["in_rotation"].endswith("while the rollout went on")

    def test_a_complete_state_of_before_does_not_count(self) -> None:
        world = World()
        world.deployment(10.005, generation=2, observed=1)
        act = Act("ship", "rollout", "rollout", 10.0, deployment="default/web", generation=2)
        assert disruption_of(act, world.evidence, FAST, until=60.0).marks.restored is None

    def test_a_rollout_that_stalls(self) -> None:
        world = World()
        world.deployment(10.01, generation=2, observed=2, updated=0)
        world.pod(10.05, "web-8", node="node-1", ready=False)
        world.deployment(20.1, generation=2, observed=2, updated=1, replicas=4, stalled=True)
        act = Act("ship", "rollout", "rollout", 10.0, deployment="default/web", generation=2)
        found = disruption_of(act, world.evidence, FAST, until=60.0)
        assert found.marks.stalled == pytest.approx(20.1)
        assert found.marks.restored is None
        assert "progressDeadlineSeconds 10" in causes(found, "repair")["stalled"]


class TestUninvited:
    def test_a_death_that_nobody_ordered_gets_a_timeline(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        found = uninvited(world.evidence, (), FAST, until=60.0)
        assert [item.kind for item in found] == ["uninvited"]
        assert found[0].marks.injected == pytest.approx(10.001)
        assert found[0].marks.restored == pytest.approx(11.125)

    def test_what_a_step_did_is_not_uninvited(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        known = fault(world, "default/web-1/web")
        assert uninvited(world.evidence, (known,), FAST, until=60.0) == ()

    def test_another_pod_is(self) -> None:
        world = World()
        crash(world, "web-1", 10.0, rest=("web-2", "web-3"))
        crash(world, "web-2", 10.5, rest=("web-3",))
        known = fault(world, "default/web-1/web")
        assert [item.targets for item in uninvited(world.evidence, (known,), FAST, until=60.0)] == [("default/web-2",)]

    def test_stopping_by_the_agent_is_not(self) -> None:
        world = World()
        world.told(10.0, "Killing", "web-1")
        world.told(11.0, "ContainerDied", "web-1")
        assert uninvited(world.evidence, (), FAST, until=60.0) == ()


@given(
    deaths=st.lists(st.tuples(st.integers(1, 4), st.floats(5, 30)), min_size=0, max_size=5),
    at=st.floats(5, 20), until=st.floats(20, 60),
)
def test_marks_never_precede_the_injection_and_paths_never_run_backwards(
    deaths: list[tuple[int, float]], at: float, until: float
) -> None:
    world = World(replicas=4)
    for number, moment in sorted(deaths, key=lambda item: item[1]):
        others = tuple(f"web-{index}" for index in range(1, 5) if index != number)
        crash(world, f"web-{number}", moment, rest=others)
    world.evidence.pods.sort(key=lambda pod: pod.at)
    world.evidence.endpoints.sort(key=lambda item: item.at)
    found = fault(world, "default/web-1", at=at, until=until)
    for name in ("detected", "isolated", "acted", "running", "ready", "in_rotation", "restored"):
        moment = found.marks.get(name)
        assert moment is None or at - 0.001 <= moment <= until + 0.01, name
    for path in ("isolation", "repair"):
        gaps = [gap for gap in found.gaps if gap.path == path]
        assert all(gap.end_s >= gap.start_s for gap in gaps)
        assert all(one.end_s <= other.start_s for one, other in zip(gaps, gaps[1:], strict=False))
