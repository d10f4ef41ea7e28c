"""Timelines of pods that another supervisor looks after: its own words, and none of our settings."""

from __future__ import annotations

import pytest
from evidence_builder import World, hit

from testbed.core.profile import FAST
from testbed.experiment.pod_probes import grace_of, probe_in, probe_of, with_health_check
from testbed.experiment.result import Disruption
from testbed.experiment.timeline import Act, disruption_of

OURS = ("node monitor grace", "toleration", "ReplicaSet", "agent", "readiness probe", "liveness probe")


def told(world: World, target: str) -> Disruption:
    act = Act("f", "fault", "a fault", 10.0, injections=(hit(target, 10.0),))
    return disruption_of(act, world.evidence, FAST, until=80.0)


def seconds(found: Disruption, kind: str, path: str = "repair") -> float:
    return sum(part.seconds for gap in found.gaps if gap.path == path for part in gap.parts if part.kind == kind)


def words(found: Disruption) -> str:
    return "\n".join([*(gap.cause for gap in found.gaps), *(part.words for gap in found.gaps for part in gap.parts)])


def replacement(world: World, made: float, started: float, delay_s: float) -> None:
    world.pod(made, "web-4", node="node-2", running=False)
    world.told(made, "RestartDelay", "web-4", f"restart delay {delay_s:g} s")
    world.told(started, "Started", "web-4")
    world.told(started + 1, "ContainerReady", "web-4")
    world.pod(started + 1, "web-4", ready=True)
    world.rotation(started + 1, "web-2", "web-3", "web-4")


def test_a_hang_under_swarm_is_checks_then_the_victims_grace_then_the_restart_delay() -> None:
    world = World(supervisor="swarm")
    for at in (11.5, 13.5, 15.5):
        world.told(at, "Unhealthy", "web-1", "Health check failed: no answer")
    world.told(15.5, "ContainerUnready", "web-1")
    world.told(15.5, "Killing", "web-1", "Stopping container web, which is unhealthy")
    world.pod(15.55, "web-1", ready=False)
    world.rotation(15.6, "web-2", "web-3")
    world.told(26.0, "ContainerDied", "web-1")
    replacement(world, 26.3, 31.4, 5)
    found = told(world, "default/web-1")
    assert seconds(found, "draining") == pytest.approx(10.5), "the grace, which the next task waits for"
    assert seconds(found, "back-off") == pytest.approx(5.0, abs=0.2)
    assert seconds(found, "probe") == pytest.approx(5.5)
    assert seconds(found, "unexplained") == 0 == seconds(found, "unexplained", "isolation")
    assert "health check: periodSeconds 1 × failureThreshold 3" in words(found)
    assert not any(ours in words(found) for ours in OURS), words(found)


def test_a_lost_node_is_told_in_the_swarms_words_and_with_none_of_our_constants() -> None:
    world = World(supervisor="swarm")
    world.node(22.0, "node-1", ready=False, why="heartbeat failure")
    world.pod(22.0, "web-1", ready=False)
    world.rotation(22.1, "web-2", "web-3")
    world.pod(22.3, "web-1", gone=True)
    replacement(world, 22.5, 28.0, 5)
    found = told(world, "node-1")
    assert "swarm: heartbeat failure" in words(found)
    assert seconds(found, "eviction-timeout") >= 12.0
    assert not any(ours in words(found) for ours in OURS), words(found)


def test_autoheal_acts_at_its_next_look_with_its_own_grace() -> None:
    world = World(supervisor="compose")
    for at in (11.5, 13.5, 15.5):
        world.told(at, "Unhealthy", "web-1", "Health check failed: no answer")
    world.told(15.5, "ContainerUnready", "web-1")
    world.pod(15.5, "web-1", ready=False)
    world.told(19.5, "Killing", "web-1",
               "Container web is unhealthy: autoheal, which looks every 5 s, restarts it with a grace of 3 s")
    world.told(22.6, "ContainerDied", "web-1")
    world.rotation(22.62, "web-2", "web-3")
    world.told(22.8, "Started", "web-1")
    world.told(23.8, "ContainerReady", "web-1")
    world.pod(23.8, "web-1", ready=True, restarts=1)
    found = told(world, "default/web-1")
    assert seconds(found, "probe") == pytest.approx(9.5), "three checks, and four seconds until autoheal looked"
    assert seconds(found, "draining") == pytest.approx(3.1)
    assert seconds(found, "unexplained") == 0 == seconds(found, "unexplained", "isolation"), words(found)
    assert seconds(found, "draining", "isolation") == pytest.approx(3.1), "Docker's DNS names it until it has ended"
    assert "a grace of 3 s" in words(found) and "does not ask whether it is ready" in words(found)


def test_an_engine_pauses_after_each_check_and_makes_one_of_two_probes() -> None:
    spec = {"containers": [{"name": "web", "startupProbe": {"periodSeconds": 9}, "readinessProbe": {"periodSeconds": 4},
                            "livenessProbe": {"periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 2,
                                              "initialDelaySeconds": 7}}]}
    checked = with_health_check(spec)
    rule = probe_in("Health check failed: x", checked)
    assert rule is not None and (rule.title, rule.period_s, rule.delay_s) == ("health check", 2, 0)
    assert rule.failing_s() == 2 * (2 + 3) + 3
    assert probe_of(checked, "startup") is None
    assert with_health_check({"containers": [{"name": "web"}]}) == {"containers": [{"name": "web"}]}
    assert grace_of({"terminationGracePeriodSeconds": 30}, "restarts it with a grace of 10 s") == 10
