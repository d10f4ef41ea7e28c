"""How many pods of a PodDisruptionBudget may be evicted now.

Source: kubernetes pkg/controller/disruption/disruption.go. The eviction itself is judged by the API server, by the
numbers written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.meta import format_time, scaled
from testbed.api.policy_v1 import DisruptionBudget
from testbed.core.conditions import with_condition
from testbed.core.reasons import Note

DELETION_TIMEOUT = timedelta(minutes=2)  # after it, an evicted pod that is still there counts as healthy again


@dataclass(frozen=True)
class BudgetPlan:
    """``status`` as JSON; ``requeue_after_s``: when an evicted pod's time is over."""

    status: dict[str, Any]
    requeue_after_s: float | None
    reason: str
    notes: tuple[Note, ...] = ()


def plan(
    budget: DisruptionBudget, current: Mapping[str, Any], pods: Sequence[Pod], scales: Mapping[str, int], now: datetime
) -> BudgetPlan:
    """
    Args:
        current: the present status as JSON.
        pods: all that the budget's selector matches and that have not ended.
        scales: desired replicas of every controller of those pods, by its UID.
    """
    if (failed := _failed(budget, pods, scales)) is not None:
        return _without_a_number(budget, current, failed, now)
    expected, desired = _bounds(budget, pods, scales)
    disrupted, wait_s = _disrupted(budget, pods, now)
    healthy = sum(pod.ready and not pod.metadata.deleting and pod.metadata.name not in disrupted for pod in pods)
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status: dict[str, Any] = {
        "observedGeneration": budget.metadata.generation, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": expected,
        "conditions": list(with_condition(
            current.get("conditions") or (), "DisruptionAllowed", "True" if allowed else "False", reason, "", now
        )),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    return BudgetPlan(status, wait_s, reason, _notes(budget, pods))


def _by_scale(budget: DisruptionBudget) -> bool:
    """Whether it is about what controllers want, not about how many pods there are."""
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


def _failed(budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, int]) -> str | None:
    """Why nobody knows how many pods there should be."""
    if not _by_scale(budget):
        return None
    for pod in pods:
        owner = pod.metadata.controller
        if owner is not None and owner.uid not in scales:
            return f"{owner.kind} {owner.name} does not implement the scale subresource"
    return None


def _without_a_number(
    budget: DisruptionBudget, current: Mapping[str, Any], failed: str, now: datetime
) -> BudgetPlan:
    """Nothing may be disrupted then (kubernetes: failSafe)."""
    status = {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, **current,
              "observedGeneration": budget.metadata.generation, "disruptionsAllowed": 0,
              "conditions": list(with_condition(current.get("conditions") or (), "DisruptionAllowed", "False",
                                                "SyncFailed", failed, now))}
    told = f"Failed to calculate the number of expected pods: {failed}"
    return BudgetPlan(status, None, "SyncFailed", (Note("CalculateExpectedPodCountFailed", told, "Warning"),))


def _notes(budget: DisruptionBudget, pods: Sequence[Pod]) -> tuple[Note, ...]:
    if not pods:
        return (Note("NoPods", "No matching pods found"),)
    if not _by_scale(budget) or all(pod.metadata.controller is not None for pod in pods):
        return ()
    selector = budget.spec.selector
    told = ("Pods selected by this PodDisruptionBudget (selector: "
            f"{selector.json_value() if selector is not None else '<none>'}) were found to be unmanaged. As a result, "
            "the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account "
            'for these pods please set ".spec.minAvailable" field of the PDB to an integer value.')
    return (Note("UnmanagedPods", told, "Warning"),)


def _bounds(budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, int]) -> tuple[int, int]:
    """Expected pods and how many must stay healthy. Percentages are of what the controllers want, rounded up."""
    minimum, maximum = budget.spec.min_available, budget.spec.max_unavailable
    owners = {pod.metadata.controller.uid for pod in pods if pod.metadata.controller is not None}
    wanted = sum(scales.get(uid, 0) for uid in owners)
    if maximum is not None:
        return wanted, max(wanted - scaled(maximum, wanted, round_up=True), 0)
    if isinstance(minimum, int):
        return len(pods), minimum
    if minimum is not None:
        return wanted, scaled(minimum, wanted, round_up=True)
    return len(pods), 1  # kubernetes: an empty budget behaves as minAvailable 1


def _disrupted(
    budget: DisruptionBudget, pods: Sequence[Pod], now: datetime
) -> tuple[dict[str, str], float | None]:
    """Pods that were evicted and not yet seen terminating, as the API server noted them."""
    kept: dict[str, str] = {}
    wait_s = None
    names = {pod.metadata.name for pod in pods if not pod.metadata.deleting}
    for name, moment in budget.status.disrupted_pods.items():
        left_s = (moment + DELETION_TIMEOUT - now).total_seconds()
        if name in names and left_s > 0:
            kept[name] = format_time(moment)
            wait_s = left_s if wait_s is None else min(wait_s, left_s)
    return kept, wait_s


def stale_in_s(pod: Pod, now: datetime) -> float | None:
    """Seconds until a pod that was to be disrupted, and is not, is not marked for it any longer; None: not marked."""
    condition = pod.condition("DisruptionTarget")
    if condition is None or condition.status != "True" or not pod.active or condition.last_transition_time is None:
        return None
    return max((condition.last_transition_time + DELETION_TIMEOUT - now).total_seconds(), 0.0)
