"""An Event object: what a component tells of an object, in Kubernetes' form. Pure.

Source: kubernetes client-go tools/record/event.go, tools/reference/ref.go; api/core/v1 Event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from testbed.api.labels import MONOTONIC_NS
from testbed.api.log_lines import NODE, POD, POD_UID
from testbed.api.meta import format_time

Json = dict[str, Any]
MAX_MESSAGE = 1024  # characters; kubernetes: NoteLengthLimit


def event_body(
    obj: Mapping[str, Any], kind: str, reason: str, message: str, *, name: str, component: str, host: str = "",
    at: datetime, monotonic_ns: int, field_path: str = "", annotations: Mapping[str, str] | None = None,
    whom: Mapping[str, str] | None = None,
) -> Json:
    """Of ``obj`` (JSON with kind, apiVersion and metadata). What is cluster-wide has its Events in ``default``.

    Args:
        kind: Normal or Warning. name: of the Event itself.
        component: who tells; ``host``: its node, where it has one.
        at, monotonic_ns: when it happened, on both clocks. field_path: the part that is meant.
        whom: who else it is about (``log_lines``): a pod, or a node, is ``related``.
    """
    metadata = obj["metadata"]
    involved = {
        "kind": obj.get("kind", ""), "apiVersion": obj.get("apiVersion", ""), "name": metadata["name"],
        "namespace": metadata.get("namespace", ""), "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""), "fieldPath": field_path,
    }
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": metadata.get("namespace") or "default",
                     "annotations": {**(annotations or {}), MONOTONIC_NS: str(monotonic_ns)}},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": reason, "message": message[:MAX_MESSAGE], "type": kind,
        "source": {"component": component, **({"host": host} if host else {})},
        "firstTimestamp": format_time(at), "lastTimestamp": format_time(at), "eventTime": format_time(at, micro=True),
        "count": 1, "action": reason, "reportingComponent": component, "reportingInstance": host or component,
        **({"related": related} if (related := _related(whom or {})) else {}),
    }


def _related(whom: Mapping[str, str]) -> Json | None:
    if whom.get(POD):
        namespace, _, name = whom[POD].partition("/")
        return {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": name, "uid": whom.get(POD_UID, "")}
    return {"kind": "Node", "apiVersion": "v1", "name": whom[NODE]} if whom.get(NODE) else None
