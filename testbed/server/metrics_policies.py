"""What bounds and drives workloads, under kube-state-metrics' names: autoscalers, budgets, quotas, ranges, leases.

Source: kubernetes/kube-state-metrics docs/metrics/{workload,policy,cluster}/*.md, internal/store/*.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.api.meta import parse_time, quantity
from testbed.api.resources import AUTOSCALERS, DISRUPTION_BUDGETS, LEASES, LIMIT_RANGES, RESOURCE_QUOTAS
from testbed.server.metrics_pieces import (
    CREATED,
    NAMELESS,
    Json,
    Kind,
    Read,
    Row,
    Values,
    all_conditions,
    amounts,
    created,
    each,
    fact,
    generation,
    key_of,
    number,
    spec_of,
    status_of,
    text_of,
)
from testbed.server.validation_autoscalers import SOURCES

TARGETS = {"value": "value", "averageUtilization": "utilization", "averageValue": "average"}
CONSTRAINTS = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")


def _targets(part: str, field: str, key: str) -> Read:
    def read(obj: Json) -> Iterator[tuple[tuple[str, ...], float]]:
        for metric in (obj.get(part) or {}).get(field) or ():
            source = metric.get(SOURCES.get(str(metric.get("type")), "")) or {}
            name = source.get("name") or (source.get("metric") or {}).get("name", "")
            for target, kind in TARGETS.items():
                value = (source.get(key) or {}).get(target)
                if value is not None:
                    yield (name, kind, source.get("container", "")), float(quantity(value))

    return read


AUTOSCALERS_SHOWN = Kind(AUTOSCALERS, ("namespace", "horizontalpodautoscaler"), key_of, (
    Row("kube_horizontalpodautoscaler_info", "Information about this autoscaler.",
        fact(lambda item: text_of(spec_of(item).get("scaleTargetRef") or {}, "kind", "name", "apiVersion")),
        ("scaletargetref_kind", "scaletargetref_name", "scaletargetref_api_version")),
    Row("kube_horizontalpodautoscaler_created", CREATED, created),
    Row("kube_horizontalpodautoscaler_metadata_generation", "The generation observed by the HorizontalPodAutoscaler "
        "controller.", generation),
    Row("kube_horizontalpodautoscaler_spec_max_replicas", "Upper limit for the number of pods that can be set by the "
        "autoscaler; cannot be smaller than MinReplicas.", number("spec", "maxReplicas")),
    Row("kube_horizontalpodautoscaler_spec_min_replicas", "Lower limit for the number of pods that can be set by the "
        "autoscaler, default 1.", number("spec", "minReplicas", 1)),
    Row("kube_horizontalpodautoscaler_spec_target_metric", "The metric specifications used by this autoscaler when "
        "calculating the desired replica count.", _targets("spec", "metrics", "target"),
        ("metric_name", "metric_target_type", "container")),
    Row("kube_horizontalpodautoscaler_status_target_metric", "The current metric status used by this autoscaler when "
        "calculating the desired replica count.", _targets("status", "currentMetrics", "current"),
        ("metric_name", "metric_target_type", "container")),
    Row("kube_horizontalpodautoscaler_status_current_replicas", "Current number of replicas of pods managed by this "
        "autoscaler.", number("status", "currentReplicas")),
    Row("kube_horizontalpodautoscaler_status_desired_replicas", "Desired number of replicas of pods managed by this "
        "autoscaler.", number("status", "desiredReplicas")),
    Row("kube_horizontalpodautoscaler_status_condition", "The condition of this autoscaler.", all_conditions,
        ("condition", "status")),
))

BUDGETS_SHOWN = Kind(DISRUPTION_BUDGETS, ("namespace", "poddisruptionbudget"), key_of, (
    Row("kube_poddisruptionbudget_created", CREATED, created),
    Row("kube_poddisruptionbudget_status_current_healthy", "Current number of healthy pods",
        number("status", "currentHealthy")),
    Row("kube_poddisruptionbudget_status_desired_healthy", "Minimum desired number of healthy pods",
        number("status", "desiredHealthy")),
    Row("kube_poddisruptionbudget_status_pod_disruptions_allowed", "Number of pod disruptions that are currently "
        "allowed", number("status", "disruptionsAllowed")),
    Row("kube_poddisruptionbudget_status_expected_pods", "Total number of pods counted by this disruption budget",
        number("status", "expectedPods")),
    Row("kube_poddisruptionbudget_status_observed_generation", "Most recent generation observed when updating this PDB "
        "status", number("status", "observedGeneration")),
))


def _quota(obj: Json) -> Values:
    return [((resource, kind), amount) for kind in ("hard", "used")
            for resource, amount in amounts(status_of(obj).get(kind))]


def _range(obj: Json) -> Values:
    return [((resource, limit.get("type", ""), constraint), amount) for limit in spec_of(obj).get("limits") or ()
            for constraint in CONSTRAINTS for resource, amount in amounts(limit.get(constraint))]


QUOTAS_SHOWN = Kind(RESOURCE_QUOTAS, ("namespace", "resourcequota"), key_of, (
    Row("kube_resourcequota_created", CREATED, created),
    Row("kube_resourcequota", "Information about resource quota.", _quota, ("resource", "type")),
))
RANGES_SHOWN = Kind(LIMIT_RANGES, ("namespace", "limitrange"), key_of, (
    Row("kube_limitrange_created", CREATED, created),
    Row("kube_limitrange", "Information about limit range.", _range, ("resource", "type", "constraint")),
))


def _renewed(lease: Json) -> Values:
    at = spec_of(lease).get("renewTime")
    return [(NAMELESS, parse_time(at).timestamp())] if at else []


def _lease_owners(lease: Json) -> list[tuple[str, ...]]:
    found = [text_of(owner, "kind", "name") for owner in lease["metadata"].get("ownerReferences") or ()]
    return [(*owner, *text_of(spec_of(lease), "holderIdentity")) for owner in found or [("", "")]]


LEASES_SHOWN = Kind(LEASES, ("namespace", "lease"), key_of, (
    Row("kube_lease_renew_time", "Kube lease renew time.", _renewed),
    Row("kube_lease_owner", "Information about the Lease's owner.", each(_lease_owners),
        ("owner_kind", "owner_name", "lease_holder")),
))
