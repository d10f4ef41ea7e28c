"""LimitRange and ResourceQuota as the API applies them. SC-08, and the refusals of SC-09."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from server_world import make_registry, pod

from testbed.api.resources import LIMIT_RANGES, PODS, RESOURCE_QUOTAS, SECRETS
from testbed.errors import Forbidden, Invalid
from testbed.server.options import WriteOptions
from testbed.server.printers import PRINTERS
from testbed.server.registry import Registry

Json = dict[str, Any]


def limits(**item: Any) -> Json:
    return {"metadata": {"name": "limits"}, "spec": {"limits": [{"type": "Container", **item}]}}


def with_limits(**item: Any) -> Registry:
    registry = make_registry()
    registry.create(LIMIT_RANGES, limits(**item), "default")
    return registry


def asking(name: str = "a", **resources: Any) -> Json:
    return pod(name, containers=[{"name": "main", "image": "sample:v1", "resources": resources}])


def given(registry: Registry, made: Json) -> Json:
    stored = registry.create(PODS, made, "default").value
    resources: Json = stored["spec"]["containers"][0]["resources"]
    return resources


def test_sc_08_defaults_are_merged_and_change_with_the_limit_range() -> None:
    registry = with_limits(min={"cpu": "50m"}, max={"cpu": "500m"}, default={"cpu": "200m"},
                           defaultRequest={"cpu": "100m"})
    assert given(registry, asking("bare")) == {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    partial = asking("partial", requests={"cpu": "150m", "memory": "1Mi"})
    assert given(registry, partial) == {"requests": {"cpu": "150m", "memory": "1Mi"}, "limits": {"cpu": "200m"}}
    made = registry.get(PODS, "bare", "default").value
    assert made["status"]["qosClass"] == "Burstable"
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main")
    with pytest.raises(Forbidden, match="minimum cpu usage per Container is 50m, but request is 10m"):
        registry.create(PODS, asking("small", requests={"cpu": "10m"}), "default")
    with pytest.raises(Forbidden, match="maximum cpu usage per Container is 500m, but limit is 600m"):
        registry.create(PODS, asking("large", limits={"cpu": "600m"}), "default")
    registry.patch(LIMIT_RANGES, "limits", {"spec": {"limits": [{"type": "Container", "min": {"cpu": "5m"}}]}},
                   "default")
    assert given(registry, asking("small", requests={"cpu": "10m"})) == {"requests": {"cpu": "10m"}}
    registry.delete(LIMIT_RANGES, "limits", "default")
    assert given(registry, asking("free")) == {}


@pytest.mark.parametrize(("item", "default", "request_"), [
    ({"max": {"cpu": "1"}}, {"cpu": "1"}, {"cpu": "1"}),
    ({"min": {"cpu": "10m"}}, None, {"cpu": "10m"}),
    ({"min": {"cpu": "10m"}, "default": {"cpu": "1"}}, {"cpu": "1"}, {"cpu": "1"}),
    ({"max": {"cpu": "2"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "50m"}}, {"cpu": "1"}, {"cpu": "50m"}),
])
def test_defaults_of_a_limit_range(item: Json, default: Json | None, request_: Json) -> None:
    [made] = make_registry().create(LIMIT_RANGES, limits(**item), "default").value["spec"]["limits"]
    assert (made.get("default"), made.get("defaultRequest")) == (default, request_)


def test_ratio_and_sums_of_a_pod() -> None:
    registry = with_limits(maxLimitRequestRatio={"cpu": "2"})
    with pytest.raises(Forbidden, match=r"cpu max limit to request ratio per Container is 2, but provided ratio is 3"):
        registry.create(PODS, asking(requests={"cpu": "1"}, limits={"cpu": "3"}), "default")
    registry = with_limits(type="Pod", max={"memory": "100Mi"})
    two = [{"name": name, "image": "sample:v1", "resources": {"limits": {"memory": "60Mi"}}} for name in ("a", "b")]
    with pytest.raises(Forbidden, match="maximum memory usage per Pod is 100Mi, but limit is 120Mi"):
        registry.create(PODS, pod("a", containers=two), "default")


@pytest.mark.parametrize("item", [
    {"min": {"cpu": "2"}, "max": {"cpu": "1"}}, {"default": {"cpu": "x"}}, {"type": "Pod", "default": {"cpu": "1"}},
    {"maxLimitRequestRatio": {"cpu": "0.5"}}, {"type": "PersistentVolumeClaim", "default": {"storage": "1"}},
])
def test_limit_ranges_that_make_no_sense(item: Json) -> None:
    with pytest.raises(Invalid):
        make_registry().create(LIMIT_RANGES, limits(**item), "default")


def quota(hard: Json, used: Json, **spec: Any) -> Registry:
    registry = make_registry()
    registry.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}, "default")
    registry.patch(RESOURCE_QUOTAS, "q", {"status": {"hard": hard, "used": used}}, "default", subresource="status")
    return registry


def used(registry: Registry) -> Json:
    value: Json = registry.get(RESOURCE_QUOTAS, "q", "default").value["status"]["used"]
    return value


def test_what_is_created_is_counted_at_once_and_a_dry_run_is_not() -> None:
    registry = quota({"pods": "2", "requests.cpu": "1"}, {"pods": "0", "requests.cpu": "0"})
    registry.create(PODS, asking("dry", requests={"cpu": "600m"}), "default", WriteOptions(dry_run=True))
    registry.create(PODS, asking("a", requests={"cpu": "600m"}), "default")
    assert used(registry) == {"pods": "1", "requests.cpu": "600m"}
    with pytest.raises(Forbidden, match=r'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, '
                                        r'used: requests.cpu=600m, limited: requests.cpu=1'):
        registry.create(PODS, asking("b", requests={"cpu": "600m"}), "default")
    with pytest.raises(Forbidden, match="failed quota: q: must specify requests.cpu for: main"):
        registry.create(PODS, asking("b"), "default")
    assert used(registry) == {"pods": "1", "requests.cpu": "600m"}


def test_limits_are_filled_in_before_the_quota_is_asked() -> None:
    registry = quota({"limits.memory": "100Mi"}, {"limits.memory": "0"})
    registry.create(LIMIT_RANGES, limits(default={"memory": "64Mi"}), "default")
    registry.create(PODS, asking(), "default")
    assert used(registry) == {"limits.memory": "64Mi"}


def test_objects_by_count_and_none_without_a_known_status() -> None:
    registry = quota({"count/secrets": "1"}, {"count/secrets": "0"})
    registry.create(SECRETS, {"metadata": {"name": "a"}}, "default")
    with pytest.raises(Forbidden, match='secrets "b" is forbidden: exceeded quota: q, requested: count/secrets=1'):
        registry.create(SECRETS, {"metadata": {"name": "b"}}, "default")
    registry.create(RESOURCE_QUOTAS, {"metadata": {"name": "new"}, "spec": {"hard": {"pods": "5"}}}, "default")
    with pytest.raises(Forbidden, match="status unknown for quota: new, resources: pods"):
        registry.create(PODS, pod(), "default")


@pytest.mark.parametrize("spec", [
    {"hard": {"pods": "-1"}}, {"hard": {"bananas": "1"}}, {"hard": {"pods": "1"}, "scopes": ["Odd"]},
    {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]},
    {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]},
    {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}},
])
def test_quotas_that_make_no_sense(spec: Json) -> None:
    with pytest.raises(Invalid):
        make_registry().create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": spec}, "default")


def test_scopes_do_not_change() -> None:
    registry = quota({"pods": "1"}, {"pods": "0"}, scopes=["Terminating"])
    with pytest.raises(Invalid, match="field is immutable"):
        registry.patch(RESOURCE_QUOTAS, "q", {"spec": {"scopes": ["NotTerminating"]}}, "default")


def test_columns_of_a_quota() -> None:
    registry = quota({"pods": "2", "limits.cpu": "1"}, {"pods": "1", "limits.cpu": "0"})
    row = PRINTERS["resourcequotas"].row(registry.get(RESOURCE_QUOTAS, "q", "default").value,
                                         datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert row[:3] == ["q", "pods: 1/2", "limits.cpu: 0/1"]
