"""What bounds and drives workloads, under kube-state-metrics' names: autoscalers, budgets, quotas, ranges, leases,
Services.

Source: kubernetes/kube-state-metrics docs/metrics/{workload,policy,service}/*.md, internal/store/*.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from testbed.api.meta import parse_time, quantity
from testbed.api.resources import AUTOSCALERS, DISRUPTION_BUDGETS, LEASES, LIMIT_RANGES, RESOURCE_QUOTAS, SERVICES
from testbed.server.metrics_pieces import (
    Items,
    Json,
    all_conditions,
    amounts,
    created,
    gauge,
    key_of,
    numbers,
    spec_of,
    status_of,
)
from testbed.server.validation_autoscalers import SOURCES

TARGETS = {"value": "value", "averageUtilization": "utilization", "averageValue": "average"}
CONSTRAINTS = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")


def policy_metrics(items: Items) -> Iterator[Metric]:
    yield from _autoscalers(items(AUTOSCALERS))
    yield from _budgets(items(DISRUPTION_BUDGETS))
    yield from _quotas(items(RESOURCE_QUOTAS))
    yield from _ranges(items(LIMIT_RANGES))
    yield from _leases(items(LEASES))
    yield from _services(items(SERVICES))


def _autoscalers(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "horizontalpodautoscaler")
    yield gauge(
        "kube_horizontalpodautoscaler_info", "Information about this autoscaler.",
        (*labels, "scaletargetref_kind", "scaletargetref_name", "scaletargetref_api_version"),
        (((*key_of(item), *(spec_of(item).get("scaleTargetRef", {}).get(field, "")
                            for field in ("kind", "name", "apiVersion"))), 1.0) for item in items))
    yield gauge("kube_horizontalpodautoscaler_created", "Unix creation timestamp", labels, created(items))
    yield gauge("kube_horizontalpodautoscaler_metadata_generation", "The generation observed by the "
                "HorizontalPodAutoscaler controller.", labels, numbers(items, "metadata", "generation", 0))
    yield gauge("kube_horizontalpodautoscaler_spec_max_replicas", "Upper limit for the number of pods that can be set "
                "by the autoscaler; cannot be smaller than MinReplicas.", labels,
                numbers(items, "spec", "maxReplicas", 0))
    yield gauge("kube_horizontalpodautoscaler_spec_min_replicas", "Lower limit for the number of pods that can be set "
                "by the autoscaler, default 1.", labels, numbers(items, "spec", "minReplicas", 1))
    for part, field, key, text in (
        ("spec", "metrics", "target", "The metric specifications used by this autoscaler when calculating the desired "
         "replica count."),
        ("status", "currentMetrics", "current", "The current metric status used by this autoscaler when calculating "
         "the desired replica count."),
    ):
        yield gauge(f"kube_horizontalpodautoscaler_{part}_target_metric", text,
                    (*labels, "metric_name", "metric_target_type"),
                    (((*key_of(item), name, kind), value) for item in items
                     for metric in (item.get(part) or {}).get(field) or ()
                     for name, kind, value in _targets(metric, key)))
    yield gauge("kube_horizontalpodautoscaler_status_current_replicas", "Current number of replicas of pods managed by "
                "this autoscaler.", labels, numbers(items, "status", "currentReplicas", 0))
    yield gauge("kube_horizontalpodautoscaler_status_desired_replicas", "Desired number of replicas of pods managed by "
                "this autoscaler.", labels, numbers(items, "status", "desiredReplicas", 0))
    yield gauge(
        "kube_horizontalpodautoscaler_status_condition", "The condition of this autoscaler.",
        (*labels, "condition", "status"),
        (((*key_of(item), *condition), value) for item, condition, value in all_conditions(items)))


def _targets(metric: Json, key: str) -> Iterator[tuple[str, str, float]]:
    source = metric.get(SOURCES.get(str(metric.get("type")), "")) or {}
    name = source.get("name") or (source.get("metric") or {}).get("name", "")
    for field, kind in TARGETS.items():
        value = (source.get(key) or {}).get(field)
        if value is not None:
            yield name, kind, float(quantity(value))


def _budgets(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "poddisruptionbudget")
    yield gauge("kube_poddisruptionbudget_created", "Unix creation timestamp", labels, created(items))
    for suffix, field, text in (
        ("current_healthy", "currentHealthy", "Current number of healthy pods"),
        ("desired_healthy", "desiredHealthy", "Minimum desired number of healthy pods"),
        ("pod_disruptions_allowed", "disruptionsAllowed", "Number of pod disruptions that are currently allowed"),
        ("expected_pods", "expectedPods", "Total number of pods counted by this disruption budget"),
        ("observed_generation", "observedGeneration", "Most recent generation observed when updating this PDB status"),
    ):
        yield gauge(f"kube_poddisruptionbudget_status_{suffix}", text, labels, numbers(items, "status", field, 0))


def _quotas(items: Sequence[Json]) -> Iterator[Metric]:
    yield gauge("kube_resourcequota_created", "Unix creation timestamp", ("namespace", "resourcequota"), created(items))
    yield gauge("kube_resourcequota", "Information about resource quota.",
                ("namespace", "resourcequota", "resource", "type"),
                (((*key_of(item), resource, kind), amount) for item in items for kind in ("hard", "used")
                 for resource, amount in amounts(status_of(item).get(kind) or {})))


def _ranges(items: Sequence[Json]) -> Iterator[Metric]:
    yield gauge("kube_limitrange_created", "Unix creation timestamp", ("namespace", "limitrange"), created(items))
    yield gauge("kube_limitrange", "Information about limit range.",
                ("namespace", "limitrange", "resource", "type", "constraint"),
                (((*key_of(item), resource, limit.get("type", ""), constraint), amount) for item in items
                 for limit in spec_of(item).get("limits") or () for constraint in CONSTRAINTS
                 for resource, amount in amounts(limit.get(constraint) or {})))


def _leases(items: Sequence[Json]) -> Iterator[Metric]:
    yield gauge("kube_lease_renew_time", "Kube lease renew time.", ("namespace", "lease"),
                ((key_of(item), parse_time(at).timestamp()) for item in items
                 if (at := spec_of(item).get("renewTime"))))
    held = [(item, owner) for item in items for owner in _owners(item)]
    yield gauge("kube_lease_owner", "Information about the Lease's owner.",
                ("namespace", "lease", "owner_kind", "owner_name", "lease_holder"),
                (((*key_of(item), *owner, spec_of(item).get("holderIdentity", "")), 1.0) for item, owner in held))


def _owners(lease: Json) -> list[tuple[str, str]]:
    found = [(owner.get("kind", ""), owner.get("name", "")) for owner in
             lease["metadata"].get("ownerReferences") or ()]
    return found or [("", "")]


def _services(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "service", "uid")
    yield gauge("kube_service_info", "Information about service.",
                (*labels, "cluster_ip", "external_name", "load_balancer_ip"),
                (((*key_of(item), item["metadata"].get("uid", ""), *(spec_of(item).get(field, "") for field in (
                    "clusterIP", "externalName", "loadBalancerIP"))), 1.0) for item in items))
    yield gauge("kube_service_created", "Unix creation timestamp", labels,
                (((*key, item["metadata"].get("uid", "")), at) for item in items for key, at in created([item])))
    yield gauge("kube_service_spec_type", "Type about service.", (*labels, "type"),
                (((*key_of(item), item["metadata"].get("uid", ""), spec_of(item).get("type", "")), 1.0)
                 for item in items))
