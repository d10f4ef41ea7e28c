"""What the API server adds to new pods and refuses for the cluster's sake.

Sources: kubernetes plugin/pkg/admission/{defaulttolerationseconds,serviceaccount,priority,namespace/lifecycle},
pkg/apis/core/v1/helper/qos/qos.go, pkg/registry/core/pod/strategy.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api.labels import TAINT_NOT_READY, TAINT_UNREACHABLE
from testbed.api.meta import quantity
from testbed.errors import Forbidden, NotFound

Json = dict[str, Any]

SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
DEFAULT_ACCOUNT = "default"
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def admit_pod(obj: Json, toleration_s: int, priority_classes: dict[str, Json]) -> None:
    """Service account, priority and the two default tolerations of a new pod; its first status.

    Raises: Forbidden when its PriorityClass does not exist.
    """
    spec = obj["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = DEFAULT_ACCOUNT
    spec["serviceAccount"] = spec["serviceAccountName"]
    _prioritize(obj, priority_classes)
    tolerations = spec.setdefault("tolerations", [])
    for key in (TAINT_NOT_READY, TAINT_UNREACHABLE):
        if not any(_tolerates(item, key) for item in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": toleration_s})
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        obj["status"]["conditions"] = [{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": None,
            "lastTransitionTime": obj["metadata"].get("creationTimestamp"),
            "message": "Scheduling is blocked due to non-empty scheduling gates"}]


def admit_account(pod: Json, exists: Callable[[str], bool]) -> None:
    """``exists``: whether a ServiceAccount of that name is in the pod's namespace. ``default`` comes with each
    namespace and is not asked for.

    Raises: Forbidden when the pod names one that does not exist.
    """
    name, meta = pod["spec"]["serviceAccountName"], pod["metadata"]
    if name != DEFAULT_ACCOUNT and not exists(name):
        raise Forbidden(f'pods "{meta["name"]}" is forbidden: error looking up service account '
                        f'{meta.get("namespace", "")}/{name}: serviceaccount "{name}" not found',
                        hint="create that ServiceAccount first", details={"name": meta["name"], "kind": "pods"})


def _tolerates(toleration: Json, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def _prioritize(obj: Json, classes: dict[str, Json]) -> None:
    """Priority and preemption policy come from the class alone (plugin/pkg/admission/priority)."""
    spec, name = obj["spec"], obj["spec"].get("priorityClassName", "")
    what = f'pods "{obj["metadata"].get("name", "")}" is forbidden'
    if spec.get("schedulingGates") and spec.get("nodeName"):
        raise Forbidden(f"{what}: spec.nodeName cannot be set until all schedulingGates have been cleared")
    chosen: Json = {}
    if not name:
        found = [item for item in classes.values() if item.get("globalDefault")]
        chosen = min(found, key=lambda item: int(item.get("value", 0)), default={})
        if chosen:
            spec["priorityClassName"] = chosen["metadata"]["name"]
    elif name in classes:
        chosen = classes[name]
    elif name in SYSTEM_PRIORITIES:
        chosen = {"value": SYSTEM_PRIORITIES[name]}
    else:
        raise Forbidden(f"{what}: no PriorityClass with name {name} was found", hint="create that PriorityClass first")
    value, policy = int(chosen.get("value", 0)), chosen.get("preemptionPolicy", "PreemptLowerPriority")
    for key, word, computed in (("priority", "the integer value of priority", value),
                                ("preemptionPolicy", "the string value of PreemptionPolicy", policy)):
        if spec.get(key) not in (None, computed):
            raise Forbidden(f"{what}: {word} ({spec[key]}) must not be provided in pod spec; priority admission "
                            f"controller computed {computed} from the given PriorityClass name")
        spec[key] = computed


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
