"""HorizontalPodAutoscalers (autoscaling/v2) as a kind: defaults, which of them are valid, columns.

Source: kubernetes pkg/apis/autoscaling/v2/defaults.go, pkg/apis/autoscaling/validation/validation.go,
pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.server.causes import Causes
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.validation_containers import check_quantity

Json = dict[str, Any]

_FIELDS = {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
           "External": "external"}
_POLICIES = ({"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15})
MAX_WINDOW_S, MAX_PERIOD_S = 3600, 1800


def autoscaler_defaults(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        spec["metrics"] = [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]
    behavior = spec.get("behavior")
    if isinstance(behavior, dict):
        up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
        behavior["scaleUp"] = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                               "policies": [dict(item) for item in _POLICIES], **up}
        behavior["scaleDown"] = {"selectPolicy": "Max", "policies": [dict(_POLICIES[1])], **down}


def check_autoscaler(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        causes.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        causes.invalid("spec.maxReplicas", high, "must be greater than 0")
    if high < low:
        causes.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    for key in ("kind", "name"):
        if not (spec.get("scaleTargetRef") or {}).get(key):
            causes.required(f"spec.scaleTargetRef.{key}")
    for index, metric in enumerate(spec.get("metrics") or ()):
        _check_metric(metric, f"spec.metrics[{index}]", causes)
    for direction, rules in (spec.get("behavior") or {}).items():
        _check_rules(rules, f"spec.behavior.{direction}", causes)


def _check_metric(metric: Json, here: str, causes: Causes) -> None:
    kind = metric.get("type")
    if kind not in _FIELDS:
        causes.not_supported(f"{here}.type", kind, _FIELDS)
        return
    source = metric.get(_FIELDS[kind])
    here = f"{here}.{_FIELDS[kind]}"
    if source is None:
        causes.required(here, f"must populate information for the given metric source (only {_FIELDS[kind]} is)")
        return
    if kind not in ("Resource", "ContainerResource"):
        return
    if not source.get("name"):
        causes.required(f"{here}.name", "must specify a resource name")
    if kind == "ContainerResource" and not source.get("container"):
        causes.required(f"{here}.container", "must specify a container")
    target = source.get("target") or {}
    utilization, value = target.get("averageUtilization"), target.get("averageValue")
    if utilization is not None and utilization < 1:
        causes.invalid(f"{here}.target.averageUtilization", utilization, "must be greater than 0")
    check_quantity(value, f"{here}.target.averageValue", causes)
    if utilization is None and value is None:
        causes.required(f"{here}.target.averageUtilization", "must set either a target raw value or a target "
                                                             "utilization")
    elif utilization is not None and value is not None:
        causes.forbidden(f"{here}.target.averageValue", "may not set both a target raw value and a target utilization")


def _check_rules(rules: Json, here: str, causes: Causes) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= MAX_WINDOW_S:
        causes.invalid(f"{here}.stabilizationWindowSeconds", window,
                       f"must be greater than or equal to zero and less than or equal to {MAX_WINDOW_S}")
    if rules.get("selectPolicy") not in ("Max", "Min", "Disabled"):
        causes.not_supported(f"{here}.selectPolicy", rules.get("selectPolicy"), ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        causes.required(f"{here}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        path = f"{here}.policies[{index}]"
        if policy.get("type") not in ("Pods", "Percent"):
            causes.not_supported(f"{path}.type", policy.get("type"), ("Percent", "Pods"))
        if policy.get("value", 0) <= 0:
            causes.invalid(f"{path}.value", policy.get("value", 0), "must be greater than zero")
        if not 0 < policy.get("periodSeconds", 0) <= MAX_PERIOD_S:
            causes.invalid(f"{path}.periodSeconds", policy.get("periodSeconds", 0),
                           f"must be greater than zero and less than or equal to {MAX_PERIOD_S}")


def _target(metric: Json, current: Json | None) -> str:
    kind = str(metric.get("type"))
    source = metric.get(_FIELDS.get(kind, "")) or {}
    target, found = source.get("target") or {}, ((current or {}).get(_FIELDS.get(kind, "")) or {}).get("current") or {}
    if kind not in ("Resource", "ContainerResource"):
        return f"<unknown>/{target.get('averageValue') or target.get('value', '')}"
    start = f"{source.get('container')}/{source.get('name')}" if kind == "ContainerResource" else source.get("name")
    if target.get("averageUtilization") is not None:
        has = f"{found['averageUtilization']}%" if "averageUtilization" in found else "<unknown>"
        return f"{start}: {has}/{target['averageUtilization']}%"
    return f"{start}: {found.get('averageValue', '<unknown>')}/{target.get('averageValue', '')}"


def _row(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    reference, measured = spec.get("scaleTargetRef") or {}, status.get("currentMetrics") or []
    targets = [
        _target(metric, next((item for item in measured if _source(item) == _source(metric)), None))
        for metric in spec.get("metrics") or ()
    ]
    shown = ", ".join(targets[:2]) + (f" + {len(targets) - 2} more..." if len(targets) > 2 else "")
    return [name_of(obj), f"{reference.get('kind')}/{reference.get('name')}", shown or "<none>",
            str(spec.get("minReplicas", "<unset>")), spec.get("maxReplicas", 0), status.get("currentReplicas", 0),
            age_of(obj, now)]


def _source(metric: Json) -> tuple[Any, ...]:
    source = metric.get(_FIELDS.get(str(metric.get("type")), "")) or {}
    return metric.get("type"), source.get("name"), source.get("container")


AUTOSCALER_PRINTERS: dict[str, Printer] = {
    r.AUTOSCALERS.group_resource: Printer(
        ("Name", "Reference", "Targets", "MinPods", "MaxPods#", "Replicas#", "Age"), _row),
}
