"""Scale and binding: writes that change one part of another object. Pure.

Sources: kubernetes pkg/registry/apps/deployment/storage/storage.go (scaleFromDeployment),
pkg/registry/core/pod/storage/ storage.go (assignPod), apiextensions-apiserver pkg/registry/customresource/etcd.go
(custom scale paths).
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time
from testbed.errors import BadRequest, Conflict
from testbed.server.causes import Causes
from testbed.server.fields import checked
from testbed.server.served import Served

Json = dict[str, Any]


def scale_of(served: Served, obj: Json) -> Json:
    """The autoscaling/v1 Scale of an object."""
    spec_path, status_path, selector_path = _paths(served)
    metadata = obj["metadata"]
    selector = _at(obj, selector_path)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": _at(obj, spec_path) or 0},
        "status": {"replicas": _at(obj, status_path) or 0,
                   "selector": selector if isinstance(selector, str) else selector_text(selector or {})},
    }


def scaled(served: Served, obj: Json, scale: Any) -> Json:
    """``obj`` with the replicas that a written Scale asks for.

    Raises: BadRequest, Conflict (stale resourceVersion), Invalid.
    """
    scale = checked("Scale", scale)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    causes = Causes()
    name = obj["metadata"]["name"]
    if replicas < 0:
        causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    causes.raise_if_any("Scale", "autoscaling", name)
    changed: Json = copy.deepcopy(obj)
    target = changed
    spec_path = _paths(served)[0]
    for part in spec_path[:-1]:
        target = target.setdefault(part, {})
    target[spec_path[-1]] = replicas
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version and version != obj["metadata"]["resourceVersion"]:
        raise Conflict(f'Operation cannot be fulfilled on {served.key} "{name}": the object has been modified; please '
                       'apply '
                       "your changes to the latest version and try again")
    return changed


def _paths(served: Served) -> tuple[list[str], list[str], list[str]]:
    if not served.custom:
        return ["spec", "replicas"], ["status", "replicas"], ["spec", "selector"]
    keys = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    spec, status, selector = (str(served.scale.get(key, "")).strip(".").split(".") for key in keys)
    return spec, status, selector


def _at(obj: Json, path: list[str]) -> Any:
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def selector_text(selector: Json) -> str:
    """A LabelSelector as a URL's label selector."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or ():
        key, values = item.get("key", ""), ",".join(sorted(item.get("values") or ()))
        parts.append({"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key,
                      "DoesNotExist": f"!{key}"}.get(item.get("operator", ""), key))
    return ",".join(parts)


def bound(pod: Json, binding: Any, now: datetime) -> tuple[Json, Json]:
    """Spec and status of a pod that is given to a node.

    Raises: BadRequest when the binding names no node; Conflict when the pod has one already or is being deleted.
    """
    target = checked("Binding", binding).get("target") or {}
    node, name = target.get("name"), pod["metadata"]["name"]
    if not node or target.get("kind", "Node") not in ("Node", ""):
        raise BadRequest("a binding needs target.kind Node and target.name")
    what = f'Operation cannot be fulfilled on pods/binding "{name}"'
    if pod["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{what}: pod {name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        raise Conflict(f"{what}: pod {name} is already assigned to node \"{pod['spec']['nodeName']}\"")
    if pod["spec"].get("schedulingGates"):
        raise Conflict(f"{what}: pod {name} has non-empty .spec.schedulingGates")
    status = dict(pod.get("status") or {})
    conditions = [item for item in status.get("conditions") or () if item.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None,
                       "lastTransitionTime": format_time(now)})
    status["conditions"] = conditions
    return {**pod["spec"], "nodeName": node}, status
