"""What an object counts for in a ResourceQuota, and whether there is room for it.

Pods that have ended, or whose grace is over, count as objects only.
Source: kubernetes pkg/quota/v1/evaluator/core/{pods,services}.go, plugin/pkg/admission/resourcequota/controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from testbed.api.core_v1 import Container, Pod, Service
from testbed.api.meta import Resource
from testbed.api.quota_v1 import Quantities, ResourceQuota, ScopeRequirement
from testbed.api.storage_v1 import PersistentVolumeClaim
from testbed.core.quantities import Amounts, amounts, pod_limits, pod_requests, quantity_text

PLAIN = frozenset({
    "pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas",
})
COMPUTE = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_ONE = Decimal(1)


def usage(group_resource: str, obj: Resource, now: datetime) -> Amounts:
    """Of one object, by the names that quotas use."""
    used: Amounts = {f"count/{group_resource}": _ONE}
    if isinstance(obj, Pod):
        if not _over(obj, now):
            used |= {"pods": _ONE, **_compute(obj)}
    elif group_resource in PLAIN:
        used[group_resource] = _ONE
    if isinstance(obj, PersistentVolumeClaim):
        used |= _claimed(obj)
    if isinstance(obj, Service) and obj.spec.type in ("NodePort", "LoadBalancer"):
        used["services.nodeports"] = Decimal(len(obj.spec.ports))
        if obj.spec.type == "LoadBalancer":
            used["services.loadbalancers"] = _ONE
    return used


def _claimed(claim: PersistentVolumeClaim) -> Amounts:
    """Source: kubernetes pkg/quota/v1/evaluator/core/persistent_volume_claims.go."""
    used: Amounts = {"requests.storage": amounts(claim.spec.resources.requests).get("storage", Decimal(0))}
    if claim.class_name:
        start = f"{claim.class_name}.storageclass.storage.k8s.io"
        used |= {f"{start}/persistentvolumeclaims": _ONE, f"{start}/requests.storage": used["requests.storage"]}
    return used


def _over(pod: Pod, now: datetime) -> bool:
    meta = pod.metadata
    grace = timedelta(seconds=meta.deletion_grace_period_seconds or 0)
    return pod.terminal or (meta.deletion_timestamp is not None and now > meta.deletion_timestamp + grace)


def _compute(pod: Pod) -> Amounts:
    used: Amounts = {}
    for name, amount in pod_requests(pod).items():
        used[f"requests.{name}"] = amount
        if name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in pod_limits(pod).items():
        used[f"limits.{name}"] = amount
    return used


def covers(quota: ResourceQuota, obj: Resource) -> bool:
    """Whether all scopes hold. Scopes are about pods only."""
    scopes = [ScopeRequirement(scope_name=name, operator="Exists") for name in quota.spec.scopes]
    return all(
        isinstance(obj, Pod) and _in_scope(obj, scope)
        for scope in (*scopes, *quota.spec.scope_selector.match_expressions)
    )


def _in_scope(pod: Pod, scope: ScopeRequirement) -> bool:
    spec = pod.spec
    if scope.scope_name in ("Terminating", "NotTerminating"):
        return (spec.active_deadline_seconds is not None) is (scope.scope_name == "Terminating")
    if scope.scope_name in ("BestEffort", "NotBestEffort"):
        asks = any(amount > 0 for amount in (*pod_requests(pod).values(), *pod_limits(pod).values()))
        return asks is (scope.scope_name == "NotBestEffort")
    if scope.scope_name == "PriorityClass":
        if scope.operator == "In":
            return spec.priority_class_name in scope.values
        if scope.operator == "NotIn":
            return spec.priority_class_name not in scope.values
        return bool(spec.priority_class_name) is (scope.operator == "Exists")
    affinity = spec.affinity
    terms = [] if affinity is None else [
        term for part in (affinity.pod_affinity, affinity.pod_anti_affinity) if part is not None
        for term in (*part.required_during_scheduling_ignored_during_execution,
                     *(item.pod_affinity_term for item in part.preferred_during_scheduling_ignored_during_execution))
    ]
    return any(term.namespaces or term.namespace_selector is not None for term in terms)  # CrossNamespacePodAffinity


def unspecified(quota: ResourceQuota, pod: Pod) -> str:
    """Which containers leave out what the quota limits, in upstream's words, or ``""``."""
    wanted = COMPUTE & quota.spec.hard.keys()
    missing: dict[str, list[str]] = {}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for name in wanted - _given(container):
            missing.setdefault(name, []).append(container.name)
    if not missing:
        return ""
    return "must specify " + "; ".join(
        f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(missing.items()))


def _given(container: Container) -> set[str]:
    requests, limits = container.resources.requests, container.resources.limits
    return {*requests, *(f"requests.{name}" for name in requests), *(f"limits.{name}" for name in limits)}


def charged(quota: ResourceQuota, asked: Amounts) -> Quantities:
    """``status.used`` with what is asked for on top.

    Raises: ValueError with upstream's words when there is no room, or what is used is not known yet.
    """
    counted = {name: amount for name, amount in asked.items() if name in quota.spec.hard and amount > 0}
    status = quota.status
    unknown = sorted(counted.keys() - (status.hard.keys() & status.used.keys()))
    if unknown:
        raise ValueError(f"status unknown for quota: {quota.metadata.name}, resources: {','.join(unknown)}")
    used, hard = amounts(status.used), amounts(status.hard)
    over = sorted(name for name, amount in counted.items() if used[name] + amount > hard[name])
    if over:
        told = ", ".join(f"{word}: {_told(over, of)}" for word, of in (
            ("requested", counted), ("used", used), ("limited", hard)))
        raise ValueError(f"exceeded quota: {quota.metadata.name}, {told}")
    return {**status.used, **{name: quantity_text(name, used[name] + amount) for name, amount in counted.items()}}


def _told(names: Iterable[str], of: Mapping[str, Decimal]) -> str:
    return ",".join(f"{name}={quantity_text(name, of[name])}" for name in names)


def total(quota: ResourceQuota, objects: Iterable[tuple[str, Resource]], now: datetime) -> Quantities:
    """``status.used`` counted anew over all objects of the namespace."""
    used = dict.fromkeys(quota.spec.hard, Decimal(0))
    for group_resource, obj in objects:
        if covers(quota, obj):
            for name, amount in usage(group_resource, obj, now).items():
                if name in used:
                    used[name] += amount
    return {name: quantity_text(name, amount) for name, amount in used.items()}
