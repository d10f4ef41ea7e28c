"""Which objects are valid, and which changes of one are allowed, by kind. All mistakes are told at once.

Sources: kubernetes pkg/apis/{core,apps,policy,discovery,coordination,rbac,scheduling}/validation/validation.go.
Pods are in ``validation_pods``, CustomResourceDefinitions in ``crd``, custom resources in ``structural``.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from typing import Any

from testbed.api import resources as r
from testbed.server.causes import Causes
from testbed.server.names import (
    check_annotations,
    check_label_name,
    check_label_value,
    check_labels,
    check_metadata,
    check_qualified,
)
from testbed.server.served import Served
from testbed.server.validation_containers import check_port_name, check_port_number
from testbed.server.validation_pods import check_config_keys, check_pod_spec, check_pod_update

Json = dict[str, Any]
Check = Callable[[Json, Causes], None]
UpdateCheck = Callable[[Json, Json, Causes], None]

MAX_CONFIG_BYTES = 1024 * 1024


def validate(served: Served, obj: Json, old: Json | None = None) -> None:
    """Raises: Invalid with all causes."""
    causes = Causes()
    metadata = obj.get("metadata") or {}
    check_metadata(metadata, served.key, causes)
    check = _CHECKS.get(served.key)
    if check is not None:
        check(obj, causes)
    update = _UPDATES.get(served.key)
    if old is not None and update is not None and not causes:
        update(old, obj, causes)
    causes.raise_if_any(served.resource.kind, served.resource.group, metadata.get("name", ""))


# --- pods and what makes them


def _pod(obj: Json, causes: Causes) -> None:
    check_pod_spec(obj.get("spec") or {}, "spec", causes)


def _selector(selector: Any, path: str, causes: Causes) -> None:
    check_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels", causes)
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        check_qualified(requirement.get("key", ""), f"{here}.key", causes)
        operator, values = requirement.get("operator"), requirement.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                causes.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                causes.forbidden(f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            causes.invalid(f"{here}.operator", operator, "not a valid selector operator")


def selector_matches(selector: Json, labels: Json) -> bool:
    """A JSON LabelSelector against labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement.get("key", ""), requirement.get("values") or ()
        holds = {
            "In": key in labels and labels[key] in values, "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels, "DoesNotExist": key not in labels,
        }.get(requirement.get("operator", ""), False)
        if not holds:
            return False
    return True


def _workload(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    _not_negative(spec, "replicas", causes)
    _not_negative(spec, "minReadySeconds", causes)
    if selector is None:
        causes.required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.invalid("spec.selector", selector, "empty selector is invalid for deployment")
    else:
        _selector(selector, "spec.selector", causes)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not selector_matches(selector, labels):
            causes.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels") or {}, "spec.template.labels", causes)
    check_annotations(metadata.get("annotations") or {}, "spec.template.annotations", causes)
    check_pod_spec(template.get("spec") or {}, "spec.template.spec", causes, restart=("Always",))


def _not_negative(spec: Json, key: str, causes: Causes) -> None:
    value = spec.get(key)
    if isinstance(value, int) and value < 0:
        causes.invalid(f"spec.{key}", value, "must be greater than or equal to 0")


def _deployment(obj: Json, causes: Causes) -> None:
    _workload(obj, causes)
    spec = obj.get("spec") or {}
    for key in ("revisionHistoryLimit", "progressDeadlineSeconds"):
        _not_negative(spec, key, causes)
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= spec.get("minReadySeconds", 0):
        causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") not in ("Recreate", "RollingUpdate"):
        causes.not_supported("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    elif strategy["type"] == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            causes.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    else:
        rolling = strategy.get("rollingUpdate") or {}
        surge = _int_or_percent(rolling.get("maxSurge"), "spec.strategy.rollingUpdate.maxSurge", causes)
        unavailable = _int_or_percent(rolling.get("maxUnavailable"), "spec.strategy.rollingUpdate.maxUnavailable",
                                      causes)
        if surge == 0 and unavailable == 0:
            causes.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"),
                           "may not be 0 when `maxSurge` is 0")
        if isinstance(rolling.get("maxUnavailable"), str) and unavailable is not None and unavailable > 100:
            causes.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"],
                           "must not be greater than 100%")


