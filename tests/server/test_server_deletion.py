"""Deletion: graces, finalizers, preconditions, namespaces, collections. By upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import HandClock, bind, deployment, pod

from testbed.api import resources as r
from testbed.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
)
from testbed.server.deletion import DeleteOptions
from testbed.server.registry import Registry

Json = dict[str, Any]


def test_a_pod_nobody_runs_goes_at_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    assert registry.delete(r.PODS, "a", "default")[1]


def test_a_bound_pod_is_marked_and_goes_when_its_node_says_so(registry: Registry, clock: HandClock) -> None:
    registry.create(r.PODS, pod(terminationGracePeriodSeconds=7), "default")
    bind(registry)
    stored, gone = registry.delete(r.PODS, "a", "default")
    metadata = stored.value["metadata"]
    assert not gone and metadata["deletionGracePeriodSeconds"] == 7
    assert metadata["deletionTimestamp"] == "2026-01-01T12:00:07Z"
    assert registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=0))[1]


@pytest.mark.parametrize(("second", "expected"), [(None, 30), (60, 30), (5, 5), (-3, 1)])
def test_a_second_delete_only_shortens(registry: Registry, second: int | None, expected: int) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.delete(r.PODS, "a", "default")
    stored, _ = registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=second))
    assert stored.value["metadata"]["deletionGracePeriodSeconds"] == expected
    assert stored.value["metadata"]["deletionTimestamp"] == f"2026-01-01T12:00:{expected:02}Z"


def test_an_ended_pod_goes_at_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.patch(r.PODS, "a", {"status": {"phase": "Failed"}}, "default", subresource="status")
    assert registry.delete(r.PODS, "a", "default")[1]


def test_finalizers_hold_an_object_until_the_last_is_taken_away(registry: Registry) -> None:
    obj = pod() | {"metadata": {"name": "a", "finalizers": ["example.io/a", "example.io/b"]}}
    registry.create(r.PODS, obj, "default")
    stored, gone = registry.delete(r.PODS, "a", "default", DeleteOptions(grace_s=0))
    assert not gone and stored.value["metadata"]["deletionTimestamp"]
    with pytest.raises(Invalid, match="no new finalizers"):
        registry.patch(r.PODS, "a", {"metadata": {"finalizers": ["example.io/a", "example.io/c"]}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"finalizers": ["example.io/b"]}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        registry.get(r.PODS, "a", "default")


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_propagation_leaves_the_work_to_the_collector(registry: Registry, propagation: str, finalizer: str) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    stored, gone = registry.delete(r.DEPLOYMENTS, "web", "default", DeleteOptions(propagation=propagation))
    assert not gone and stored.value["metadata"]["finalizers"] == [finalizer]
    assert registry.delete(r.DEPLOYMENTS, "web", "default", DeleteOptions(propagation="Background"))[1]


def test_preconditions_protect_a_successor(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(Conflict, match="UID in the precondition"):
        registry.delete(r.PODS, "a", "default", DeleteOptions(uid="another"))
    registry.delete(r.PODS, "a", "default",
                    DeleteOptions(uid=registry.get(r.PODS, "a", "default").value["metadata"]["uid"]))


def test_a_namespace_empties_before_it_goes(registry: Registry) -> None:
    registry.create(r.NAMESPACES, {"metadata": {"name": "x"}})
    stored, gone = registry.delete(r.NAMESPACES, "x")
    assert not gone and stored.value["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="being terminated") as refused:
        registry.create(r.PODS, pod(), "x")
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    registry.update(r.NAMESPACES, {"metadata": {"name": "x"}, "spec": {"finalizers": []}}, subresource="finalize")
    with pytest.raises(NotFound):
        registry.get(r.NAMESPACES, "x")


def test_the_clusters_own_namespaces_stay(registry: Registry) -> None:
    with pytest.raises(Forbidden):
        registry.delete(r.NAMESPACES, "kube-system")


def test_a_collection_is_deleted_by_selector(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        registry.create(r.PODS, pod(name), "default")
    registry.delete_collection(r.PODS, "default", label_selector="app in (a,b)")
    assert [item.name for item in registry.list(r.PODS, "default").items] == ["c"]
