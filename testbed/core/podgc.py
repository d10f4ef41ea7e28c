"""Pods that nobody will ever finish: of nodes that are gone, unscheduled ones in deletion, far too many ended ones.

Leaves to its loop: keeping since when a node is gone, asking the API once more before believing it.

Source: kubernetes pkg/controller/podgc/gc_controller.go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from testbed.api.core_v1 import Node, Pod

TERMINATED_THRESHOLD = 12500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Collected:
    """One pod to force-delete; ``fail`` first sets phase Failed and the condition DisruptionTarget."""

    pod: Pod
    fail: bool
    message: str


def plan(
    pods: Sequence[Pod], nodes: Mapping[str, Node], gone_since_s: Mapping[str, float], now_s: float,
    quarantine_s: float, *, threshold: int = TERMINATED_THRESHOLD,
) -> tuple[Collected, ...]:
    """
    Args:
        gone_since_s: nodes that pods name but that do not exist, and since when we miss them.
    """
    collected: dict[str, Collected] = {}
    for pod in pods:
        node = nodes.get(pod.spec.node_name)
        missed_s = gone_since_s.get(pod.spec.node_name)
        if pod.spec.node_name and node is None and missed_s is not None and now_s - missed_s >= quarantine_s:
            collected[pod.metadata.uid] = Collected(pod, True, "PodGC: node no longer exists")
        elif node is not None and pod.metadata.deleting and not node.ready and _out_of_service(node):
            collected[pod.metadata.uid] = Collected(pod, True, "PodGC: node is out-of-service")
        elif pod.metadata.deleting and not pod.spec.node_name:
            collected[pod.metadata.uid] = Collected(pod, False, "PodGC: terminating and never scheduled")
    ended = [pod for pod in pods if pod.terminal and pod.metadata.uid not in collected]
    ended.sort(key=lambda pod: (pod.metadata.creation_timestamp or _EPOCH, pod.metadata.name))
    for pod in ended[: max(len(ended) - threshold, 0)]:
        collected[pod.metadata.uid] = Collected(pod, False, "PodGC: too many terminated pods")
    return tuple(collected.values())


def missing_nodes(pods: Sequence[Pod], nodes: Collection[str]) -> tuple[str, ...]:
    """Nodes that pods name and that do not exist."""
    return tuple(sorted({pod.spec.node_name for pod in pods if pod.spec.node_name} - set(nodes)))


def _out_of_service(node: Node) -> bool:
    return any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
