"""Which of the fitting nodes is best: the sum of what the scoring rules give, by their weights.

Not here: ImageLocality, since nodes of this cluster share one store of images.
Source: kubernetes apis/config/v1/default_plugins.go (weights), plugins/{tainttoleration,nodeaffinity},
plugins/noderesources/{least_allocated,balanced_allocation}.go, plugins/helper/normalize_score.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from testbed.api.meta import LabelSelector
from testbed.core.node_affinity import term_selects
from testbed.core.scheduling_affinity import affinity_scores
from testbed.core.scheduling_spread import spread_scores
from testbed.core.scheduling_state import ZERO, ClusterState, NodeInfo, PodInfo
from testbed.core.tolerations import first_intolerable

WEIGHTS = {"taints": 3, "node affinity": 2, "spread": 2, "pod affinity": 2, "least": 1, "balanced": 1}


def scores(
    pod: PodInfo, nodes: Sequence[NodeInfo], cluster: ClusterState, default: LabelSelector | None
) -> dict[str, int]:
    parts = {
        "taints": _soft_taints(pod, nodes), "node affinity": _preferred_nodes(pod, nodes),
        "spread": spread_scores(pod, nodes, cluster, default), "pod affinity": affinity_scores(pod, nodes, cluster),
        "least": {node.name: _least_allocated(pod, node) for node in nodes},
        "balanced": {node.name: _balanced(pod, node) for node in nodes},
    }
    return {
        node.name: sum(weight * parts[part].get(node.name, 0) for part, weight in WEIGHTS.items()) for node in nodes
    }


def _soft_taints(pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
    counts = {
        node.name: sum(first_intolerable((taint,), pod.pod.spec.tolerations, ("PreferNoSchedule",)) is not None
                       for taint in node.node.spec.taints) for node in nodes
    }
    highest = max(counts.values())
    return {name: 100 if highest == 0 else 100 - 100 * count // highest for name, count in counts.items()}


def _preferred_nodes(pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
    affinity = pod.pod.spec.affinity.node_affinity if pod.pod.spec.affinity is not None else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity is not None else ()
    if not preferred:
        return {}
    weights = {node.name: sum(item.weight for item in preferred if term_selects(item.preference, node.node))
               for node in nodes}
    highest = max(weights.values())
    return {name: 0 if highest == 0 else 100 * weight // highest for name, weight in weights.items()}


def _least_allocated(pod: PodInfo, node: NodeInfo) -> int:
    found = [
        int((room - used) * 100 / room) if used <= room else 0
        for room, used in ((node.room.get("cpu", ZERO), node.cpu + pod.cpu),
                           (node.room.get("memory", ZERO), node.memory + pod.memory)) if room > 0
    ]
    return sum(found) // len(found) if found else 0


def _balanced(pod: PodInfo, node: NodeInfo) -> int:
    """The closer the used shares of CPU and memory, the better: of real requests only."""
    shares = [
        min((node.requested.get(name, ZERO) + pod.requests.get(name, ZERO)) / node.room[name], Decimal(1))
        for name in ("cpu", "memory") if node.room.get(name, ZERO) > 0
    ]
    deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else ZERO
    return int((1 - deviation) * 100)
