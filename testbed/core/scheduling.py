"""On which node a pod runs.

Decides: which nodes fit (unschedulable, node name, taints, selector and affinity, host ports, resources) and which of
them are best (spread over nodes, least allocated, balanced, preferred taints). Leaves to its loop: the choice among
equally good ones (randomness), the binding, when to try again. There is no preemption.

Source: kubernetes pkg/scheduler/framework/plugins/*, weights of apis/config/v1/default_plugins.go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from testbed.api.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, Pod
from testbed.api.meta import LabelSelectorRequirement
from testbed.core.quantities import Amounts, amounts, pod_requests
from testbed.core.tolerations import first_intolerable

DEFAULT_CPU = Decimal("0.1")  # of pods that ask for nothing, for scoring only (util/pod_resources.go)
DEFAULT_MEMORY = Decimal(200 * 1024 * 1024)
DEFAULT_MAX_PODS = Decimal(110)


@dataclass(frozen=True)
class SchedulePlan:
    """``candidates``: the equally best nodes, none when the pod fits nowhere; then ``message`` says why."""

    candidates: tuple[str, ...]
    message: str = ""


def plan(pod: Pod, nodes: Sequence[Node], placed: Iterable[Pod]) -> SchedulePlan:
    """
    Args:
        placed: all pods that have a node, terminating ones too: they take room until they are gone.
    """
    by_node: dict[str, list[Pod]] = {node.metadata.name: [] for node in nodes}
    for other in placed:
        if other.spec.node_name in by_node and not other.terminal:
            by_node[other.spec.node_name].append(other)
    fitting: list[Node] = []
    refusals: Counter[str] = Counter()
    for node in nodes:
        reasons = _refusals(pod, node, by_node[node.metadata.name])
        refusals.update(reasons)
        if not reasons:
            fitting.append(node)
    if not fitting:
        return SchedulePlan((), _explain(len(nodes), refusals))
    scores = _scores(pod, fitting, by_node)
    best = max(scores.values())
    return SchedulePlan(tuple(name for name, score in scores.items() if score == best))


def _explain(nodes: int, refusals: Counter[str]) -> str:
    if nodes == 0:
        return "no nodes available to schedule pods"
    parts = ", ".join(sorted(f"{count} {reason}" for reason, count in refusals.items()))
    return f"0/{nodes} nodes are available: {parts}."


# --- which nodes fit


def _refusals(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> list[str]:
    """Why not this node. Resources may give several reasons, everything else the first."""
    for check in _CHECKS:
        if reason := check(pod, node, neighbours):
            return [reason]
    return _lacking(pod, node, neighbours)


def _unschedulable(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> str:
    if not node.spec.unschedulable:
        return ""
    tolerated = any(
        item.operator == "Exists" and item.key in ("", "node.kubernetes.io/unschedulable")
        and item.effect in ("", "NoSchedule") for item in pod.spec.tolerations
    )
    return "" if tolerated else "node(s) were unschedulable"


def _tainted(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> str:
    taint = first_intolerable(node.spec.taints, pod.spec.tolerations, ("NoSchedule", "NoExecute"))
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}" if taint is not None else ""


def _unselected(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> str:
    labels = node.metadata.labels
    wanted = all(labels.get(key) == value for key, value in pod.spec.node_selector.items())
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    if required is not None:
        wanted = wanted and any(_term_matches(term, node) for term in required.node_selector_terms)
    return "" if wanted else "node(s) didn't match Pod's node affinity/selector"


def _port_taken(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> str:
    taken = {port for other in neighbours for port in _host_ports(other)}
    return "node(s) didn't have free ports for the requested pod ports" if taken & set(_host_ports(pod)) else ""


_CHECKS: tuple[Callable[[Pod, Node, Sequence[Pod]], str], ...] = (_unschedulable, _tainted, _unselected, _port_taken)


def _host_ports(pod: Pod) -> list[tuple[str, int]]:
    return [
        (port.protocol, port.host_port) for container in pod.spec.containers for port in container.ports
        if port.host_port
    ]


def _term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    """All requirements of a term; a term without any matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    return all(_requirement(item, node.metadata.labels) for item in term.match_expressions) and all(
        _requirement(item, {"metadata.name": node.metadata.name}) for item in term.match_fields
    )


def _requirement(item: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    return LabelSelectorRequirement(key=item.key, operator=item.operator, values=item.values).matches(labels)


def _lacking(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> list[str]:
    room = amounts(node.status.allocatable or node.status.capacity)
    reasons = ["Too many pods"] if len(neighbours) + 1 > room.get("pods", DEFAULT_MAX_PODS) else []
    wanted = {name: amount for name, amount in pod_requests(pod).items() if amount > 0}
    taken = _sum(pod_requests(other) for other in neighbours) if wanted else {}
    reasons += [
        f"Insufficient {name}" for name, amount in wanted.items()
        if amount > room.get(name, Decimal(0)) - taken.get(name, Decimal(0))
    ]
    return reasons


# --- which of them is best


def _scores(pod: Pod, nodes: Sequence[Node], by_node: Mapping[str, Sequence[Pod]]) -> dict[str, int]:
    siblings = {node.metadata.name: _siblings(pod, by_node[node.metadata.name]) for node in nodes}
    soft = {node.metadata.name: _soft_taints(pod, node) for node in nodes}
    scores = {}
    for node in nodes:
        name = node.metadata.name
        least, balanced = _allocation_scores(pod, node, by_node[name])
        scores[name] = 3 * _inverse(soft, name) + 2 * _inverse(siblings, name) + least + balanced
    return scores


def _siblings(pod: Pod, neighbours: Sequence[Pod]) -> int:
    """Pods of the same controller, by which replicas spread; terminating ones are on their way out."""
    owner = pod.metadata.controller
    return sum(
        owner is not None and not other.metadata.deleting and other.metadata.controller is not None
        and other.metadata.controller.uid == owner.uid for other in neighbours
    )


def _soft_taints(pod: Pod, node: Node) -> int:
    return sum(
        first_intolerable((taint,), pod.spec.tolerations, ("PreferNoSchedule",)) is not None
        for taint in node.spec.taints
    )


def _inverse(counts: Mapping[str, int], name: str) -> int:
    """100 for the fewest, less in proportion (podtopologyspread/scoring.go NormalizeScore)."""
    highest, lowest = max(counts.values()), min(counts.values())
    return 100 if highest == 0 else 100 * (highest + lowest - counts[name]) // highest


def _allocation_scores(pod: Pod, node: Node, neighbours: Sequence[Pod]) -> tuple[int, int]:
    """Least allocated and balanced allocation over cpu and memory, 0 to 100 each."""
    room = amounts(node.status.allocatable or node.status.capacity)
    used = _sum(_scoring_requests(item) for item in (*neighbours, pod))
    shares = []
    for name in ("cpu", "memory"):
        capacity = room.get(name, Decimal(0))
        if capacity > 0:
            shares.append(min(float(used.get(name, Decimal(0)) / capacity), 1.0))
    if not shares:
        return 0, 0
    mean = sum(shares) / len(shares)
    deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
    return int((1 - mean) * 100), int((1 - deviation) * 100)


def _scoring_requests(pod: Pod) -> Amounts:
    requests = pod_requests(pod)
    return {"cpu": requests.get("cpu") or DEFAULT_CPU, "memory": requests.get("memory") or DEFAULT_MEMORY}


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total
