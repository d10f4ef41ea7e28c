"""Pod decisions: which container is started, stopped or waited for, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import PodSpec
from testbed.core.backoff import BackoffEntry, BackoffRule
from testbed.core.pod_seen import ContainerSeen, Life, PodSeen, SandboxSeen
from testbed.core.pods import (
    AskExitCode,
    CreateSandbox,
    FailPod,
    Health,
    Plan,
    PodWant,
    RemovePod,
    StartContainer,
    StopContainer,
    decide,
)
from testbed.core.probing import ProbeType, Result
from testbed.core.termination import StopCause

RULE = BackoffRule(10, 300, 600)
SANDBOX = SandboxSeen("s0", 0, True, "10.0.0.2")
NOW = 1000.0


def want(policy: str = "Always", *, names: tuple[str, ...] = ("app",), init: tuple[dict[str, Any], ...] = (),
         **more: Any) -> PodWant:
    spec = PodSpec.of({
        "restartPolicy": policy, "containers": [{"name": name} for name in names], "initContainers": list(init),
        **more.pop("spec", {}),
    })
    every = [*names, *(item["name"] for item in init)]
    return PodWant(name="pod", spec=spec, hashes={name: "h" for name in every}, **more)


def container(name: str = "app", life: Life = Life.RUNNING, attempt: int = 0, **more: Any) -> ContainerSeen:
    return ContainerSeen(name, f"{name}-{attempt}", attempt, life, spec_hash=more.pop("spec_hash", "h"),
                         sandbox=more.pop("sandbox", "s0"), **more)


def ended(
    name: str = "app", code: int | None = 1, *, attempt: int = 0, at_s: float = NOW, **more: Any
) -> ContainerSeen:
    return container(name, Life.EXITED, attempt, exit_code=code, finished_s=at_s, **more)


def seen(*containers: ContainerSeen, sandbox: SandboxSeen | None = SANDBOX,
         previous: tuple[ContainerSeen, ...] = ()) -> PodSeen:
    return PodSeen(sandbox, {item.name: item for item in containers}, {item.name: item for item in previous})


def plan(wanted: PodWant, found: PodSeen, health: Health | None = None,
         backoffs: dict[str, BackoffEntry] | None = None) -> Plan:
    return decide(wanted, found, health or Health(), backoffs or {}, RULE, NOW)


def kinds(result: Plan) -> list[str]:
    return [type(action).__name__ for action in result.actions]


def test_a_new_pod_gets_its_sandbox_then_its_containers_in_order() -> None:
    assert plan(want(), seen(sandbox=None)).actions == (CreateSandbox(0, False),)
    result = plan(want(names=("a", "b")), seen())
    assert [action.name for action in result.actions if isinstance(action, StartContainer)] == ["a", "b"]


@pytest.mark.parametrize(("policy", "code", "restarts"), [
    ("Always", 0, True), ("Always", 1, True), ("Always", None, True), ("OnFailure", 0, False), ("OnFailure", 1, True),
    ("Never", 0, False), ("Never", 1, False), ("Never", None, False),
])
def test_restart_policy(policy: str, code: int | None, restarts: bool) -> None:
    result = plan(want(policy), seen(ended(code=code)))
    assert (kinds(result) == ["StartContainer"]) is restarts


def test_only_on_failure_waits_for_the_exit_code() -> None:
    assert plan(want("OnFailure"), seen(ended(code=None))).actions == (AskExitCode("app", "app-0"),)


def test_the_first_restart_is_immediate_the_second_waits() -> None:
    first = plan(want(), seen(ended()))
    assert first.actions == (StartContainer("app", 1, BackoffEntry(10, NOW, 1)),)
    second = plan(want(), seen(ended(attempt=1)), backoffs={"app": BackoffEntry(10, NOW)})
    assert second.actions == ()
    assert second.waiting["app"].reason == "CrashLoopBackOff"
    assert second.waiting["app"].message == "back-off 10s restarting failed container=app pod=pod"
    assert second.look_again_s == NOW + 10


@pytest.mark.parametrize(("kind", "cause"), [
    (ProbeType.LIVENESS, StopCause.LIVENESS), (ProbeType.STARTUP, StopCause.STARTUP),
])
def test_a_failed_probe_stops_the_container_once(kind: ProbeType, cause: StopCause) -> None:
    health = Health({("app", kind): Result.FAILURE})
    result = plan(want(), seen(container()), health)
    assert [action.cause for action in result.actions if isinstance(action, StopContainer)] == [cause]
    assert plan(want(), seen(container(stopping=True)), health).actions == ()


def test_a_container_that_we_ended_is_restarted_even_after_exit_0() -> None:
    item = ended(code=0, restart_anyway=True)
    assert plan(want("OnFailure"), seen(item)).actions == (StartContainer("app", 1, None),)
    assert plan(want("Never"), seen(item)).actions == ()
    before = ended(attempt=0, at_s=NOW - 4)
    waits = plan(want(), seen(ended(attempt=1, restart_anyway=True), previous=(before,)),
                 backoffs={"app": BackoffEntry(10, NOW - 100)})
    assert waits.look_again_s == NOW + 6  # counted from the end of the one before


@pytest.mark.parametrize("found", [seen(), seen(ended(attempt=1, restart_anyway=True))])
def test_a_start_that_is_no_crash_leaves_the_wait_as_it_is(found: PodSeen) -> None:
    """And is known to be counted: it is no restart that an agent did not live to write down."""
    entry = BackoffEntry(20, NOW - 100, attempt=1)
    result = plan(want(restarts={"app": 1}), found, backoffs={"app": entry})
    assert result.actions == (StartContainer("app", 2, BackoffEntry(20, NOW - 100, attempt=2)),)


def test_a_changed_spec_restarts_whatever_the_policy() -> None:
    for policy in ("Always", "OnFailure", "Never"):
        result = plan(want(policy), seen(container(spec_hash="old")))
        assert isinstance(result.actions[0], StopContainer)
        assert result.actions[0].cause is StopCause.CHANGED


def test_init_containers_go_one_by_one_and_not_again() -> None:
    init = ({"name": "i0"}, {"name": "i1"})
    assert plan(want(init=init), seen()).actions == (StartContainer("i0", 0),)
    assert plan(want(init=init), seen(container("i0"))).actions == ()
    assert plan(want(init=init), seen(ended("i0", 0))).actions == (StartContainer("i1", 0),)
    done = seen(ended("i0", 0), ended("i1", 0))
    assert plan(want(init=init), done).actions == (StartContainer("app", 0),)
    assert kinds(plan(want(init=init), seen(ended("i0", 1)))) == ["StartContainer"]
    assert plan(want("Never", init=init), seen(ended("i0", 1))).actions == ()
    assert kinds(plan(want(init=init), seen(ended("app"), sandbox=SANDBOX))) == ["StartContainer"]  # i0 not rerun


def test_a_new_sandbox_reruns_init_containers() -> None:
    init = ({"name": "i0"},)
    old = seen(ended("i0", 0), ended("app"), sandbox=SandboxSeen("s1", 1, True))
    assert kinds(plan(want(init=init), old)) == ["StartContainer"]
    assert plan(want(init=init), old).actions[0].name == "i0"  # type: ignore[union-attr]


def test_sidecars_start_first_are_restarted_always_and_end_last() -> None:
    init = ({"name": "side", "restartPolicy": "Always"},)
    wanted = want("Never", init=init)
    assert plan(wanted, seen()).actions == (StartContainer("side", 0),)
    assert plan(wanted, seen(container("side"))).actions == ()
    started = Health(started=frozenset({"side"}))
    assert plan(wanted, seen(container("side")), started).actions == (StartContainer("app", 0),)
    assert kinds(plan(wanted, seen(ended("side", 0), container("app")))) == ["StartContainer"]
    last = plan(wanted, seen(container("side"), ended("app", 0)), started)
    assert [action.name for action in last.actions if isinstance(action, StopContainer)] == ["side"]


def test_ic_12_all_are_stopped_at_once_and_sidecars_are_asked_in_their_turn() -> None:
    """kubernetes: kuberuntime_termination_order.go: after all regular ones, and after the sidecar that follows."""
    init = ({"name": "s1", "restartPolicy": "Always"}, {"name": "once"}, {"name": "s2", "restartPolicy": "Always"})
    result = plan(want(names=("a", "b"), init=init, deleting=True), seen(*map(container, ("s1", "once", "s2", "a"))))
    turns = {action.name: action.after for action in result.actions if isinstance(action, StopContainer)}
    assert turns == {"s1": ("a", "b", "s2"), "s2": ("a", "b"), "once": (), "a": ()}


def test_a_dead_sandbox_takes_everything_with_it() -> None:
    dead = SandboxSeen("s0", 0, False)
    result = plan(want(names=("a", "b")), seen(container("a"), container("b"), sandbox=dead))
    assert [action.cause for action in result.actions] == [StopCause.SANDBOX] * 2  # type: ignore[union-attr]
    assert plan(want(), seen(ended(), sandbox=dead)).actions == (CreateSandbox(1, True),)
    assert plan(want("Never"), seen(ended(), sandbox=dead)).actions == ()
    assert plan(want("OnFailure"), seen(ended(code=0), sandbox=dead)).actions == ()


def test_ic_14_an_init_container_of_the_lost_sandbox_runs_again() -> None:
    """Even when the status still tells of its end."""
    wanted = want(init=({"name": "i0"},), init_done=frozenset({"i0"}), restarts={"i0": 0})
    result = plan(wanted, seen(ended("i0", 0), sandbox=SandboxSeen("s1", 1, True)))
    assert result.actions == (StartContainer("i0", 1),)


def test_a_pod_that_lost_everything_is_made_anew_with_higher_attempts() -> None:
    wanted = want(restarts={"app": 4})
    assert plan(wanted, seen(sandbox=None)).actions == (CreateSandbox(0, True),)
    assert plan(wanted, seen()).actions == (StartContainer("app", 5),)
    assert plan(want("Never", restarts={"app": 0}), seen(sandbox=None)).actions == ()


def test_deletion_stops_all_at_once_then_removes() -> None:
    result = plan(want(names=("a", "b"), deleting=True), seen(container("a"), container("b")))
    assert [action.cause for action in result.actions] == [StopCause.DELETED] * 2  # type: ignore[union-attr]
    assert plan(want(deleting=True), seen(container(stopping=True))).actions == ()
    assert plan(want(deleting=True), seen(ended())).actions == (RemovePod(),)


def test_the_active_deadline_fails_the_pod_and_is_looked_forward_to() -> None:
    spec = {"activeDeadlineSeconds": 60}
    assert isinstance(plan(want(spec=spec, active_s=60.0), seen(container())).actions[0], FailPod)
    assert plan(want(spec=spec, active_s=20.0), seen(container())).look_again_s == NOW + 40


LIVES = st.sampled_from([None, "running", "exited", "unknown-code", "stopping"])


@given(st.sampled_from(["Always", "OnFailure", "Never"]), LIVES, LIVES, st.booleans(), st.booleans())
def test_at_most_one_action_for_each_container_and_never_a_start_of_what_runs(
    policy: str, first: str | None, second: str | None, deleting: bool, sick: bool
) -> None:
    made = {
        "running": lambda name: container(name), "exited": lambda name: ended(name),
        "unknown-code": lambda name: ended(name, None), "stopping": lambda name: container(name, stopping=True),
    }
    found = [made[life](name) for name, life in (("a", first), ("b", second)) if life is not None]
    health = Health({("a", ProbeType.LIVENESS): Result.FAILURE}) if sick else Health()
    result = plan(want(policy, names=("a", "b"), deleting=deleting), seen(*found), health)
    names = [getattr(action, "name", "") for action in result.actions]
    assert len(names) == len(set(names))
    running = {item.name for item in found if item.running}
    for action in result.actions:
        if isinstance(action, StartContainer):
            assert action.name not in running
            assert not deleting
        if isinstance(action, StopContainer):
            assert action.name in running
    assert result == plan(want(policy, names=("a", "b"), deleting=deleting), seen(*found), health)
