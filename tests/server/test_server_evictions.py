"""Evictions: a budget allows them, refuses them, and is used up."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import bind, pod

from testbed.api import resources as r
from testbed.errors import (
    TooManyRequests,
)
from testbed.server.registry import Registry

Json = dict[str, Any]


def budget(registry: Registry, allowed: int, **spec: Any) -> None:
    registry.create(r.DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}, **spec}}, "default")
    registry.patch(r.DISRUPTION_BUDGETS, "b", {"status": {
        "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        "observedGeneration": 1}}, "default", subresource="status")


def running(registry: Registry, *, ready: bool = True) -> None:
    registry.create(r.PODS, pod(), "default")
    bind(registry)
    registry.patch(r.PODS, "a", {"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": str(ready)}]}}, "default", subresource="status")


def evict(registry: Registry) -> None:
    registry.create_subresource(r.PODS, "a", "eviction", {"metadata": {"name": "a"}}, "default")


def test_without_a_budget_eviction_is_a_graceful_delete(registry: Registry) -> None:
    running(registry)
    evict(registry)
    left = registry.get(r.PODS, "a", "default").value
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    assert any(item["reason"] == "EvictionByEvictionAPI" for item in left["status"]["conditions"] if "reason" in item)


def test_a_budget_refuses_with_429_and_its_counts(registry: Registry) -> None:
    running(registry)
    budget(registry, 0)
    with pytest.raises(TooManyRequests) as refused:
        evict(registry)
    cause = refused.value.details["causes"][0]
    assert cause["reason"] == "DisruptionBudget" and "needs 1 healthy pods and has 1 currently" in cause["message"]
    assert "deletionTimestamp" not in registry.get(r.PODS, "a", "default").value["metadata"]


def test_an_allowed_disruption_is_used_up_and_recorded(registry: Registry) -> None:
    running(registry)
    budget(registry, 1)
    evict(registry)
    status = registry.get(r.DISRUPTION_BUDGETS, "b", "default").value["status"]
    assert status["disruptionsAllowed"] == 0 and set(status["disruptedPods"]) == {"a"}


def test_a_budget_not_looked_at_yet_says_come_again(registry: Registry) -> None:
    running(registry)
    budget(registry, 1)
    registry.patch(r.DISRUPTION_BUDGETS, "b", {"spec": {"minAvailable": 2}}, "default")
    with pytest.raises(TooManyRequests) as refused:
        evict(registry)
    assert refused.value.details["retryAfterSeconds"] == 10


def test_an_unready_pod_may_go_when_the_budget_always_allows_it(registry: Registry) -> None:
    running(registry, ready=False)
    budget(registry, 0, unhealthyPodEvictionPolicy="AlwaysAllow")
    evict(registry)
    assert "deletionTimestamp" in registry.get(r.PODS, "a", "default").value["metadata"]
