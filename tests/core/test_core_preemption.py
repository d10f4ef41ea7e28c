"""Who has to go so that a more important pod fits. SC-06, and upstream's rules for the choice."""

from __future__ import annotations

from typing import Any

from core_objects import ago, node, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Node, Pod
from testbed.api.policy_v1 import DisruptionBudget
from testbed.core import scheduling
from testbed.core.preemption import Preemption
from testbed.core.scheduling_state import ClusterState

TWO = [node("n1", cpu="1"), node("n2", cpu="1")]


def placed(name: str, where: str, cpu: str, priority: int = 0, started_s: float = 60, **more: Any) -> Pod:
    made = pod(name, node=where, requests={"cpu": cpu}, **more)
    return Pod.of({**made.json_value(), "spec": {**made.spec.json_value(), "priority": priority},
                   "status": {**made.status.json_value(), "startTime": ago(started_s)}})


def wish(cpu: str = "800m", priority: int = 100, **spec: Any) -> Pod:
    return pod("vip", node="", requests={"cpu": cpu}, spec={
        "priority": priority, "containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}], **spec})


def budget(allowed: int, app: str = "web") -> DisruptionBudget:
    return DisruptionBudget.of({"metadata": {"name": "b", "namespace": "default"},
                                "spec": {"selector": {"matchLabels": {"app": app}}},
                                "status": {"disruptionsAllowed": allowed}})


def chosen(pods: list[Pod], new: Pod | None = None, nodes: list[Node] | None = None, **more: Any) -> Preemption | None:
    return scheduling.plan(new or wish(), ClusterState(nodes or TWO, pods), **more).preemption


def names(found: Preemption | None) -> tuple[str, ...]:
    assert found is not None
    return (found.node, *(victim.metadata.name for victim in found.victims))


def test_no_more_victims_than_needed_and_the_important_ones_stay() -> None:
    pods = [placed("a", "n1", "300m", 5), placed("b", "n1", "300m", 1), placed("c", "n1", "300m", 3)]
    assert names(chosen(pods, wish("500m"), TWO[:1])) == ("n1", "c", "b")


def test_equals_are_never_preempted() -> None:
    assert chosen([placed("a", "n1", "900m", 100)], nodes=TWO[:1]) is None


def test_of_nodes_the_one_whose_top_victim_matters_least() -> None:
    assert names(chosen([placed("a", "n1", "900m", 10), placed("b", "n2", "900m", 9)])) == ("n2", "b")


def test_then_the_lower_sum_then_fewer_pods_then_the_later_start() -> None:
    many = [placed("a", "n1", "450m", 9), placed("b", "n1", "450m", 9)]
    assert names(chosen([*many, placed("c", "n2", "900m", 9)])) == ("n2", "c")
    assert names(chosen([placed("old", "n1", "900m", 9, 500), placed("new", "n2", "900m", 9, 5)])) == ("n2", "new")


def test_budgets_are_respected_where_another_node_allows_it() -> None:
    pods = [placed("a", "n1", "900m", 1), placed("b", "n2", "900m", 50, labels={"app": "free"})]
    assert names(chosen(pods, budgets=[budget(0)])) == ("n2", "b")
    assert names(chosen(pods, budgets=[budget(1)])) == ("n1", "a")


def test_budgets_do_not_stop_preemption_where_nothing_else_helps() -> None:
    found = chosen([placed("a", "n1", "900m", 1)], nodes=TWO[:1], budgets=[budget(0)])
    assert names(found) == ("n1", "a") and found is not None and found.violations == 1


def test_the_protected_are_reprieved_first() -> None:
    pods = [placed("guarded", "n1", "400m", 1), placed("free", "n1", "400m", 50, labels={"app": "free"})]
    assert names(chosen(pods, wish("500m"), TWO[:1], budgets=[budget(0)])) == ("n1", "free")


def test_who_waits_for_its_victims_does_not_take_more() -> None:
    dying = placed("a", "n1", "900m", 1, deleting=True)
    dying = Pod.of({**dying.json_value(), "status": {**dying.status.json_value(), "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}})
    new = wish()
    new = Pod.of({**new.json_value(), "status": {"nominatedNodeName": "n1"}})
    plan = scheduling.plan(new, ClusterState(TWO, [dying, placed("b", "n2", "900m", 1)]))
    assert plan.preemption is None and plan.nominated == "n1"
    assert plan.message.endswith("preemption: not eligible due to terminating pod on the nominated node.")


def test_an_anti_affinity_is_a_reason_to_preempt() -> None:
    spec = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}}
    assert names(chosen([placed("a", "n1", "10m", 1), placed("b", "n1", "10m", 1, labels={"app": "other"})],
                        wish("100m", **spec), TWO[:1])) == ("n1", "a")


@given(st.lists(st.tuples(st.sampled_from(["n1", "n2"]), st.integers(1, 600), st.integers(0, 200)), max_size=8))
def test_the_pod_fits_when_its_victims_are_gone_and_none_went_in_vain(given_pods: list[tuple[str, int, int]]) -> None:
    pods, used = [], {"n1": 0, "n2": 0}
    for index, (where, milli, priority) in enumerate(given_pods):
        if used[where] + milli <= 1000:
            used[where] += milli
            pods.append(placed(f"p{index}", where, f"{milli}m", priority))
    found = chosen(pods)
    if found is None:
        return
    gone = {victim.metadata.uid for victim in found.victims}
    assert all(victim.spec.priority < 100 for victim in found.victims)
    left = [item for item in pods if item.metadata.uid not in gone]
    assert found.node in scheduling.plan(wish(), ClusterState(TWO, left)).candidates
    only = [each for each in TWO if each.metadata.name == found.node]
    for victim in found.victims:
        assert not scheduling.plan(wish(), ClusterState(only, [*left, victim])).candidates
