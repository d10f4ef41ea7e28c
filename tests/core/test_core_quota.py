"""What counts for a quota, and upstream's words when there is no room. SC-09's arithmetic."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from core_objects import NOON, pod

from testbed.api.core_v1 import Pod, Service
from testbed.api.meta import Resource
from testbed.api.quota_v1 import ResourceQuota
from testbed.core import quota as counting
from testbed.core.quantities import quantity_text


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> ResourceQuota:
    return ResourceQuota.of({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard, **spec},
                             "status": {"hard": hard, "used": used} if used is not None else {}})


def asking(phase: str = "Running", **spec: Any) -> Pod:
    resources = {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"memory": "128Mi", "gpu.io/x": "1"}}
    return pod(phase=phase, spec={"containers": [{"name": "a", "resources": resources}], **spec})


def test_what_a_pod_counts_for() -> None:
    assert counting.usage("pods", asking(), NOON) == {
        "count/pods": 1, "pods": 1, "cpu": Decimal("0.5"), "requests.cpu": Decimal("0.5"), "memory": 64 * 2**20,
        "requests.memory": 64 * 2**20, "limits.memory": 128 * 2**20, "requests.gpu.io/x": 1, "limits.gpu.io/x": 1}
    assert counting.usage("pods", asking("Succeeded"), NOON) == {"count/pods": 1}
    dying = Pod.of({**asking().json_value(), "metadata": {"name": "a", "deletionTimestamp": "2026-11-29T12:00:00Z",
                                                          "deletionGracePeriodSeconds": 30}})
    assert "pods" in counting.usage("pods", dying, NOON + timedelta(seconds=30))
    assert "pods" not in counting.usage("pods", dying, NOON + timedelta(seconds=31))


def test_what_other_objects_count_for() -> None:
    balanced = Service.of({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 1}] * 2}})
    assert counting.usage("services", balanced, NOON) == {
        "services": 1, "count/services": 1, "services.nodeports": 2, "services.loadbalancers": 1}
    other = Resource.of({"metadata": {"name": "d"}})
    assert counting.usage("deployments.apps", other, NOON) == {"count/deployments.apps": 1}
    assert counting.usage("secrets", other, NOON) == {"secrets": 1, "count/secrets": 1}


@pytest.mark.parametrize(("scope", "inside", "outside"), [
    ("Terminating", asking(activeDeadlineSeconds=5), asking()),
    ("NotTerminating", asking(), asking(activeDeadlineSeconds=5)),
    ("BestEffort", pod(), asking()),
    ("NotBestEffort", asking(), pod()),
    ("PriorityClass", asking(priorityClassName="high"), asking()),
])
def test_scopes(scope: str, inside: Pod, outside: Pod) -> None:
    scoped = quota({"pods": "1"}, scopes=[scope])
    assert counting.covers(scoped, inside) and not counting.covers(scoped, outside)
    assert not counting.covers(scoped, Resource.of({"metadata": {"name": "d"}}))


def test_a_priority_class_by_name() -> None:
    for operator, holds in (("In", True), ("NotIn", False)):
        scoped = quota({"pods": "1"}, scopeSelector={"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]})
        assert counting.covers(scoped, asking(priorityClassName="high")) is holds


def test_words_of_a_refusal() -> None:
    full = quota({"cpu": "1", "pods": "9"}, {"cpu": "700m", "pods": "1"})
    with pytest.raises(ValueError, match="^exceeded quota: q, requested: cpu=500m, used: cpu=700m, limited: cpu=1$"):
        counting.charged(full, counting.usage("pods", asking(), NOON))
    with pytest.raises(ValueError, match="^status unknown for quota: q, resources: cpu$"):
        counting.charged(quota({"cpu": "1"}), counting.usage("pods", asking(), NOON))
    room = quota({"cpu": "2", "memory": "1Gi"}, {"cpu": "700m", "memory": "64Mi"})
    assert counting.charged(room, counting.usage("pods", asking(), NOON)) == {"cpu": "1200m", "memory": "128Mi"}
    assert counting.unspecified(quota({"limits.cpu": "1", "memory": "1", "pods": "1"}), asking()) == (
        "must specify limits.cpu for: a")


def test_counted_anew() -> None:
    objects: list[tuple[str, Resource]] = [("pods", asking()), ("pods", asking("Failed")), ("pods", pod())]
    hard = {"cpu": "1", "pods": "5", "count/pods": "5", "secrets": "1"}
    assert counting.total(quota(hard), objects, NOON) == {
        "cpu": "500m", "pods": "2", "count/pods": "3", "secrets": "0"}


@pytest.mark.parametrize(("name", "amount", "text"), [
    ("cpu", "0.5", "500m"), ("cpu", "2", "2"), ("memory", "1073741824", "1Gi"), ("requests.memory", "1000", "1000"),
    ("memory", "0", "0"), ("pods", "1024", "1024"), ("cpu", "0.0001", "1m"),
])
def test_amounts_as_text(name: str, amount: str, text: str) -> None:
    assert quantity_text(name, Decimal(amount)) == text
