"""What the API server adds to new pods and refuses for the cluster's sake.

Sources: kubernetes plugin/pkg/admission/{defaulttolerationseconds,serviceaccount,priority,namespace/lifecycle},
pkg/apis/core/v1/helper/qos/qos.go, pkg/registry/core/pod/strategy.go.
"""

from __future__ import annotations

from typing import Any

from testbed.api.labels import TAINT_NOT_READY, TAINT_UNREACHABLE
from testbed.api.meta import quantity
from testbed.errors import Forbidden, NotFound

Json = dict[str, Any]

SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def admit_pod(obj: Json, toleration_s: int, priority_classes: dict[str, Json]) -> None:
    """Service account, priority and the two default tolerations of a new pod; its first status.

    Raises: Forbidden when its PriorityClass does not exist.
    """
    spec = obj["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = "default"
    spec["serviceAccount"] = spec["serviceAccountName"]
    _prioritize(obj, priority_classes)
    tolerations = spec.setdefault("tolerations", [])
    for key in (TAINT_NOT_READY, TAINT_UNREACHABLE):
        if not any(_tolerates(item, key) for item in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": toleration_s})
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def _tolerates(toleration: Json, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def _prioritize(obj: Json, classes: dict[str, Json]) -> None:
    spec, name = obj["spec"], obj["spec"].get("priorityClassName", "")
    if not name:
        chosen = next((item for item in classes.values() if item.get("globalDefault")), None)
        if chosen is not None:
            spec["priorityClassName"] = chosen["metadata"]["name"]
        spec["priority"] = chosen.get("value", 0) if chosen else 0
    elif name in SYSTEM_PRIORITIES:
        spec["priority"] = SYSTEM_PRIORITIES[name]
    elif name in classes:
        spec["priority"] = classes[name].get("value", 0)
    else:
        raise Forbidden(f'pods "{obj["metadata"].get("name", "")}" is forbidden: no PriorityClass with name {name} '
                        'was found',
                        hint="create that PriorityClass first")
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def qos_class(spec: Json) -> str:
    """BestEffort, Burstable or Guaranteed (kubernetes: ComputePodQOS)."""
    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    guaranteed = True
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        found = set()
        for totals, part in ((requests, "requests"), (limits, "limits")):
            for name, value in (resources.get(part) or {}).items():
                if name not in ("cpu", "memory"):
                    continue
                try:
                    amount = quantity(value)
                except ValueError:
                    continue
                if amount > 0:
                    totals[name] = totals.get(name, 0) + amount
                    if part == "limits":
                        found.add(name)
        guaranteed = guaranteed and found == {"cpu", "memory"}
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def admit_namespace(namespace: Json | None, name: str, what: str) -> None:
    """Whether something may be created in a namespace.

    Raises: NotFound when it does not exist; Forbidden while it is being deleted.
    """
    if namespace is None:
        raise NotFound(f'namespaces "{name}" not found', details={"name": name, "kind": "namespaces"})
    terminating = (namespace.get("status") or {}).get("phase") == "Terminating"
    if terminating or namespace["metadata"].get("deletionTimestamp"):
        message = f"unable to create new content in namespace {name} because it is being terminated"
        raise Forbidden(f"{what} is forbidden: {message}", details={"causes": [
            {"reason": "NamespaceTerminating", "message": f"namespace {name} is being terminated",
             "field": "metadata.namespace"}]})


def admit_namespace_deletion(name: str) -> None:
    """Raises: Forbidden for the namespaces that the cluster itself needs."""
    if name in PROTECTED_NAMESPACES:
        raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted')
