"""Which identities are made, ended and renewed, and in which order; revisions and their names."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import NOON, pod
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.api.apps_v1 import StatefulSet
from testbed.api.core_v1 import Pod
from testbed.core import controller_revisions, statefulsets
from testbed.core.controller_revisions import RevisionState

Plan = statefulsets.StatefulSetPlan


def stateful_set(replicas: int = 3, **spec: Any) -> StatefulSet:
    return StatefulSet.of({
        "metadata": {"name": "db", "uid": "db", "namespace": "default", "generation": 2},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "serviceName": "db", **spec},
    })


def member(ordinal: int, revision: str = "new", **more: Any) -> Pod:
    name = f"db-{ordinal}"
    labels = {"app": "web", "controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name}
    return pod(name, owner="db", labels=labels, **more)


def look(pods: list[Pod], replicas: int = 3, **spec: Any) -> Plan:
    return statefulsets.plan(stateful_set(replicas, **spec), pods, "old", "new", NOON)


def created(plan: Plan) -> list[str]:
    return [item.name for item in plan.create]


PARALLEL = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(("pods", "spec", "make", "end"), [
    ([], {}, ["db-0"], []),
    ([member(0, ready=False)], {}, [], []),
    ([member(0)], {}, ["db-1"], []),
    ([member(0), member(1, phase="Pending", ready=False)], {}, [], []),
    ([member(0, deleting=True), member(1)], {}, [], []),
    ([member(1)], {}, ["db-0"], []),  # the gap first
    ([member(0, phase="Failed", ready=False), member(1)], {}, [], ["db-0"]),
    ([member(0, phase="Succeeded", ready=False)], {}, [], ["db-0"]),
    ([member(0, phase="Failed", ready=False, deleting=True)], {}, [], []),
    ([member(0, ready_for_s=5)], {"minReadySeconds": 10}, [], []),
    ([member(i) for i in range(5)], {}, [], ["db-4"]),
    ([*(member(i) for i in range(4)), member(4, deleting=True)], {}, [], []),
    ([member(0), member(1, ready=False), member(2), member(3)], {}, [], []),
    ([*(member(i) for i in range(4)), member(4, ready=False)], {}, [], ["db-4"]),  # itself the first unhealthy
    ([*(member(i) for i in range(3)), member(3, ready=False), member(4, ready=False)], {}, [], []),
    ([member(0, ready=False)], PARALLEL, ["db-1", "db-2"], []),
    ([member(i, ready=False) for i in range(6)], PARALLEL, [], ["db-5", "db-4", "db-3"]),
    ([member(i) for i in (0, 1, 2)], {"ordinals": {"start": 1}}, ["db-3"], []),
    ([member(i) for i in (0, 1, 2, 3)], {"ordinals": {"start": 1}}, [], ["db-0"]),
])
def test_one_step_in_order(pods: list[Pod], spec: dict[str, Any], make: list[str], end: list[str]) -> None:
    plan = look(pods, **spec)
    assert created(plan) == make and list(plan.delete) == end


@pytest.mark.parametrize(("revisions", "spec", "end"), [
    ("old old old", {}, ["db-2"]),
    ("old old new", {}, ["db-1"]),
    ("new old old", {}, ["db-2"]),
    ("new new new", {}, []),
    ("old old old", {"updateStrategy": {"type": "OnDelete"}}, []),
    ("old old new", {"updateStrategy": {"rollingUpdate": {"partition": 2}}}, []),
    ("old old old", {"updateStrategy": {"rollingUpdate": {"partition": 9}}}, []),
])
def test_updates_go_down_to_the_partition(revisions: str, spec: dict[str, Any], end: list[str]) -> None:
    pods = [member(ordinal, revision) for ordinal, revision in enumerate(revisions.split())]
    assert list(look(pods, **spec).delete) == end


def test_an_update_waits_for_the_unhealthy_one_above() -> None:
    pods = [member(0, "old"), member(1, "old"), member(2, ready=False)]
    assert not look(pods).delete and not look(pods, **PARALLEL).delete


@pytest.mark.parametrize(("partition", "revision"), [(0, "new"), (1, "old")])
def test_a_pod_below_the_partition_is_made_of_the_current_revision(partition: int, revision: str) -> None:
    plan = look([], updateStrategy={"rollingUpdate": {"partition": partition}})
    assert [item.revision for item in plan.create] == [revision]


def test_the_current_revision_follows_when_all_are_updated_and_ready() -> None:
    done = look([member(0), member(1), member(2)]).status
    assert (done["currentRevision"], done["currentReplicas"], done["updatedReplicas"]) == ("new", 3, 3)
    late = look([member(0), member(1), member(2, ready=False)]).status
    assert (late["currentRevision"], late["currentReplicas"], late["readyReplicas"]) == ("old", 0, 2)


STATES = st.sampled_from(["ready", "unready", "deleting", "failed", "absent"])


@settings(max_examples=200)
@given(st.lists(st.tuples(STATES, st.sampled_from(["old", "new"])), max_size=7), st.integers(0, 6), st.booleans(),
       st.integers(0, 3), st.integers(0, 2))
def test_no_identity_is_made_while_its_pod_is_there(
    states: list[tuple[str, str]], replicas: int, parallel: bool, partition: int, start: int
) -> None:
    """I2, from any state; and in order at most one identity is touched at a time."""
    kinds: dict[str, dict[str, Any]] = {
        "ready": {}, "unready": {"ready": False}, "deleting": {"deleting": True},
        "failed": {"phase": "Failed", "ready": False},
    }
    pods = [member(i, revision, **kinds[state]) for i, (state, revision) in enumerate(states) if state != "absent"]
    there = {item.metadata.name for item in pods}
    plan = look(pods, replicas, ordinals={"start": start},
                podManagementPolicy="Parallel" if parallel else "OrderedReady",
                updateStrategy={"rollingUpdate": {"partition": partition}})
    wanted = {f"db-{start + i}" for i in range(replicas)}
    assert not set(created(plan)) & there and set(created(plan)) <= wanted
    going = {item.metadata.name for item in pods if item.metadata.deleting}
    assert len(set(plan.delete)) == len(plan.delete) and not set(plan.delete) & going and set(plan.delete) <= there
    if not parallel:
        assert len(plan.create) + len(plan.delete) <= 1
    if parallel:
        assert there - wanted - going <= set(plan.delete) and wanted - there == set(created(plan))


@settings(max_examples=60)
@given(st.integers(0, 5), st.integers(0, 5), st.booleans(), st.data())
def test_it_always_comes_to_what_was_asked_for(before: int, after: int, parallel: bool, data: st.DataObject) -> None:
    """From any number at the old revision, in any order of readiness, and with at most one pod missing at a time."""
    spec = PARALLEL if parallel else {}
    pods = {i: member(i, "old") for i in range(before)}
    for _ in range(60):
        plan = look(list(pods.values()), after, **spec)
        for item in plan.create:
            assert item.ordinal not in pods
            pods[item.ordinal] = member(item.ordinal, item.revision, ready=False)
        for name in plan.delete:
            del pods[int(name.removeprefix("db-"))]
        if not plan.create and not plan.delete:
            waiting = sorted(i for i, each in pods.items() if not each.ready)
            if not waiting:
                break
            chosen = data.draw(st.sampled_from(waiting))
            pods[chosen] = member(chosen, statefulsets.revision_of(pods[chosen]))
    assert sorted(pods) == list(range(after))
    assert {statefulsets.revision_of(each) for each in pods.values()} <= {"new"}


# --- revisions

A, B = {"spec": {"containers": [{"name": "a"}]}}, {"spec": {"containers": [{"name": "b"}]}}


def revision(name: str, number: int, template: dict[str, Any]) -> RevisionState:
    return RevisionState(name, number, NOON, template)


def test_equal_templates_are_one_revision_and_the_newest_has_the_highest_number() -> None:
    first = controller_revisions.plan("db", A, [])
    assert first.create and first.number == 1 and first.name == f"db-{first.hash}"
    known = [revision(first.name, 1, A)]
    again = controller_revisions.plan("db", A, known)
    assert (again.name, again.number, again.create, again.renumber) == (first.name, 1, False, False)
    second = controller_revisions.plan("db", B, known)
    assert second.create and second.number == 2
    back = controller_revisions.plan("db", A, [*known, revision(second.name, 2, B)])
    assert (back.name, back.number, back.create, back.renumber) == (first.name, 3, False, True)


def test_a_taken_name_is_not_fought_for() -> None:
    first = controller_revisions.plan("db", A, [])
    other = controller_revisions.plan("db", A, [], taken=[first.name])
    assert other.name != first.name and other.collisions == 1


def test_history_beyond_its_limit_goes_the_oldest_first_and_never_what_lives() -> None:
    known = [revision(f"r{i}", i, {"n": i}) for i in range(1, 6)]
    assert controller_revisions.expired(known, {"r1", "r5"}, 2) == ("r2",)
    assert controller_revisions.expired(known, set(), 10) == ()


def test_a_revision_brings_its_template_back() -> None:
    assert controller_revisions.template_of({"data": controller_revisions.patch_of(A)}) == A
