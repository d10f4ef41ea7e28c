"""How many replicas one metric asks for, from what the pods use.

Not yet ready pods count as using nothing, and only when that keeps a growth small; pods without a measurement as
using nothing on the way up and all they asked for on the way down. What would turn the direction changes nothing.
Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go, metrics/utilization.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from testbed.api.autoscaling_v2 import MetricSpec, ResourceMetric
from testbed.api.core_v1 import Pod
from testbed.api.meta import quantity
from testbed.core.quantities import container_requests, quantity_text

TOLERANCE = Decimal("0.1")
CPU_INITIALIZATION = timedelta(minutes=5)
INITIAL_READINESS_DELAY = timedelta(seconds=30)
Json = dict[str, object]


@dataclass(frozen=True)
class PodUsage:
    """What one pod used, measured over ``window_s`` until ``at``: by container and resource, in cores and bytes."""

    at: datetime
    window_s: float
    containers: Mapping[str, Mapping[str, Decimal]]


class MetricError(Exception):
    """``reason``: of condition ScalingActive."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Proposal:
    replicas: int
    name: str
    status: Json


@dataclass
class Groups:
    """``ready``: how many of those that were measured are to be counted with."""

    ready: int = 0
    unready: list[Pod] = field(default_factory=list)
    missing: list[Pod] = field(default_factory=list)
    measured: dict[str, Decimal] = field(default_factory=dict)

    def sort_in(self, pod: Pod, amount: Decimal | None, *, young: bool = False) -> None:
        """``young``: its measurement says nothing yet."""
        if pod.metadata.deleting or pod.status.phase == "Failed":
            return
        if pod.status.phase == "Pending":
            self.unready.append(pod)
        elif amount is None:
            self.missing.append(pod)
        elif young:
            self.unready.append(pod)
        else:
            self.ready += 1
            self.measured[pod.metadata.name] = amount


def propose(
    spec: MetricSpec, replicas: int, pods: Sequence[Pod], usages: Mapping[str, PodUsage], now: datetime
) -> Proposal:
    """
    Args:
        replicas: what the target is to have now.
        pods: all that the target's selector matches.
        usages: by pod name.
    Raises: MetricError.
    """
    metric = spec.resource if spec.type == "Resource" else spec.container_resource
    if metric is None or spec.type not in ("Resource", "ContainerResource"):
        raise MetricError("InvalidMetricSourceType", f'unknown metric source type "{spec.type}"')
    reason = f"FailedGet{spec.type}Metric"
    if not pods:
        raise MetricError(reason, "no pods returned by selector while calculating replica count")
    groups = Groups()
    for pod in pods:
        usage = usages.get(pod.metadata.name)
        amount = _used(metric, usage) if usage is not None else None
        young = metric.name == "cpu" and usage is not None and _not_ready_yet(pod, usage, now)
        groups.sort_in(pod, amount, young=young)
    if not groups.measured:
        raise MetricError(reason, f"failed to get {metric.name} utilization: did not receive metrics for targeted pods "
                                  "(pods might be unready)")
    target = metric.target
    name = f"{metric.name} {'container ' if metric.container else ''}resource"
    if target.average_utilization is not None:
        asked = {pod.metadata.name: _request(pod, metric, reason) for pod in pods}
        share = Decimal(target.average_utilization) / 100
        full = {pod: amount * max(share, Decimal(1)) for pod, amount in asked.items()}
        wanted = wanted_replicas(replicas, groups, {pod: amount * share for pod, amount in asked.items()}, full)
        name += " utilization (percentage of request)"
    elif target.average_value is not None:
        each = quantity(target.average_value)
        same = {pod.metadata.name: each for pod in pods}
        asked = {}
        wanted = wanted_replicas(replicas, groups, same, same)
    else:
        raise MetricError(reason, "invalid resource metric source: neither an average utilization target nor an "
                                  "average value (usage) target was set")
    return Proposal(wanted, name, _status(spec, metric, groups, asked))


def _status(spec: MetricSpec, metric: ResourceMetric, groups: Groups, asked: Mapping[str, Decimal]) -> Json:
    used = sum(groups.measured.values(), Decimal(0))
    current: Json = {"averageValue": quantity_text(metric.name, used / len(groups.measured))}
    total = sum((asked[name] for name in groups.measured if name in asked), Decimal(0))
    if total:
        current["averageUtilization"] = int(used * 100 / total)
    body: Json = {"name": metric.name, "current": current}
    if metric.container:
        body["container"] = metric.container
    return {"type": spec.type, "resource" if spec.type == "Resource" else "containerResource": body}


def _request(pod: Pod, metric: ResourceMetric, reason: str) -> Decimal:
    total = Decimal(0)
    sidecars = (item for item in pod.spec.init_containers if item.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        if metric.container in ("", container.name):
            amount = container_requests(container).get(metric.name)
            if amount is None:
                raise MetricError(reason, f"failed to get {metric.name} utilization: missing request for "
                                          f"{metric.name} in container {container.name} of Pod {pod.metadata.name}")
            total += amount
    return total


def _used(metric: ResourceMetric, usage: PodUsage) -> Decimal | None:
    if metric.container:
        return usage.containers.get(metric.container, {}).get(metric.name)
    amounts = [used.get(metric.name) for used in usage.containers.values()]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


def _not_ready_yet(pod: Pod, usage: PodUsage, now: datetime) -> bool:
    """Work of starting up says nothing about load."""
    condition, started = pod.condition("Ready"), pod.status.start_time
    if condition is None or started is None:
        return True
    changed = condition.last_transition_time or started
    if started + CPU_INITIALIZATION > now:
        return condition.status == "False" or usage.at < changed + timedelta(seconds=usage.window_s)
    return condition.status == "False" and started + INITIAL_READINESS_DELAY > changed


def wanted_replicas(
    current: int, groups: Groups, target: Mapping[str, Decimal], full: Mapping[str, Decimal]
) -> int:
    """``target``: what each pod should use; ``full``: what one without a measurement counts for on the way down."""
    measured = dict(groups.measured)
    ratio = _ratio(measured, target)
    growing = ratio > 1
    if not groups.missing and not (groups.unready and growing):
        return current if abs(1 - ratio) <= TOLERANCE else math.ceil(ratio * groups.ready)
    for pod in groups.missing:
        if ratio < 1:
            measured[pod.metadata.name] = full[pod.metadata.name]
        elif growing:
            measured[pod.metadata.name] = Decimal(0)
    if growing:
        measured |= {pod.metadata.name: Decimal(0) for pod in groups.unready}
    again = _ratio(measured, target)
    if abs(1 - again) <= TOLERANCE or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    wanted = math.ceil(again * len(measured))
    turned = (again < 1 and wanted > current) or (again > 1 and wanted < current)
    return current if turned else wanted


def _ratio(measured: Mapping[str, Decimal], target: Mapping[str, Decimal]) -> Decimal:
    wanted = sum((target[name] for name in measured), Decimal(0))
    return sum(measured.values(), Decimal(0)) / wanted if wanted else Decimal(1)
