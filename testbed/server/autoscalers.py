"""HorizontalPodAutoscalers (autoscaling/v2) as a kind: defaults and columns.

Source: kubernetes pkg/apis/autoscaling/v2/defaults.go, pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.validation_autoscalers import SOURCES

Json = dict[str, Any]

_POLICIES = ({"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15})


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


def _target(metric: Json, current: Json | None) -> str:
    kind = str(metric.get("type"))
    source = metric.get(SOURCES.get(kind, "")) or {}
    target, found = source.get("target") or {}, ((current or {}).get(SOURCES.get(kind, "")) or {}).get("current") or {}
    if kind not in ("Resource", "ContainerResource"):
        key = "averageValue" if target.get("averageValue") is not None else "value"
        avg = " (avg)" if key == "averageValue" and kind != "Pods" else ""
        return f"{found.get(key, '<unknown>')}/{target.get(key, '')}{avg}"
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
    source = metric.get(SOURCES.get(str(metric.get("type")), "")) or {}
    return metric.get("type"), source.get("name"), source.get("container"), (source.get("metric") or {}).get("name")


AUTOSCALER_PRINTERS: dict[str, Printer] = {
    r.AUTOSCALERS.group_resource: Printer(
        ("Name", "Reference", "Targets", "MinPods", "MaxPods#", "Replicas#", "Age"), _row),
}
