"""Pods in the picture: whose they are, their state in kubectl's words, their containers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from testbed.server.picture import ContainerPart, PodPart, condition, status_of
from testbed.server.printing_pods import pod_status

Json = dict[str, Any]
OwnerOf = Callable[[str, str], Json | None]  # namespace, name of a ReplicaSet -> it

_PROBES = {"startupProbe": "startup", "readinessProbe": "readiness", "livenessProbe": "liveness"}


def pod(obj: Json, replica_set: OwnerOf) -> PodPart:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, status_of(obj)
    labels = meta.get("labels") or {}
    containers = list(_containers(spec, status))
    return {
        "namespace": meta["namespace"], "name": meta["name"], "uid": meta.get("uid", ""),
        "node": spec.get("nodeName") or "", "app": labels.get("app") or labels.get("app.kubernetes.io/name") or "",
        "owner": owner(obj, replica_set), "phase": status.get("phase") or "Pending", "reason": pod_status(obj),
        "ready": condition(obj, "Ready").get("status") == "True",
        "restarts": sum(item["restarts"] for item in containers), "containers": containers,
        "createdAt": meta.get("creationTimestamp") or "", "startedAt": status.get("startTime") or "",
        "ip": status.get("podIP") or "", "deleting": bool(meta.get("deletionTimestamp")),
    }


def owner(obj: Json, replica_set: OwnerOf) -> str:
    """``Deployment/web``: who a person would say it belongs to; a ReplicaSet only when no Deployment owns that."""
    found = _controller(obj)
    if found.get("kind") == "ReplicaSet":
        between = replica_set(obj["metadata"]["namespace"], found["name"])
        found = (_controller(between) if between else {}) or found
    return f"{found['kind']}/{found['name']}" if found else ""


def _controller(obj: Json) -> Json:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((item for item in owners if item.get("controller")), {})


def _containers(spec: Json, status: Json) -> Iterator[ContainerPart]:
    for field, told, init in (("initContainers", "initContainerStatuses", True),
                              ("containers", "containerStatuses", False)):
        statuses = {item.get("name"): item for item in status.get(told) or ()}
        for container in spec.get(field) or ():
            yield _container(container, statuses.get(container["name"]) or {}, init)


def _container(container: Json, told: Json, init: bool) -> ContainerPart:
    states: Json = told.get("state") or {}
    state = next(iter(states), "")
    return {
        "name": container["name"], "init": init, "state": state, "reason": (states.get(state) or {}).get("reason", ""),
        "ready": bool(told.get("ready")), "restarts": int(told.get("restartCount") or 0),
        "probes": [name for field, name in _PROBES.items() if container.get(field)],
        "started": bool(told.get("started")),
    }
