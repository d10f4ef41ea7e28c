"""How many pods, and which go first."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import NOON, ago, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.apps_v1 import ReplicaSet
from testbed.core import replicasets
from testbed.core.claims import claim


def replica_set(replicas: int = 3, **spec: Any) -> ReplicaSet:
    return ReplicaSet.of({
        "metadata": {"name": "rs", "uid": "rs", "namespace": "default", "generation": 2},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, **spec},
    })


@given(st.integers(0, 20), st.lists(st.tuples(st.booleans(), st.sampled_from(["Running", "Failed", "Succeeded"])),
                                    max_size=20))
def test_active_pods_are_brought_to_the_wanted_number(wanted: int, kinds: list[tuple[bool, str]]) -> None:
    """Terminating and ended pods do not count, so their replacement starts at once."""
    pods = [pod(f"p{i}", deleting=deleting, phase=phase) for i, (deleting, phase) in enumerate(kinds)]
    active = [item for item in pods if item.active]
    plan = replicasets.plan(replica_set(wanted), pods, pods, NOON)
    assert len(active) + plan.create - len(plan.delete) == wanted
    assert not (plan.create and plan.delete)
    assert set(plan.delete) <= {item.metadata.name for item in active}


@pytest.mark.parametrize(("first", "then"), [
    (pod("z", node=""), pod("a")),
    (pod("z", phase="Pending"), pod("a")),
    (pod("z", phase="Pending"), pod("a", phase="Unknown")),
    (pod("z", ready=False), pod("a")),
    (pod("z", cost="-1"), pod("a")),
    (pod("z", cost="5", ready=False), pod("a", cost="-5")),  # readiness comes before cost
    (pod("z", ready_for_s=10), pod("a", ready_for_s=1000)),
    (pod("z", restarts=3), pod("a", restarts=1)),
    (pod("z", age_s=10), pod("a", age_s=1000)),
])
def test_the_order_of_deletion(first: Any, then: Any) -> None:
    for pods in ([first, then], [then, first]):
        assert [item.metadata.name for item in replicasets.deletion_order(pods, pods, NOON)] == ["z", "a"]


def test_crowded_nodes_give_first() -> None:
    pods = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")]
    assert replicasets.plan(replica_set(2), pods, pods, NOON).delete[0] in ("b", "c")


def test_pods_of_the_same_age_class_go_by_uid_so_that_looks_agree() -> None:
    pods = [pod("b", ready_for_s=100), pod("a", ready_for_s=101)]
    assert replicasets.deletion_order(pods, pods, NOON)[0].metadata.uid == "uid-a"


def test_no_more_than_a_burst_at_once() -> None:
    assert replicasets.plan(replica_set(2000), [], [], NOON).create == replicasets.BURST


def test_a_replica_set_in_deletion_makes_nothing() -> None:
    dying = ReplicaSet.of({"metadata": {"name": "rs", "deletionTimestamp": ago(1)}, "spec": {"replicas": 3}})
    assert replicasets.plan(dying, [], [], NOON).create == 0


def test_claims() -> None:
    mine, other = pod("mine"), pod("other", owner="else")
    stray, lost = pod("stray", owner=""), pod("lost", labels={"app": "api"})
    ended = pod("ended", owner="", phase="Failed")
    owner = replica_set()
    claims = claim(owner.metadata, owner.spec.selector, [mine, other, stray, lost, ended])
    assert (claims.owned, claims.adopt, claims.release) == ((mine,), (stray,), (lost,))


def test_status_counts_and_available_after_min_ready_seconds() -> None:
    pods = [pod("a", ready_for_s=5), pod("b", ready_for_s=30), pod("c", ready=False), pod("d", deleting=True)]
    view = replica_set(3, minReadySeconds=10)
    status = replicasets.status(view, {}, pods, {"app": "web"}, NOON)
    assert status == {"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 2, "availableReplicas": 1,
                      "observedGeneration": 2}
    assert replicasets.plan(view, pods, pods, NOON).requeue_after_s == 5


def test_a_failure_is_told_until_it_is_over() -> None:
    failed = replicasets.status(replica_set(), {}, [], {}, NOON, failure=("FailedCreate", "quota"))
    assert failed["conditions"][0]["reason"] == "FailedCreate"
    assert "conditions" not in replicasets.status(replica_set(), failed, [], {}, NOON)
