"""How many replicas a HorizontalPodAutoscaler wants now: the largest proposal, held back by windows and rates.

Source: kubernetes pkg/controller/podautoscaler/horizontal.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.autoscaling_v2 import Autoscaler, ScalingRules
from testbed.api.core_v1 import Pod
from testbed.core.named_metrics import Reading, propose_named
from testbed.core.pod_metrics import MetricError, PodUsage, Proposal, propose

DOWN_WINDOW_S = 300.0
UP_FACTOR, UP_MINIMUM = 2, 4  # of an autoscaler without behavior
_WITHIN = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY = ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
_UP_LIMIT = ("True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT = ("True", "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_LOWER = "recent recommendations were lower than current one, applying the lowest recent recommendation"
_HIGHER = "recent recommendations were higher than current one, applying the highest recent recommendation"
Saying = tuple[str, str, str]  # status, reason, message


@dataclass(frozen=True)
class Memory:
    """What an autoscaler remembers: (seconds, replicas) of recommendations, (seconds, change) of its own scalings."""

    recommendations: tuple[tuple[float, int], ...] = ()
    scalings: tuple[tuple[float, int], ...] = ()

    def scaled(self, now_s: float, change: int, *, keep_s: float = 1800.0) -> Memory:
        recent = tuple(item for item in self.scalings if item[0] > now_s - keep_s)
        return Memory(self.recommendations, (*recent, (now_s, change)))


@dataclass(frozen=True)
class ScalePlan:
    """``conditions``: by type, in upstream's words; ``failed``: nothing could be computed."""

    replicas: int
    reason: str
    conditions: Mapping[str, Saying]
    metrics: tuple[dict[str, Any], ...]
    memory: Memory
    failed: str = ""


@dataclass(frozen=True)
class Measured:
    """``usages`` by pod name; ``readings``: one per metric, None for resources; ``observed``: replicas by the target's
    status."""

    usages: Mapping[str, PodUsage]
    readings: tuple[Reading | None, ...]
    observed: int


