"""Where other pods are: required affinity and anti-affinity as a filter, the preferred ones as a score.

Source: kubernetes pkg/scheduler/framework/plugins/interpodaffinity/{filtering,scoring}.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from testbed.core.scheduling_filters import Refusal
from testbed.core.scheduling_state import ClusterState, NodeInfo, PodInfo
from testbed.core.scheduling_terms import Term

Domain = tuple[str, str]  # topology key and value
HARD_WEIGHT = 1  # of required affinity of pods that are there, towards one that comes

_AFFINITY = Refusal(("node(s) didn't match pod affinity rules",))
_ANTI_AFFINITY = Refusal(("node(s) didn't match pod anti-affinity rules",), by_pods=True)
_EXISTING = Refusal(("node(s) didn't satisfy existing pods anti-affinity rules",), by_pods=True)


class AffinityFilter:
    """Counts once over all pods, then answers for each node."""

    def __init__(self, pod: PodInfo, cluster: ClusterState) -> None:
        self._terms = pod.terms
        self._near: Counter[Domain] = Counter()
        self._far: Counter[Domain] = Counter()
        self._guarded: Counter[Domain] = Counter()
        spaces = cluster.namespaces
        for node in cluster.nodes.values():
            for other in node.affine.values():
                _count(self._guarded, node, (term for term in other.terms.anti_affinity
                                             if term.matches(pod.pod, spaces)))
            if not pod.terms.affinity and not pod.terms.anti_affinity:
                continue
            for other in node.pods.values():
                if pod.terms.affinity and all(term.matches(other.pod, spaces) for term in pod.terms.affinity):
                    _count(self._near, node, pod.terms.affinity)
                _count(self._far, node, (term for term in pod.terms.anti_affinity if term.matches(other.pod, spaces)))
        self._first_of_its_kind = not self._near and all(
            term.matches(pod.pod, spaces) for term in pod.terms.affinity
        )

    def refused(self, node: NodeInfo) -> Refusal | None:
        if self._terms.affinity and not self._beside(node):
            return _AFFINITY
        if any(self._far[domain] for domain in _domains(node, self._terms.anti_affinity)):
            return _ANTI_AFFINITY
        if self._guarded and any(self._guarded[item] for item in node.labels.items()):
            return _EXISTING
        return None

    def _beside(self, node: NodeInfo) -> bool:
        """All terms hold here. The first pod of a group that wants to be together may go anywhere."""
        domains = _domains(node, self._terms.affinity)
        if len(domains) < len(self._terms.affinity):
            return False
        return self._first_of_its_kind or all(self._near[domain] for domain in domains)


def affinity_scores(pod: PodInfo, nodes: Sequence[NodeInfo], cluster: ClusterState) -> dict[str, int]:
    """0 to 100 per node; empty when nobody prefers anything."""
    weights: Counter[Domain] = Counter()
    spaces = cluster.namespaces
    for node in cluster.nodes.values():
        for other in node.pods.values() if pod.terms.preferred else node.affine.values():
            for term in pod.terms.preferred:
                if term.matches(other.pod, spaces):
                    _weigh(weights, node, term, term.weight)
            for term in other.terms.preferred:
                if term.matches(pod.pod, spaces):
                    _weigh(weights, node, term, term.weight)
            for term in other.terms.affinity:
                if term.matches(pod.pod, spaces):
                    _weigh(weights, node, term, HARD_WEIGHT)
    if not weights:
        return {}
    raw = {node.name: sum(weights[item] for item in node.labels.items()) for node in nodes}
    lowest, highest = min(raw.values()), max(raw.values())
    if highest == lowest:
        return dict.fromkeys(raw, 0)
    return {name: int(100 * (score - lowest) / (highest - lowest)) for name, score in raw.items()}


def _weigh(weights: Counter[Domain], node: NodeInfo, term: Term, weight: int) -> None:
    for domain in _domains(node, (term,)):
        weights[domain] += weight


def _count(counts: Counter[Domain], node: NodeInfo, terms: Iterable[Term]) -> None:
    counts.update(_domains(node, terms))


def _domains(node: NodeInfo, terms: Iterable[Term]) -> list[Domain]:
    return [(term.topology_key, node.labels[term.topology_key]) for term in terms if term.topology_key in node.labels]
