"""Which pods must go so that a more important one fits: on the node where it costs least.

Victims are only pods of lower priority. On each node all of them are thought away; if the pod fits then, they are
reprieved one by one, those first whose PodDisruptionBudget allows no disruption, the most important first.
Source: kubernetes pkg/scheduler/framework/preemption/preemption.go, plugins/defaultpreemption/default_preemption.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from testbed.api.core_v1 import Pod
from testbed.api.policy_v1 import DisruptionBudget
from testbed.core.scheduling_filters import Refusal
from testbed.core.scheduling_state import ClusterState, NodeInfo, PodInfo

REASON = "PreemptionByScheduler"
NOT_HELPFUL = Refusal(("Preemption is not helpful for scheduling",))
NO_VICTIMS = Refusal(("No preemption victims found for incoming pod",))
_NEVER = datetime.max.replace(tzinfo=UTC)

Check = Callable[[PodInfo, ClusterState, NodeInfo], Refusal | None]


@dataclass(frozen=True)
class Preemption:
    """``victims``: the most important first."""

    node: str
    victims: tuple[Pod, ...]
    violations: int = 0


@dataclass(frozen=True)
class PreemptionPlan:
    """``chosen``, or by node why nothing helps; ``ineligible``: why the pod may not even try."""

    chosen: Preemption | None = None
    refusals: Mapping[str, Refusal] | None = None
    ineligible: str = ""


def plan(
    pod: PodInfo, cluster: ClusterState, refusals: Mapping[str, Refusal], budgets: Sequence[DisruptionBudget],
    check: Check,
) -> PreemptionPlan:
    """
    Args:
        refusals: why the pod fits nowhere, by node.
        check: whether a pod fits a node in a state of the cluster.
    """
    if pod.pod.spec.preemption_policy == "Never":
        return PreemptionPlan(ineligible="not eligible due to preemptionPolicy=Never.")
    if _is_making_room(pod, cluster, refusals):
        return PreemptionPlan(ineligible="not eligible due to terminating pod on the nominated node.")
    found: list[Preemption] = []
    failures: dict[str, Refusal] = {}
    for name, refusal in refusals.items():
        if not refusal.by_pods:
            failures[name] = NOT_HELPFUL
            continue
        outcome = _on_node(pod, cluster, cluster.nodes[name], budgets, check)
        if isinstance(outcome, Preemption):
            found.append(outcome)
        else:
            failures[name] = outcome
    if not found:
        return PreemptionPlan(refusals=failures)
    return PreemptionPlan(min(found, key=_cost))


def _is_making_room(pod: PodInfo, cluster: ClusterState, refusals: Mapping[str, Refusal]) -> bool:
    """Its victims are on their way out."""
    name = pod.pod.status.nominated_node_name
    if name not in cluster.nodes or name not in refusals or not refusals[name].by_pods:
        return False
    return any(
        other.priority < pod.priority and other.pod.metadata.deleting and _preempted(other.pod)
        for other in cluster.nodes[name].pods.values()
    )


def _preempted(pod: Pod) -> bool:
    condition = pod.condition("DisruptionTarget")
    return condition is not None and condition.status == "True" and condition.reason == REASON


def _on_node(
    pod: PodInfo, cluster: ClusterState, node: NodeInfo, budgets: Sequence[DisruptionBudget], check: Check
) -> Preemption | Refusal:
    lower = sorted((other for other in node.pods.values() if other.priority < pod.priority), key=_importance)
    if not lower:
        return NO_VICTIMS
    trial = node.copy()
    for other in lower:
        trial.remove(other.uid)
    if (refusal := check(pod, cluster.with_node(trial), trial)) is not None:
        return refusal
    victims: list[PodInfo] = []
    violations = 0
    protected = _violating(lower, budgets)
    for group in (True, False):
        for other in lower:
            if (other.uid in protected) is not group:
                continue
            trial.add(other)
            if check(pod, cluster.with_node(trial), trial) is not None:
                trial.remove(other.uid)
                victims.append(other)
                violations += group
    return Preemption(node.name, tuple(item.pod for item in sorted(victims, key=_importance)), violations)


def _importance(info: PodInfo) -> tuple[int, datetime]:
    return -info.priority, info.pod.status.start_time or _NEVER


def _violating(pods: Sequence[PodInfo], budgets: Sequence[DisruptionBudget]) -> set[str]:
    """UIDs of the pods whose going a budget does not allow, if they all went in this order."""
    left = [budget.status.disruptions_allowed for budget in budgets]
    found = set()
    for info in pods:
        meta = info.pod.metadata
        for index, budget in enumerate(budgets):
            selector = budget.spec.selector
            if budget.metadata.namespace != meta.namespace or not meta.labels or selector is None or selector.empty \
                    or not selector.matches(meta.labels) or meta.name in budget.status.disrupted_pods:
                continue
            left[index] -= 1
            if left[index] < 0:
                found.add(info.uid)
    return found


def _cost(one: Preemption) -> tuple[int, int, int, int, float, str]:
    """Fewest violated budgets, least important top victim, lowest sum, fewest pods, latest start of the top ones."""
    priorities = [pod.spec.priority for pod in one.victims]
    top = max(priorities, default=-(2**31))
    started = min((pod.status.start_time or _NEVER for pod in one.victims if pod.spec.priority == top),
                  default=_NEVER)
    # Each priority is shifted to be positive, so that few victims of low priority cost less than many of them.
    return (one.violations, top, sum(value + 2**31 for value in priorities), len(priorities), -started.timestamp(),
            one.node)
