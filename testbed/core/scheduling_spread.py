"""How evenly pods lie over topology domains: DoNotSchedule as a filter, ScheduleAnyway as a score.

A pod that says nothing is spread by upstream's default: over hosts (skew 3) and zones (skew 5), as a score only, among
the pods that its Services and its controller select. Terminating pods do not count.
Source: kubernetes pkg/scheduler/framework/plugins/podtopologyspread/{common,filtering,scoring}.go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from testbed.api.affinity import TopologySpreadConstraint
from testbed.api.labels import HOSTNAME, ZONE
from testbed.api.meta import LabelSelector
from testbed.core.node_affinity import selects
from testbed.core.scheduling_filters import Refusal
from testbed.core.scheduling_state import ClusterState, Kind, NodeInfo, PodInfo
from testbed.core.scheduling_terms import with_keys
from testbed.core.tolerations import first_intolerable

_SKEWED = Refusal(("node(s) didn't match pod topology spread constraints",), by_pods=True)
_UNLABELLED = Refusal(("node(s) didn't match pod topology spread constraints (missing required label)",))


class _Constraint:
    """A constraint of one pod. ``counts``: matching pods by domain."""

    def __init__(self, pod: PodInfo, given: TopologySpreadConstraint) -> None:
        self.key, self.max_skew, self.min_domains = given.topology_key, given.max_skew, given.min_domains or 1
        self.selector = with_keys(given.label_selector, pod.pod, given.match_label_keys)
        self._pod = pod.pod
        self._by_affinity = given.node_affinity_policy == "Honor"
        self._by_taints = given.node_taints_policy == "Honor"
        self.counts: Counter[str] = Counter()
        self._known: dict[Kind, bool] = {}

    def considers(self, node: NodeInfo) -> bool:
        if self._by_affinity and not selects(self._pod.spec, node.node):
            return False
        tolerations = self._pod.spec.tolerations
        return not self._by_taints or first_intolerable(
            node.node.spec.taints, tolerations, ("NoSchedule", "NoExecute")) is None

    def matching(self, node: NodeInfo) -> int:
        if self.selector is None or self.selector.empty:
            return 0
        return sum(count for kind, count in node.kinds.items() if self._matches(kind))

    def _matches(self, kind: Kind) -> bool:
        known = self._known.get(kind)
        if known is None:
            namespace, labels = kind
            known = self._known[kind] = (
                namespace == self._pod.metadata.namespace and self.selector is not None
                and self.selector.matches(dict(labels))
            )
        return known

    @property
    def own(self) -> int:
        return int(self.selector is not None and self.selector.matches(self._pod.metadata.labels))


class SpreadFilter:
    def __init__(self, pod: PodInfo, cluster: ClusterState) -> None:
        self._constraints = [
            _Constraint(pod, given) for given in pod.pod.spec.topology_spread_constraints
            if given.when_unsatisfiable == "DoNotSchedule"
        ]
        if not self._constraints:
            return
        for node in cluster.nodes.values():
            if not _labelled(node, self._constraints):
                continue
            for item in self._constraints:
                if item.considers(node):
                    item.counts[node.labels[item.key]] += item.matching(node)

    def refused(self, node: NodeInfo) -> Refusal | None:
        for item in self._constraints:
            domain = node.labels.get(item.key)
            if domain is None:
                return _UNLABELLED
            lowest = min(item.counts.values(), default=0) if len(item.counts) >= item.min_domains else 0
            if item.counts[domain] + item.own - lowest > item.max_skew:
                return _SKEWED
        return None


def _labelled(node: NodeInfo, constraints: Sequence[_Constraint]) -> bool:
    return all(item.key in node.labels for item in constraints)


def spread_scores(
    pod: PodInfo, nodes: Sequence[NodeInfo], cluster: ClusterState, default: LabelSelector | None
) -> dict[str, int]:
    """0 to 100 per node; empty when the pod is not to be spread. ``default``: what Services and controller select."""
    own = bool(pod.pod.spec.topology_spread_constraints)
    constraints = [_Constraint(pod, given) for given in _soft(pod, default)]
    if not constraints:
        return {}
    valid = [node for node in nodes if not own or _labelled(node, constraints)]
    weights = []
    for item in constraints:
        domains = {node.labels.get(item.key, "") for node in valid}
        weights.append(math.log((len(valid) if item.key == HOSTNAME else len(domains)) + 2))
        if item.key == HOSTNAME:
            continue
        for node in cluster.nodes.values():
            domain = node.labels.get(item.key, "")
            if domain in domains and selects(pod.pod.spec, node.node) and item.considers(node) and (
                not own or _labelled(node, constraints)
            ):
                item.counts[domain] += item.matching(node)
    raw = {node.name: _raw(node, constraints, weights) for node in valid}
    return _normalized(raw, nodes)


def _soft(pod: PodInfo, default: LabelSelector | None) -> list[TopologySpreadConstraint]:
    given = pod.pod.spec.topology_spread_constraints
    if given:
        return [item for item in given if item.when_unsatisfiable == "ScheduleAnyway"]
    if default is None or default.empty:
        return []
    return [
        TopologySpreadConstraint(max_skew=skew, topology_key=key, when_unsatisfiable="ScheduleAnyway",
                                 label_selector=default)
        for key, skew in ((HOSTNAME, 3), (ZONE, 5))
    ]


def _raw(node: NodeInfo, constraints: Sequence[_Constraint], weights: Sequence[float]) -> int:
    score = 0.0
    for item, weight in zip(constraints, weights, strict=True):
        if item.key in node.labels:
            count = item.matching(node) if item.key == HOSTNAME else item.counts[node.labels[item.key]]
            score += count * weight + (item.max_skew - 1)
    return round(score)


def _normalized(raw: dict[str, int], nodes: Sequence[NodeInfo]) -> dict[str, int]:
    """The fewest get 100; nodes without the labels get nothing."""
    scores = {node.name: 0 for node in nodes}
    if raw:
        lowest, highest = min(raw.values()), max(raw.values())
        for name, score in raw.items():
            scores[name] = 100 if highest == 0 else 100 * (highest + lowest - score) // highest
    return scores
