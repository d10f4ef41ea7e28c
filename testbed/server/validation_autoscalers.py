"""Which HorizontalPodAutoscalers are valid.

Source: kubernetes pkg/apis/autoscaling/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api.meta import quantity
from testbed.server.causes import Causes
from testbed.server.names import PATH_SEGMENT, check_label_name
from testbed.server.validation_containers import check_quantity
from testbed.server.validation_placement import check_selector

Json = dict[str, Any]

SOURCES = {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
           "External": "external"}
MAX_WINDOW_S, MAX_PERIOD_S = 3600, 1800


def check_autoscaler(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        causes.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        causes.invalid("spec.maxReplicas", high, "must be greater than 0")
    if high < low:
        causes.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    _check_reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", causes)
    for index, metric in enumerate(spec.get("metrics") or ()):
        _check_metric(metric, f"spec.metrics[{index}]", causes)
    for direction, rules in (spec.get("behavior") or {}).items():
        _check_rules(rules, f"spec.behavior.{direction}", causes)


def check_autoscaler_status(obj: Json, causes: Causes) -> None:
    for key in ("currentReplicas", "desiredReplicas"):
        value = (obj.get("status") or {}).get(key, 0)
        if value < 0:
            causes.invalid(f"status.{key}", value, "must be greater than or equal to 0")


def _check_reference(reference: Json, here: str, causes: Causes) -> None:
    for key in ("kind", "name"):
        _check_segment(reference.get(key), f"{here}.{key}", "", causes)


def _check_segment(value: str | None, here: str, missing: str, causes: Causes) -> None:
    if not value:
        causes.required(here, missing)
    elif value in (".", ".."):
        causes.invalid(here, value, f"may not be '{value}'")
    elif not PATH_SEGMENT.match(value):
        causes.invalid(here, value, "may not contain '/'" if "/" in value else "may not contain '%'")


def _check_metric(metric: Json, here: str, causes: Causes) -> None:
    kind = metric.get("type")
    if not kind:
        causes.required(f"{here}.type", "must specify a metric source type")
    if kind not in SOURCES:
        causes.not_supported(f"{here}.type", kind or "", SOURCES)
        return
    present = [field for field in ("object", "external", "pods", "resource", "containerResource") if metric.get(field)]
    if present:
        _SOURCE_CHECKS[present[0]](metric[present[0]], f"{here}.{present[0]}", causes)
    if SOURCES[kind] not in present:
        causes.required(f"{here}.{SOURCES[kind]}", "must populate information for the given metric source")
    for field in present:
        if field != SOURCES[kind]:
            causes.forbidden(f"{here}.{field}", "must populate the given metric source only")


def _resource(source: Json, here: str, causes: Causes) -> None:
    if not source.get("name"):
        causes.required(f"{here}.name", "must specify a resource name")
    target = _check_target(source, here, causes)
    utilization, value = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and value is None:
        causes.required(f"{here}.target.averageUtilization",
                        "must set either a target raw value or a target utilization")
    elif utilization is not None and value is not None:
        causes.forbidden(f"{here}.target.averageValue", "may not set both a target raw value and a target utilization")


def _container_resource(source: Json, here: str, causes: Causes) -> None:
    if not source.get("container"):
        causes.required(f"{here}.container", "must specify a container")
    else:
        check_label_name(source["container"], f"{here}.container", causes)
    _resource(source, here, causes)


def _pods(source: Json, here: str, causes: Causes) -> None:
    _check_identifier(source, here, causes)
    if _check_target(source, here, causes).get("averageValue") is None:
        causes.required(f"{here}.target.averageValue", "must specify a positive target averageValue")


def _object(source: Json, here: str, causes: Causes) -> None:
    _check_reference(source.get("describedObject") or {}, f"{here}.describedObject", causes)
    _check_identifier(source, here, causes)
    target = _check_target(source, here, causes)
    if target.get("value") is None and target.get("averageValue") is None:
        causes.required(f"{here}.target.averageValue", "must set either a target value or averageValue")


def _external(source: Json, here: str, causes: Causes) -> None:
    _check_identifier(source, here, causes)
    target = _check_target(source, here, causes)
    if target.get("value") is None and target.get("averageValue") is None:
        causes.required(f"{here}.target.averageValue",
                        "must set either a target value for metric or a per-pod target")
    elif target.get("value") is not None and target.get("averageValue") is not None:
        causes.forbidden(f"{here}.target.value", "may not set both a target value for metric and a per-pod target")


_SOURCE_CHECKS: dict[str, Callable[[Json, str, Causes], None]] = {
    "resource": _resource, "containerResource": _container_resource, "pods": _pods, "object": _object,
    "external": _external,
}


def _check_identifier(source: Json, here: str, causes: Causes) -> None:
    metric = source.get("metric") or {}
    _check_segment(metric.get("name"), f"{here}.metric.name", "must specify a metric name", causes)
    check_selector(metric.get("selector") or {}, f"{here}.metric.selector", causes)


def _check_target(source: Json, here: str, causes: Causes) -> Json:
    target: Json = source.get("target") or {}
    here = f"{here}.target"
    kind = target.get("type")
    if not kind:
        causes.required(f"{here}.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        causes.invalid(f"{here}.type", kind or "", "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        before = len(causes.items)
        check_quantity(target.get(key), f"{here}.{key}", causes)
        if target.get(key) is not None and len(causes.items) == before and quantity(target[key]) <= 0:
            causes.invalid(f"{here}.{key}", str(target[key]), "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        causes.invalid(f"{here}.averageUtilization", utilization, "must be greater than 0")
    return target


def _check_rules(rules: Json, here: str, causes: Causes) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        causes.invalid(f"{here}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > MAX_WINDOW_S:
        causes.invalid(f"{here}.stabilizationWindowSeconds", window, f"must be less than or equal to {MAX_WINDOW_S}")
    if rules.get("selectPolicy") not in ("Max", "Min", "Disabled"):
        causes.not_supported(f"{here}.selectPolicy", rules.get("selectPolicy"), ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        causes.required(f"{here}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        path, period = f"{here}.policies[{index}]", policy.get("periodSeconds", 0)
        if policy.get("type") not in ("Pods", "Percent"):
            causes.not_supported(f"{path}.type", policy.get("type", ""), ("Percent", "Pods"))
        if policy.get("value", 0) <= 0:
            causes.invalid(f"{path}.value", policy.get("value", 0), "must be greater than zero")
        if period <= 0:
            causes.invalid(f"{path}.periodSeconds", period, "must be greater than zero")
        elif period > MAX_PERIOD_S:
            causes.invalid(f"{path}.periodSeconds", period, f"must be less than or equal to {MAX_PERIOD_S}")
