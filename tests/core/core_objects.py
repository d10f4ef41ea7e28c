"""Pods and nodes for tests of decisions, in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from testbed.api.core_v1 import Node, Pod
from testbed.api.meta import format_time

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return format_time(NOON - timedelta(seconds=seconds))


def pod(
    name: str = "a", *, node: str = "n1", phase: str = "Running", ready: bool = True, ready_for_s: float = 60,
    age_s: float = 600, owner: str = "rs", deleting: bool = False, restarts: int = 0, cost: str = "",
    labels: dict[str, str] | None = None, spec: dict[str, Any] | None = None, ip: str = "10.0.0.1",
    requests: dict[str, str] | None = None,
) -> Pod:
    owners = [{"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": owner, "uid": owner, "controller": True}]
    return Pod.of({
        "metadata": {
            "name": name, "uid": f"uid-{name}", "namespace": "default", "creationTimestamp": ago(age_s),
            "labels": {"app": "web"} if labels is None else labels,
            "ownerReferences": owners if owner else [],
            **({"deletionTimestamp": ago(-30)} if deleting else {}),
            **({"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}} if cost else {}),
        },
        "spec": {
            "nodeName": node, "containers": [{"name": "web", "resources": {"requests": requests or {}}}],
            **(spec or {}),
        },
        "status": {
            "phase": phase, "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False",
                            "lastTransitionTime": ago(ready_for_s)}],
            "containerStatuses": [{"name": "web", "restartCount": restarts}],
        },
    })


def node(
    name: str = "n1", *, ready: str | None = "True", taints: list[dict[str, Any]] | None = None,
    labels: dict[str, str] | None = None, unschedulable: bool = False, cpu: str = "2", memory: str = "4Gi",
    pods: str = "110",
) -> Node:
    return Node.of({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": taints or [], "unschedulable": unschedulable},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods},
            "conditions": [] if ready is None else [{"type": "Ready", "status": ready}],
        },
    })