def _int_or_percent(value: Any, path: str, causes: Causes) -> int | None:
    if isinstance(value, int):
        if value < 0:
            causes.invalid(path, value, "must be greater than or equal to 0")
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return int(value[:-1])
    if value is not None:
        causes.invalid(path, value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
                                    "'1%',  or "
                       "'93%', regex used for validation is '[0-9]+%')")
    return None


def _selector_immutable(old: Json, new: Json, causes: Causes) -> None:
    selector = (new.get("spec") or {}).get("selector")
    if (old.get("spec") or {}).get("selector") != selector:
        causes.invalid("spec.selector", selector, "field is immutable")


# --- Services and config


def _service(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec.get("type") not in kinds:
        causes.not_supported("spec.type", spec.get("type"), kinds)
    ports = spec.get("ports") or ()
    headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            causes.required("spec.externalName")
    elif not ports and not headless:
        causes.required("spec.ports")
    if headless and spec.get("type") in ("NodePort", "LoadBalancer"):
        causes.invalid("spec.clusterIP", "None", f"may not be set to 'None' for {spec['type']} services")
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            causes.required(f"{here}.name")
        elif name:
            check_label_name(name, f"{here}.name", causes)
            if name in names:
                causes.duplicate(f"{here}.name", name)
        names.add(name)
        _service_port(port, here, seen, causes)
    check_labels(spec.get("selector") or {}, "spec.selector", causes)
    if spec.get("sessionAffinity") not in ("None", "ClientIP"):
        causes.not_supported("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    address = spec.get("clusterIP")
    if address and address != "None" and not _is_ip(address):
        causes.invalid("spec.clusterIPs[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _service_port(port: Json, here: str, seen: set[tuple[Any, Any]], causes: Causes) -> None:
    if not port.get("port"):
        causes.required(f"{here}.port")
    else:
        check_port_number(port["port"], f"{here}.port", causes)
    target = port.get("targetPort")
    if isinstance(target, int):
        check_port_number(target, f"{here}.targetPort", causes)
    elif isinstance(target, str):
        check_port_name(target, f"{here}.targetPort", causes)
    if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
        causes.not_supported(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    key = (port.get("port"), port.get("protocol"))
    if key in seen:
        causes.duplicate(here, {"port": key[0], "protocol": key[1]})
    seen.add(key)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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


def _endpoint_slice(obj: Json, causes: Causes) -> None:
    if obj.get("addressType") not in ("IPv4", "IPv6", "FQDN"):
        causes.not_supported("addressType", obj.get("addressType"), ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def _budget(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        causes.invalid("spec", "", "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        _int_or_percent(spec.get(key), f"spec.{key}", causes)
    _selector(spec.get("selector") or {}, "spec.selector", causes)


def _event(obj: Json, causes: Causes) -> None:
    involved = obj.get("involvedObject") or {}
    namespace = obj["metadata"].get("namespace")
    place = involved.get("namespace", "")
    if place not in ("", namespace) or (not place and namespace != "default"):
        causes.invalid("involvedObject.namespace", place, "does not match event.namespace")


def _priority_class(obj: Json, causes: Causes) -> None:
    value = obj.get("value", 0)
    name = obj["metadata"].get("name", "")
    if value > 1_000_000_000 and not name.startswith("system-"):
        causes.forbidden("value", "maximum allowed value of a user defined priority is 1000000000")


_CHECKS: dict[str, Check] = {
    r.PODS.group_resource: _pod, r.DEPLOYMENTS.group_resource: _deployment, r.REPLICA_SETS.group_resource: _workload,
    r.SERVICES.group_resource: _service, r.CONFIG_MAPS.group_resource: _config_map, r.SECRETS.group_resource: _secret,
    r.NODES.group_resource: _node, r.ENDPOINT_SLICES.group_resource: _endpoint_slice,
    r.DISRUPTION_BUDGETS.group_resource: _budget, r.EVENTS.group_resource: _event,
    r.PRIORITY_CLASSES.group_resource: _priority_class,
}
_UPDATES: dict[str, UpdateCheck] = {
    r.PODS.group_resource: check_pod_update, r.DEPLOYMENTS.group_resource: _selector_immutable,
    r.REPLICA_SETS.group_resource: _selector_immutable, r.CONFIG_MAPS.group_resource: _immutable_data,
    r.SECRETS.group_resource: _immutable_data,
}
