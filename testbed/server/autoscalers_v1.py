"""autoscaling/v1 HorizontalPodAutoscalers: the same objects in an older form, as ``kubectl autoscale`` writes them.

What v1 has no field for stands in annotations and comes back from there, so that nothing is lost when a client reads
v1 and writes v1. Decides nothing about values (``autoscalers`` judges the v2 form that is stored).
Source: kubernetes pkg/apis/autoscaling/v1/conversion.go, pkg/apis/autoscaling/annotations.go; the behavior annotation
holds Go's names of the internal type, as upstream writes it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from testbed.server.validation_autoscalers import SOURCES

Json = dict[str, Any]

_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, STATUSES = f"{_PREFIX}metrics", f"{_PREFIX}current-metrics"
CONDITIONS, BEHAVIOR = f"{_PREFIX}conditions", f"{_PREFIX}behavior"
_ANNOTATIONS = (METRICS, STATUSES, CONDITIONS, BEHAVIOR)
_VALUES = {"averageUtilization": "AverageUtilization", "averageValue": "AverageValue", "value": "Value"}


def to_v1(obj: Json) -> Json:
    """The v1 form of a stored (v2) object."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metadata = copy.deepcopy(obj["metadata"])
    shown: Json = {key: spec[key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas") if key in spec}
    others = []
    for metric in spec.get("metrics") or ():
        percent = _cpu_percent(metric, "target")
        if percent is None:
            others.append(_old_metric(metric, "target"))
        else:
            shown["targetCPUUtilizationPercentage"] = percent
    told: Json = {
        METRICS: others, CONDITIONS: status.get("conditions"), BEHAVIOR: _renamed(spec.get("behavior"), _upper),
        STATUSES: [_old_metric(item, "current") for item in status.get("currentMetrics") or ()],
    }
    written = {key: json.dumps(value, separators=(",", ":")) for key, value in told.items() if value}
    if written:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **written}
    made: Json = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1", "metadata": metadata,
                  "spec": shown, "status": {
                      "currentReplicas": status.get("currentReplicas", 0),
                      "desiredReplicas": status.get("desiredReplicas", 0),
                      **{key: status[key] for key in ("observedGeneration", "lastScaleTime") if key in status}}}
    for metric in status.get("currentMetrics") or ():
        percent = _cpu_percent(metric, "current")
        if percent is not None:
            made["status"]["currentCPUUtilizationPercentage"] = percent
    return made


def from_v1(obj: Json) -> Json:
    """The v2 form, to be stored. An annotation that cannot be read counts as not there, as upstream."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = copy.deepcopy(obj.get("metadata") or {})
    noted = metadata.get("annotations") or {}
    metrics = [_new_metric(item, "target") for item in _read(noted, METRICS, list)]
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.append({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _renamed(_read(noted, BEHAVIOR, dict), _lower)
    if behavior:
        spec["behavior"] = behavior
    status.pop("currentCPUUtilizationPercentage", None)
    status |= {"currentMetrics": [_new_metric(item, "current") for item in _read(noted, STATUSES, list)],
               "conditions": _read(noted, CONDITIONS, list)}
    if noted:
        rest = {key: value for key, value in noted.items() if key not in _ANNOTATIONS}
        metadata["annotations"] = rest
        if not rest:
            del metadata["annotations"]
    made = {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec}
    if "status" in obj:
        made["status"] = {key: value for key, value in status.items() if value != []}
    return made


def _cpu_percent(metric: Json, key: str) -> Any:
    source = metric.get("resource") or {}
    if metric.get("type") != "Resource" or source.get("name") != "cpu":
        return None
    return (source.get(key) or {}).get("averageUtilization")


def _read(annotations: Json, key: str, kind: type[Any]) -> Any:
    try:
        found = json.loads(annotations.get(key) or "null")
    except ValueError:
        found = None
    if kind is list:
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return found if isinstance(found, kind) else kind()


def _old_metric(metric: Json, part: str) -> Json:
    """``{"resource": {"target": {"averageValue": 1}}}`` → ``{"resource": {"targetAverageValue": 1}}``."""
    kind = str(metric.get("type"))
    source = dict(metric.get(SOURCES.get(kind, "")) or {})
    values = source.pop(part, None) or {}
    identity = source.pop("metric", None) or {}
    named = kind == "External"
    if identity:
        source["metricName"] = identity.get("name", "")
        if identity.get("selector") is not None:
            source["metricSelector" if named else "selector"] = identity["selector"]
    if kind == "Object":
        source["target"] = source.pop("describedObject", {})
        source[f"{part}Value"] = values.get("value", "0")
        if "averageValue" in values:
            source["averageValue"] = values["averageValue"]
    else:
        source |= {f"{part}{word}": values[key] for key, word in _VALUES.items() if key in values}
    return {"type": kind, SOURCES.get(kind, "resource"): source}


def _new_metric(metric: Json, part: str) -> Json:
    kind = str(metric.get("type"))
    field = SOURCES.get(kind, "resource")
    source = dict(metric.get(field) or {})
    values: Json = {key: source.pop(f"{part}{word}") for key, word in _VALUES.items() if f"{part}{word}" in source}
    if kind == "Object":
        source["describedObject"] = source.pop("target", {})
        if "averageValue" in source:
            values = {"averageValue": source.pop("averageValue")}
    if part == "target":
        values["type"] = next((name for key, name in (("averageUtilization", "Utilization"),
                                                      ("averageValue", "AverageValue")) if key in values), "Value")
    if "metricName" in source:
        identity: Json = {"name": source.pop("metricName")}
        selector = source.pop("metricSelector", source.pop("selector", None))
        source["metric"] = identity if selector is None else {**identity, "selector": selector}
    return {"type": kind, field: {**source, part: values}}


def _renamed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {change(key): _renamed(item, change) for key, item in value.items() if key}
    if isinstance(value, list):
        return [_renamed(item, change) for item in value]
    return value


def _upper(key: str) -> str:
    return key[0].upper() + key[1:]


def _lower(key: str) -> str:
    return key[0].lower() + key[1:]
