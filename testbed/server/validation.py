"""Which objects are valid, and which changes of one are allowed, by kind. All mistakes are told at once.

Sources: kubernetes pkg/apis/{core,apps,policy,discovery,coordination,rbac,scheduling}/validation/validation.go.
Pods are in ``validation_pods``, what makes them in ``validation_workloads``,
CustomResourceDefinitions in ``crd``, custom resources in ``structural``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from testbed.api import resources as r
from testbed.server.admission import SYSTEM_PRIORITIES
from testbed.server.causes import Causes
from testbed.server.ingresses import (
    check_ingress,
    check_ingress_class,
    check_ingress_class_update,
    check_new_ingress,
)
from testbed.server.names import (
    check_label_value,
    check_metadata,
    check_qualified,
)
from testbed.server.policies import check_limit_range, check_quota, check_quota_update
from testbed.server.served import Served
from testbed.server.validation_autoscalers import check_autoscaler
from testbed.server.validation_cron_jobs import check_cron_job
from testbed.server.validation_jobs import check_job, check_job_update
from testbed.server.validation_placement import check_selector
from testbed.server.validation_pods import (
    check_config_keys,
    check_new_pod,
    check_pod_spec,
    check_pod_update,
)
from testbed.server.validation_secrets import check_secret_type
from testbed.server.validation_services import check_service, check_service_update
from testbed.server.validation_storage import CHECKS as STORAGE_CHECKS
from testbed.server.validation_storage import UPDATES as STORAGE_UPDATES
from testbed.server.validation_workloads import (
    check_daemon_set,
    check_deployment,
    check_int_or_percent,
    check_replica_set,
    check_revision_update,
    check_selector_immutable,
    check_stateful_set,
    check_stateful_set_update,
)

Json = dict[str, Any]
Check = Callable[[Json, Causes], None]
UpdateCheck = Callable[[Json, Json, Causes], None]

MAX_CONFIG_BYTES = 1024 * 1024
MAX_USER_PRIORITY = 1_000_000_000


def validate(served: Served, obj: Json, old: Json | None = None) -> None:
    """Raises: Invalid with all causes."""
    causes = Causes()
    metadata = obj.get("metadata") or {}
    check_metadata(metadata, served.key, causes)
    check = _CHECKS.get(served.key)
    if check is not None:
        check(obj, causes)
    if old is None and served.key == r.INGRESSES.group_resource:
        check_new_ingress(obj, causes)
    elif old is None and served.key == r.PODS.group_resource:
        check_new_pod(obj, causes)
    update = _UPDATES.get(served.key)
    if old is not None and update is not None and not causes:
        update(old, obj, causes)
    causes.raise_if_any(served.resource.kind, served.resource.group, metadata.get("name", ""))


# --- pods


def _pod(obj: Json, causes: Causes) -> None:
    check_pod_spec(obj.get("spec") or {}, "spec", causes)


# --- config


def _config_map(obj: Json, causes: Causes) -> None:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    check_config_keys(data, "data", causes)
    check_config_keys(binary, "binaryData", causes)
    for key in data.keys() & binary.keys():
        causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    _check_size(data, binary, causes)


def _secret(obj: Json, causes: Causes) -> None:
    data = obj.get("data") or {}
    check_config_keys(data, "data", causes)
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            causes.invalid(f"data[{key}]", "<hidden>", "must be base64")
    check_secret_type(obj, causes)
    _check_size(data, {}, causes)


def _check_size(data: Json, binary: Json, causes: Causes) -> None:
    size = sum(len(value.encode("utf-8", "surrogatepass")) for value in (*data.values(), *binary.values()))
    if size > MAX_CONFIG_BYTES:
        causes.invalid("data", "", f"must have at most {MAX_CONFIG_BYTES} bytes")


def _immutable_data(old: Json, new: Json, causes: Causes) -> None:
    if old.get("immutable"):
        if not new.get("immutable"):
            causes.forbidden("immutable", "field is immutable when `immutable` is set")
        for key in ("data", "binaryData"):
            if (old.get(key) or {}) != (new.get(key) or {}):
                causes.forbidden(key, "field is immutable when `immutable` is set")
    if old.get("type", "") != new.get("type", ""):
        causes.invalid("type", new.get("type", ""), "field is immutable")


# --- nodes and the rest


def _node(obj: Json, causes: Causes) -> None:
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        here = f"spec.taints[{index}]"
        check_qualified(taint.get("key", ""), f"{here}.key", causes)
        check_label_value(taint.get("value", ""), f"{here}.value", causes)
        if taint.get("effect") not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            causes.not_supported(f"{here}.effect", taint.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"))
        key = (taint.get("key"), taint.get("effect"))
        if key in seen:
            causes.duplicate(here, {"key": key[0], "effect": key[1]})
        seen.add(key)


def _node_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for key, word in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(key) and before[key] != after.get(key):
            causes.forbidden(f"spec.{key}", f'node updates may not change {word} except from "" to valid')


def _endpoint_slice(obj: Json, causes: Causes) -> None:
    if obj.get("addressType") not in ("IPv4", "IPv6", "FQDN"):
        causes.not_supported("addressType", obj.get("addressType"), ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def _budget(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        causes.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        percent = check_int_or_percent(spec.get(key), f"spec.{key}", causes)
        if isinstance(spec.get(key), str) and percent is not None and percent > 100:
            causes.invalid(f"spec.{key}", spec[key], "must not be greater than 100%")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        causes.not_supported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
    check_selector(spec.get("selector") or {}, "spec.selector", causes)


def _event(obj: Json, causes: Causes) -> None:
    involved = obj.get("involvedObject") or {}
    namespace = obj["metadata"].get("namespace")
    place = involved.get("namespace", "")
    if place not in ("", namespace) or (not place and namespace != "default"):
        causes.invalid("involvedObject.namespace", place, "does not match event.namespace")


def _priority_class(obj: Json, causes: Causes) -> None:
    value = obj.get("value", 0)
    name = obj["metadata"].get("name", "")
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != value:
            causes.forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use "
                                              "only")
    elif value > MAX_USER_PRIORITY:
        causes.forbidden("value", f"maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}")
    if obj.get("preemptionPolicy") not in ("Never", "PreemptLowerPriority"):
        causes.not_supported("preemptionPolicy", obj.get("preemptionPolicy"), ("Never", "PreemptLowerPriority"))


def _priority_class_update(old: Json, new: Json, causes: Causes) -> None:
    if old.get("value", 0) != new.get("value", 0):
        causes.forbidden("value", "may not be changed in an update.")
    if old.get("preemptionPolicy") != new.get("preemptionPolicy"):
        causes.invalid("preemptionPolicy", new.get("preemptionPolicy"), "field is immutable")


_CHECKS: dict[str, Check] = {
    r.INGRESSES.group_resource: check_ingress, r.INGRESS_CLASSES.group_resource: check_ingress_class,
    **STORAGE_CHECKS,
    r.PODS.group_resource: _pod, r.DEPLOYMENTS.group_resource: check_deployment,
    r.REPLICA_SETS.group_resource: check_replica_set, r.STATEFUL_SETS.group_resource: check_stateful_set,
    r.DAEMON_SETS.group_resource: check_daemon_set, r.JOBS.group_resource: check_job,
    r.CRON_JOBS.group_resource: check_cron_job,
    r.SERVICES.group_resource: check_service,
    r.CONFIG_MAPS.group_resource: _config_map, r.SECRETS.group_resource: _secret,
    r.NODES.group_resource: _node, r.ENDPOINT_SLICES.group_resource: _endpoint_slice,
    r.DISRUPTION_BUDGETS.group_resource: _budget, r.EVENTS.group_resource: _event,
    r.PRIORITY_CLASSES.group_resource: _priority_class, r.LIMIT_RANGES.group_resource: check_limit_range,
    r.RESOURCE_QUOTAS.group_resource: check_quota, r.AUTOSCALERS.group_resource: check_autoscaler,
}
_UPDATES: dict[str, UpdateCheck] = {
    r.SERVICES.group_resource: check_service_update,
    r.INGRESS_CLASSES.group_resource: check_ingress_class_update,
    **STORAGE_UPDATES,
    r.RESOURCE_QUOTAS.group_resource: check_quota_update, r.NODES.group_resource: _node_update,
    r.PODS.group_resource: check_pod_update, r.DEPLOYMENTS.group_resource: check_selector_immutable,
    r.REPLICA_SETS.group_resource: check_selector_immutable,
    r.STATEFUL_SETS.group_resource: check_stateful_set_update, r.DAEMON_SETS.group_resource: check_selector_immutable,
    r.JOBS.group_resource: check_job_update,
    r.CONTROLLER_REVISIONS.group_resource: check_revision_update, r.CONFIG_MAPS.group_resource: _immutable_data,
    r.SECRETS.group_resource: _immutable_data, r.PRIORITY_CLASSES.group_resource: _priority_class_update,
}