def plan(
    scaler: Autoscaler, current: int, pods: Sequence[Pod], measured: Measured, memory: Memory, now: datetime,
    now_s: float,
) -> ScalePlan:
    """
    Args:
        current: ``spec.replicas`` of the target.
        now_s: of a clock that nobody sets; windows and rates go by it.
    """
    spec = scaler.spec
    if not memory.recommendations:
        memory = Memory(((now_s, current),), memory.scalings)
    able: Saying = ("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    if current == 0 and spec.min_replicas != 0:
        disabled = ("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
        return ScalePlan(0, "", {"AbleToScale": able, "ScalingActive": disabled}, (), memory)
    if current > spec.max_replicas:
        return ScalePlan(spec.max_replicas, "Current number of replicas above Spec.MaxReplicas",
                         {"AbleToScale": able}, (), memory)
    if current < spec.min_replicas:
        return ScalePlan(spec.min_replicas, "Current number of replicas below Spec.MinReplicas",
                         {"AbleToScale": able}, (), memory)
    proposals, errors = _proposals(scaler, current, pods, measured, now)
    statuses = tuple(item.status for item in proposals)
    best = max(proposals, key=lambda item: item.replicas, default=None)
    if best is None or (errors and best.replicas < current):
        told = f"invalid metrics ({len(errors)} invalid out of {len(spec.metrics)}), first error is: {errors[0]}"
        inactive = ("False", errors[0].reason, f"the HPA was unable to compute the replica count: {errors[0]}")
        return ScalePlan(current, "", {"AbleToScale": able, "ScalingActive": inactive}, statuses, memory, told)
    active = ("True", "ValidMetricFound",
              f"the HPA was able to successfully calculate a replica count from {best.name}")
    held, able, memory = _stabilized(scaler, current, best.replicas, memory, now_s)
    wanted, limited = _limited(scaler, current, held, memory, now_s)
    reason = f"{best.name} above target" if wanted > current else "All metrics below target"
    return ScalePlan(wanted, reason, {"AbleToScale": able, "ScalingActive": active, "ScalingLimited": limited},
                     statuses, memory)


def _proposals(
    scaler: Autoscaler, current: int, pods: Sequence[Pod], measured: Measured, now: datetime
) -> tuple[list[Proposal], list[MetricError]]:
    found: list[Proposal] = []
    errors: list[MetricError] = []
    for metric, reading in zip(scaler.spec.metrics, measured.readings, strict=True):
        named = metric.named
        try:
            if named is not None and reading is not None:
                found.append(propose_named(metric, named, current, measured.observed, pods, reading))
            else:
                found.append(propose(metric, current, pods, measured.usages, now))
        except MetricError as error:
            errors.append(error)
    return found, errors


def _stabilized(
    scaler: Autoscaler, current: int, wanted: int, memory: Memory, now_s: float
) -> tuple[int, Saying, Memory]:
    """Up to the lowest recommendation of the one window, down to the highest of the other."""
    behavior = scaler.spec.behavior
    up_s = down_s = DOWN_WINDOW_S
    if behavior is not None:
        up_s = float(behavior.scale_up.stabilization_window_seconds or 0)
        given = behavior.scale_down.stabilization_window_seconds
        down_s = DOWN_WINDOW_S if given is None else float(given)
    recent = memory.recommendations
    highest = max([wanted, *(count for at, count in recent if at > now_s - down_s)])
    held = highest
    if behavior is not None:
        lowest = min([wanted, *(count for at, count in recent if at > now_s - up_s)])
        held = min(max(current, lowest), highest)
    kept = tuple(item for item in recent if item[0] > now_s - max(up_s, down_s))
    memory = Memory((*kept, (now_s, wanted)), memory.scalings)
    if held == wanted:
        return held, ("True", "ReadyForNewScale", "recommended size matches current size"), memory
    if behavior is not None and wanted >= current:
        return held, ("True", "ScaleUpStabilized", _LOWER), memory
    return held, ("True", "ScaleDownStabilized", _HIGHER), memory


def _limited(scaler: Autoscaler, current: int, wanted: int, memory: Memory, now_s: float) -> tuple[int, Saying]:
    spec = scaler.spec
    if spec.behavior is None:
        fastest = max(UP_FACTOR * current, UP_MINIMUM)
        if wanted < spec.min_replicas:
            return spec.min_replicas, _TOO_FEW
        if wanted > min(spec.max_replicas, fastest):
            return min(spec.max_replicas, fastest), _UP_LIMIT if fastest < spec.max_replicas else _TOO_MANY
        return wanted, _WITHIN
    if wanted > current:
        fastest = max(_fastest_up(spec.behavior.scale_up, current, memory, now_s), current)
        if wanted > min(fastest, spec.max_replicas):
            return min(fastest, spec.max_replicas), _UP_LIMIT if fastest < spec.max_replicas else _TOO_MANY
    elif wanted < current:
        fastest = min(_fastest_down(spec.behavior.scale_down, current, memory, now_s), current)
        if wanted < max(fastest, spec.min_replicas):
            return max(fastest, spec.min_replicas), _DOWN_LIMIT if fastest > spec.min_replicas else _TOO_FEW
    return wanted, _WITHIN


def _at_start(current: int, period_s: float, memory: Memory, now_s: float) -> int:
    """Replicas before what was scaled within the last ``period_s``."""
    return current - sum(change for at, change in memory.scalings if at > now_s - period_s)


def _fastest_up(rules: ScalingRules, current: int, memory: Memory, now_s: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    bounds = []
    for policy in rules.policies:
        start = _at_start(current, policy.period_seconds, memory, now_s)
        bounds.append(start + policy.value if policy.type == "Pods" else math.ceil(start * (100 + policy.value) / 100))
    return min(bounds) if rules.select_policy == "Min" else max(bounds)


def _fastest_down(rules: ScalingRules, current: int, memory: Memory, now_s: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    bounds = []
    for policy in rules.policies:
        start = _at_start(current, policy.period_seconds, memory, now_s)
        bounds.append(start - policy.value if policy.type == "Pods" else int(start * (100 - policy.value) / 100))
    return max(bounds) if rules.select_policy == "Min" else min(bounds)
