"""Which nodes get a pod, and which pods an update lets go."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import NOON, node, pod
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.api.apps_v1 import DaemonSet
from testbed.api.core_v1 import Node, Pod
from testbed.core import daemonsets
from testbed.core.daemon_nodes import eligibility, target_node

Json = dict[str, Any]


def daemon_set(template: Json | None = None, **spec: Any) -> DaemonSet:
    return DaemonSet.of({
        "metadata": {"name": "ds", "uid": "ds", "namespace": "default", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": template or {}}, **spec},
    })


def on(name: str, revision: str = "new", *, suffix: str = "", **more: Any) -> Pod:
    labels = {"app": "web", "controller-revision-hash": revision}
    return pod(f"ds-{name}{suffix}", node=name, owner="ds", labels=labels, **more)


def look(nodes: list[Node], pods: list[Pod], *, waits: dict[str, float] | None = None, template: Json | None = None,
         **spec: Any) -> daemonsets.DaemonSetPlan:
    return daemonsets.plan(daemon_set(template, **spec), nodes, pods, "new", NOON, failed_wait_s=waits or {})


NODES = [node("n1"), node("n2"), node("n3")]
SURGE = {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}


def taint(key: str, effect: str) -> Json:
    return {"key": key, "effect": effect}


@pytest.mark.parametrize(("there", "template", "run", "stay"), [
    (node(), {}, True, True),
    (node(labels={"disk": "ssd"}), {"nodeSelector": {"disk": "ssd"}}, True, True),
    (node(), {"nodeSelector": {"disk": "ssd"}}, False, False),
    (node(), {"nodeName": "n1"}, True, True),
    (node(), {"nodeName": "n2"}, False, False),
    (node(taints=[taint("a", "NoSchedule")]), {}, False, True),
    (node(taints=[taint("a", "NoExecute")]), {}, False, False),
    (node(taints=[taint("a", "NoExecute")]), {"tolerations": [{"operator": "Exists"}]}, True, True),
    (node(taints=[taint("node.kubernetes.io/unreachable", "NoExecute")]), {}, True, True),
    (node(taints=[taint("node.kubernetes.io/unreachable", "NoSchedule")]), {}, False, True),
    (node(taints=[taint("node.kubernetes.io/unschedulable", "NoSchedule")], unschedulable=True), {}, True, True),
    (node(taints=[taint("node.kubernetes.io/network-unavailable", "NoSchedule")]), {}, False, True),
    (node(taints=[taint("node.kubernetes.io/network-unavailable", "NoSchedule")]), {"hostNetwork": True}, True, True),
    (node(), {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]}}}}, False, False),
])
def test_which_nodes_are_eligible(there: Node, template: Json, run: bool, stay: bool) -> None:
    found = eligibility(daemon_set(template).spec.template.spec, there)
    assert (found.run, found.stay) == (run, stay)


def test_a_pod_that_waits_for_its_node_is_known_by_its_affinity() -> None:
    waiting = pod(node="", spec={"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]}]}}}})
    assert target_node(waiting) == "n7" and target_node(pod(node="n1")) == "n1" and target_node(pod(node="")) == ""


@pytest.mark.parametrize(("pods", "make", "end"), [
    ([], ["n1", "n2", "n3"], []),
    ([on("n1")], ["n2", "n3"], []),
    ([on("n1"), on("n2", deleting=True), on("n3")], [], []),  # not before the old one is gone
    ([on("n1"), on("n2", phase="Failed", ready=False), on("n3")], [], ["ds-n2"]),
    ([on("n1"), on("n2", phase="Succeeded", ready=False), on("n3")], [], ["ds-n2"]),
    ([on("n1"), on("n2", phase="Failed", ready=False, deleting=True), on("n3")], ["n2"], []),
    ([on("n1"), on("n1", suffix="x", age_s=9), on("n2"), on("n3")], [], ["ds-n1x"]),
])
def test_every_node_gets_exactly_one(pods: list[Pod], make: list[str], end: list[str]) -> None:
    plan = look(NODES, pods)
    assert (list(plan.create), list(plan.delete)) == (make, end)


def test_failed_pods_wait_for_their_back_off() -> None:
    pods = [on("n1"), on("n2", phase="Failed", ready=False), on("n3")]
    held = look(NODES, pods, waits={"n2": 3.5})
    assert (held.delete, held.failed, held.requeue_after_s) == ((), (), 3.5)
    assert look(NODES, pods, waits={"n2": -1.0}).failed == ("n2",)


def test_pods_leave_nodes_that_are_not_eligible_any_more() -> None:
    nodes = [node("n1", labels={"a": "b"}), node("n2")]
    plan = look(nodes, [on("n1"), on("n2")], template={"nodeSelector": {"a": "b"}})
    assert plan.delete == ("ds-n2",)
    assert plan.status["numberMisscheduled"] == 1 and plan.status["desiredNumberScheduled"] == 1


@pytest.mark.parametrize(("pods", "spec", "end"), [
    ([on("n1", "old"), on("n2", "old"), on("n3", "old")], {}, ["ds-n1"]),
    ([on("n1"), on("n2", "old"), on("n3", "old")], {}, ["ds-n2"]),
    ([on("n1", ready=False), on("n2", "old"), on("n3", "old")], {}, []),
    ([on("n1", "old", deleting=True), on("n2", "old"), on("n3", "old")], {}, []),
    ([on("n1", ready=False), on("n2", "old", ready=False), on("n3", "old")], {}, ["ds-n2"]),  # it serves nobody
    ([on("n1", "old"), on("n2", "old"), on("n3", "old")],
     {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, ["ds-n1", "ds-n2"]),
    ([on("n1", "old"), on("n2", "old"), on("n3", "old")], {"updateStrategy": {"type": "OnDelete"}}, []),
    ([on("n1", ready_for_s=5), on("n2", "old"), on("n3", "old")], {"minReadySeconds": 10}, []),
])
def test_an_update_keeps_to_max_unavailable(pods: list[Pod], spec: Json, end: list[str]) -> None:
    assert list(look(NODES, pods, **spec).delete) == end


@pytest.mark.parametrize(("pods", "make", "end"), [
    ([on("n1", "old"), on("n2", "old"), on("n3", "old")], ["n1"], []),
    ([on("n1", "old"), on("n1", suffix="x", ready=False), on("n2", "old"), on("n3", "old")], [], []),
    ([on("n1", "old"), on("n1", suffix="x"), on("n2", "old"), on("n3", "old")], [], ["ds-n1"]),
    ([on("n1", "old", ready=False), on("n1", suffix="x", ready=False), on("n2"), on("n3")], [], ["ds-n1"]),
    ([on("n1", "old"), on("n2", "old", ready=False), on("n3", "old")], ["n2", "n1"], []),
])
def test_surge_makes_the_new_one_first(pods: list[Pod], make: list[str], end: list[str]) -> None:
    plan = look(NODES, pods, **SURGE)
    assert (list(plan.create), list(plan.delete)) == (make, end)


@settings(max_examples=80)
@given(st.integers(1, 6), st.integers(0, 3), st.booleans(), st.data())
def test_updates_come_to_an_end_within_their_bounds(
    count: int, limit: int, surging: bool, data: st.DataObject
) -> None:
    """In any order of readiness: with maxUnavailable never more nodes without an available pod, with surge none."""
    limit = max(limit, 1)
    key = {"maxSurge": limit, "maxUnavailable": 0} if surging else {"maxSurge": 0, "maxUnavailable": limit}
    nodes = [node(f"n{i}") for i in range(count)]
    pods = {f"ds-n{i}": on(f"n{i}", "old") for i in range(count)}
    for turn in range(100):
        plan = look(nodes, list(pods.values()), updateStrategy={"rollingUpdate": key})
        for name in plan.delete:
            del pods[name]
        for name in plan.create:
            made = on(name, suffix=f"-{turn}", ready=False, age_s=-turn)
            pods[made.metadata.name] = made
        served = {each.spec.node_name for each in pods.values() if each.ready}
        assert count - len(served) <= (0 if surging else limit)
        assert len(pods) <= count + (limit if surging else 0)
        waiting = sorted(name for name, each in pods.items() if not each.ready)
        if not plan.create and not plan.delete and not waiting:
            break
        if waiting and (turn > 30 or data.draw(st.booleans())):
            chosen = pods[data.draw(st.sampled_from(waiting))]
            ready = chosen.model_copy(update={"status": on("x").status})
            pods[chosen.metadata.name] = ready
    else:
        raise AssertionError("the update never ended")
    assert len(pods) == count
    assert {each.metadata.labels["controller-revision-hash"] for each in pods.values()} == {"new"}
