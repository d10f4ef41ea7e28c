"""On which node a pod runs.

Decides: which nodes fit (``scheduling_filters``, ``scheduling_affinity``, ``scheduling_spread``), which of them are
best (``scheduling_scores``), and whom to preempt when none fits (``preemption``). Leaves to its loop: the choice among
equally good ones (randomness), the binding, the evictions, when to try again.

Source: kubernetes pkg/scheduler/schedule_one.go, framework/types.go FitError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.api.core_v1 import Pod
from testbed.api.meta import LabelSelector
from testbed.api.policy_v1 import DisruptionBudget
from testbed.core import preemption
from testbed.core.preemption import Preemption
from testbed.core.scheduling_affinity import AffinityFilter
from testbed.core.scheduling_filters import Refusal, refused
from testbed.core.scheduling_scores import scores
from testbed.core.scheduling_spread import SpreadFilter
from testbed.core.scheduling_state import ClusterState, NodeInfo, PodInfo, info_of
from testbed.core.volume_scheduling import VolumeNeeds


@dataclass(frozen=True)
class SchedulePlan:
    """``candidates``: the equally best nodes, none when the pod fits nowhere; then ``message`` says why.

    ``preemption``: whom to evict first. ``nominated``: the node on which room is being made, afterwards.
    """

    candidates: tuple[str, ...]
    message: str = ""
    preemption: Preemption | None = None
    nominated: str = ""


def plan(
    pod: Pod, cluster: ClusterState, *, spread_by: LabelSelector | None = None,
    budgets: Sequence[DisruptionBudget] = (), volumes: VolumeNeeds | None = None,
) -> SchedulePlan:
    """
    Args:
        cluster: all nodes with all pods that have one. ``pod`` is not among them.
        volumes: of a pod with claims.
        spread_by: what the pod's Services and controller select, for pods without constraints of their own.
    """
    if volumes is not None and volumes.blocked:
        return SchedulePlan((), _blocked(volumes.blocked, len(cluster.nodes)),
                            nominated=pod.status.nominated_node_name)
    info = info_of(pod)
    check = _Check(info, cluster, volumes)
    nominated = cluster.nodes.get(pod.status.nominated_node_name)
    if nominated is not None and check.refused(nominated) is None:
        return SchedulePlan((nominated.name,))
    fitting: list[NodeInfo] = []
    refusals: dict[str, Refusal] = {}
    for node in cluster.nodes.values():
        refusal = check.refused(node)
        if refusal is None:
            fitting.append(node)
        else:
            refusals[node.name] = refusal
    if not fitting:
        return _preempting(info, cluster, refusals, budgets, volumes)
    if len(fitting) == 1:
        return SchedulePlan((fitting[0].name,))
    found = scores(info, fitting, cluster, spread_by)
    best = max(found.values())
    return SchedulePlan(tuple(sorted(name for name, score in found.items() if score == best)))


class _Check:
    """Whether a pod fits, with and without the pods for which room is being made."""

    def __init__(self, pod: PodInfo, cluster: ClusterState, volumes: VolumeNeeds | None = None) -> None:
        self._pod, self._cluster, self._volumes = pod, cluster, volumes
        self._spread, self._affinity = SpreadFilter(pod, cluster), AffinityFilter(pod, cluster)

    def refused(self, node: NodeInfo) -> Refusal | None:
        waiting = self._cluster.nominated_on(node.name, self._pod)
        if waiting:
            fuller = node.copy()
            for other in waiting:
                fuller.add(other)
            refusal = _Check(self._pod, self._cluster.with_node(fuller), self._volumes)._refused_now(fuller)
            if refusal is not None:
                return refusal
        return self._refused_now(node)

    def _refused_now(self, node: NodeInfo) -> Refusal | None:
        of_volumes = self._volumes.refused(node.node) if self._volumes is not None else None
        return refused(self._pod, node) or of_volumes or self._spread.refused(node) or self._affinity.refused(node)


def _blocked(reason: str, nodes: int) -> str:
    """Upstream's words where a pod fits nowhere whatever the node (PreFilter)."""
    start = f"0/{nodes} nodes are available:"
    return f"{start} {reason}. preemption: {start} {nodes} Preemption is not helpful for scheduling."


def _preempting(
    pod: PodInfo, cluster: ClusterState, refusals: Mapping[str, Refusal], budgets: Sequence[DisruptionBudget],
    volumes: VolumeNeeds | None,
) -> SchedulePlan:
    def fits(pod: PodInfo, cluster: ClusterState, node: NodeInfo) -> Refusal | None:
        return _Check(pod, cluster, volumes).refused(node)

    if not refusals:
        return SchedulePlan((), "no nodes available to schedule pods")
    message = _explain(refusals.values())
    outcome = preemption.plan(pod, cluster, refusals, budgets, fits)
    if outcome.chosen is not None:
        return SchedulePlan((), message, outcome.chosen, outcome.chosen.node)
    if outcome.ineligible:
        return SchedulePlan((), f"{message} preemption: {outcome.ineligible}",
                            nominated=pod.pod.status.nominated_node_name)
    return SchedulePlan((), f"{message} preemption: {_explain((outcome.refusals or {}).values())}")


def _explain(refusals: Iterable[Refusal]) -> str:
    found = list(refusals)
    reasons = Counter(reason for refusal in found for reason in refusal.reasons)
    parts = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{len(found)} nodes are available: {parts}."
