"""Which nodes a pod may be placed on, and in upstream's words why not.

A refusal that cannot be mended by taking pods away (``by_pods`` false) keeps preemption from trying that node.
Source: kubernetes pkg/scheduler/framework/plugins/{nodeunschedulable,tainttoleration,nodeaffinity,nodeports,
noderesources}; their order is that of apis/config/v1/default_plugins.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from testbed.api.labels import TAINT_UNSCHEDULABLE
from testbed.core.host_ports import clash
from testbed.core.node_affinity import selects
from testbed.core.scheduling_state import ZERO, NodeInfo, PodInfo
from testbed.core.tolerations import first_intolerable

DEFAULT_MAX_PODS = Decimal(110)


@dataclass(frozen=True)
class Refusal:
    reasons: tuple[str, ...]
    by_pods: bool = False


def refused(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    """By what concerns the node and the pods on it alone. None: it fits."""
    for check in _CHECKS:
        if (refusal := check(pod, node)) is not None:
            return refusal
    return None


def _unschedulable(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    if not node.node.spec.unschedulable:
        return None
    tolerated = any(
        item.operator == "Exists" and item.key in ("", TAINT_UNSCHEDULABLE) and item.effect in ("", "NoSchedule")
        for item in pod.pod.spec.tolerations
    )
    return None if tolerated else Refusal(("node(s) were unschedulable",))


def _tainted(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    taint = first_intolerable(node.node.spec.taints, pod.pod.spec.tolerations, ("NoSchedule", "NoExecute"))
    return Refusal((f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}",)) if taint is not None else None


def _unselected(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    return None if selects(pod.pod.spec, node.node) else Refusal(("node(s) didn't match Pod's node affinity/selector",))


def _port_taken(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    if not pod.host_ports:
        return None
    taken = [port for other in node.pods.values() for port in other.host_ports]
    if any(clash(mine, other) for mine in pod.host_ports for other in taken):
        return Refusal(("node(s) didn't have free ports for the requested pod ports",), by_pods=True)
    return None


def _lacking(pod: PodInfo, node: NodeInfo) -> Refusal | None:
    """The only filter that gives all its reasons. What is more than the whole node has, no preemption mends."""
    reasons, by_pods = [], True
    if len(node.pods) + 1 > node.room.get("pods", DEFAULT_MAX_PODS):
        reasons.append("Too many pods")
    for name, amount in pod.requests.items():
        room = node.room.get(name, ZERO)
        if amount > room - node.requested.get(name, ZERO):
            reasons.append(f"Insufficient {name}")
            by_pods = by_pods and amount <= room
    return Refusal(tuple(reasons), by_pods) if reasons else None


_CHECKS: tuple[Callable[[PodInfo, NodeInfo], Refusal | None], ...] = (
    _unschedulable, _tainted, _unselected, _port_taken, _lacking,
)
