"""Owners and dependents, namespaces in deletion, disruption budgets, template hashes, revision annotations."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import NOON, ago, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.meta import ObjectMeta
from testbed.api.policy_v1 import DisruptionBudget
from testbed.core import disruption, garbage, namespaces, revisions, templates
from testbed.core.garbage import Owner


def meta(uid: str = "d", **more: Any) -> ObjectMeta:
    return ObjectMeta.of({"name": uid, "uid": uid, **more})


def owned(*uids: str, block: bool = True, **more: Any) -> ObjectMeta:
    references = [{"uid": uid, "name": uid, "kind": "X", "blockOwnerDeletion": block} for uid in uids]
    return meta(ownerReferences=references, **more)


@pytest.mark.parametrize(("owners", "delete", "forget"), [
    ({"a": Owner.SOLID}, False, ()),
    ({"a": Owner.DANGLING}, True, ()),
    ({"a": Owner.SOLID, "b": Owner.DANGLING}, False, ("b",)),
    ({"a": Owner.SOLID, "b": Owner.WAITING}, False, ("b",)),
    ({"a": Owner.DANGLING, "b": Owner.DANGLING}, True, ()),
    ({"a": Owner.WAITING}, True, ()),
])
def test_one_living_owner_is_enough(owners: dict[str, Owner], delete: bool, forget: tuple[str, ...]) -> None:
    plan = garbage.plan_dependent(owned(*owners), owners, has_dependents=False)
    assert (plan.delete, plan.forget) == (delete, forget)


def test_how_a_dependent_goes() -> None:
    gone = {"a": Owner.DANGLING}
    assert garbage.plan_dependent(owned("a"), gone, has_dependents=False).propagation == "Background"
    orphan = owned("a", finalizers=["orphan"])
    assert garbage.plan_dependent(orphan, gone, has_dependents=False).propagation == "Orphan"
    assert garbage.plan_dependent(owned("a"), {"a": Owner.WAITING}, has_dependents=True).propagation == "Foreground"


def test_a_namesake_is_not_the_owner() -> None:
    assert garbage.owner_state(meta("new"), "old", blocks=True) is Owner.DANGLING
    assert garbage.owner_state(None, "old", blocks=True) is Owner.DANGLING
    assert garbage.owner_state(meta("old"), "old", blocks=True) is Owner.SOLID
    going = meta("old", deletionTimestamp=ago(1), finalizers=["foregroundDeletion"])
    assert garbage.owner_state(going, "old", blocks=True) is Owner.WAITING
    assert garbage.owner_state(going, "old", blocks=False) is Owner.SOLID


def test_an_owner_in_deletion() -> None:
    foreground = meta("o", deletionTimestamp=ago(1), finalizers=["foregroundDeletion"])
    assert garbage.plan_owner(foreground, [owned("o")]).delete == ("d",)
    assert garbage.plan_owner(foreground, [owned("o", deletionTimestamp=ago(1))]) == garbage.OwnerPlan(
        reason="dependents go first")
    assert garbage.plan_owner(foreground, [owned("o", block=False)]).remove_finalizer == "foregroundDeletion"
    orphan = meta("o", deletionTimestamp=ago(1), finalizers=["orphan"])
    assert garbage.plan_owner(orphan, [owned("o")]).orphan == ("d",)
    assert garbage.plan_owner(orphan, []).remove_finalizer == "orphan"
    assert garbage.plan_owner(meta("o"), [owned("o")]) == garbage.OwnerPlan(reason="not in deletion")


def test_a_namespace_ends_only_when_it_is_empty() -> None:
    plan = namespaces.plan(True, (), {"pods": 2, "secrets": 0}, {"x/y": 1}, NOON)
    assert (plan.delete, plan.finalize) == (("pods",), False)
    assert {item["type"]: item["status"] for item in plan.conditions} == {
        "NamespaceContentRemaining": "True", "NamespaceFinalizersRemaining": "True"}
    assert namespaces.plan(True, (), {"pods": 0}, {}, NOON).finalize
    assert not namespaces.plan(False, (), {}, {}, NOON).finalize


@pytest.mark.parametrize(("spec", "ready", "of", "allowed", "desired"), [
    ({"minAvailable": 2}, 3, 3, 1, 2), ({"minAvailable": 2}, 2, 3, 0, 2), ({"minAvailable": "90%"}, 10, 10, 1, 9),
    ({"minAvailable": "50%"}, 3, 3, 1, 2), ({"maxUnavailable": 1}, 3, 3, 1, 2), ({"minAvailable": 5}, 3, 3, 0, 5),
    ({"maxUnavailable": 1}, 2, 3, 0, 2), ({"maxUnavailable": "10%"}, 10, 10, 1, 9),
])
def test_budgets(spec: dict[str, Any], ready: int, of: int, allowed: int, desired: int) -> None:
    budget = DisruptionBudget.of({"metadata": {"generation": 3}, "spec": spec})
    pods = [pod(f"p{i}", ready=i < ready) for i in range(of)]
    status = disruption.plan(budget, {}, pods, {"rs": of}, NOON).status
    assert status["disruptionsAllowed"] == allowed
    assert (status["desiredHealthy"], status["currentHealthy"]) == (desired, ready)
    assert status["observedGeneration"] == 3


def test_an_evicted_pod_that_is_still_there_does_not_count_as_healthy_for_two_minutes() -> None:
    def look(evicted_ago_s: float) -> disruption.BudgetPlan:
        noted = {"disruptedPods": {"a": ago(evicted_ago_s)}}
        budget = DisruptionBudget.of({"spec": {"minAvailable": 1}, "status": noted})
        return disruption.plan(budget, {}, [pod("a"), pod("b")], {"rs": 2}, NOON)

    assert (look(20).status["disruptionsAllowed"], look(20).requeue_after_s) == (0, 100.0)
    assert (look(121).status["disruptionsAllowed"], look(121).requeue_after_s) == (1, None)


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]},
}


def test_templates_are_compared_by_meaning() -> None:
    labelled = {"metadata": {"labels": {"pod-template-hash": "abc", "app": "web"}, "creationTimestamp": None},
                "spec": {"containers": [{"image": "x", "name": "a", "resources": {}}], "nodeSelector": None}}
    assert templates.canonical(TEMPLATE) == templates.canonical(labelled)
    changed = {**TEMPLATE, "spec": {"containers": [{"name": "a", "image": "y"}]}}
    assert templates.template_hash(TEMPLATE) != templates.template_hash(changed)
    volumes = [{"volumes": [{"name": "v", "emptyDir": {}}]}, {"volumes": [{"name": "v"}]}]
    assert templates.canonical({"spec": volumes[0]}) != templates.canonical({"spec": volumes[1]})


@given(st.integers(0, 50))
def test_hashes_are_labels_and_collisions_change_them(collisions: int) -> None:
    digest = templates.template_hash(TEMPLATE, collisions)
    assert digest.isalnum()
    assert digest == digest.lower()
    assert 0 < len(digest) <= 10
    assert digest != templates.template_hash(TEMPLATE, collisions + 1)


def test_annotations_of_a_revision() -> None:
    own = {"team": "blue", "deployment.kubernetes.io/revision": "7",
           "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert revisions.of_new_replica_set(own, {}, 1) == {"team": "blue", "deployment.kubernetes.io/revision": "1"}
    again = revisions.of_new_replica_set(own, {"deployment.kubernetes.io/revision": "1",
                                               "deployment.kubernetes.io/revision-history": "0"}, 3)
    assert again["deployment.kubernetes.io/revision-history"] == "0,1"
    assert again["deployment.kubernetes.io/revision"] == "3"
