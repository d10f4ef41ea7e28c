"""How many replicas a metric asks for that is not CPU or memory: of the pods, of one object, of something outside.

What the metrics are is read elsewhere (``promql`` says with which query); here they are numbers, or why there is none.
Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go (calcPlainMetricReplicas, GetObjectMetricReplicas,
GetObjectPerPodMetricReplicas, GetExternalMetricReplicas), horizontal.go (computeStatusFor...Metric).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from testbed.api.autoscaling_v2 import MetricSpec, NamedMetric
from testbed.api.core_v1 import Pod
from testbed.api.meta import quantity
from testbed.core.pod_metrics import TOLERANCE, Groups, Json, MetricError, Proposal, wanted_replicas
from testbed.core.quantities import quantity_text


@dataclass(frozen=True)
class Reading:
    """Of one metric: ``pods`` by name, or ``total`` of what is no pod. ``failed``: why nothing could be read."""

    pods: Mapping[str, Decimal] = field(default_factory=dict)
    total: Decimal = Decimal(0)
    failed: str = ""


def propose_named(
    spec: MetricSpec, metric: NamedMetric, replicas: int, observed: int, pods: Sequence[Pod], reading: Reading
) -> Proposal:
    """
    Args:
        replicas: what the target is to have now; observed: what it has by its status.
        pods: all that the target's selector matches.
    Raises: MetricError.
    """
    reason = f"FailedGet{spec.type}Metric"
    if reading.failed:
        raise MetricError(reason, f"failed to get {_word(spec)} metric value: unable to get metric "
                                  f"{metric.metric.name}: {reading.failed}")
    if spec.type == "Pods":
        return _of_pods(spec, metric, replicas, pods, reading, reason)
    return _of_one(spec, metric, replicas, observed, pods, reading.total, reason)


def _word(spec: MetricSpec) -> str:
    return spec.type.lower()


def _of_pods(
    spec: MetricSpec, metric: NamedMetric, replicas: int, pods: Sequence[Pod], reading: Reading, reason: str
) -> Proposal:
    each, name = quantity(metric.target.average_value or 0), metric.metric.name
    if not pods:
        raise MetricError(reason, "no pods returned by selector while calculating replica count")
    groups = Groups()
    for pod in pods:
        groups.sort_in(pod, reading.pods.get(pod.metadata.name))
    if not groups.measured:
        raise MetricError(reason, f"failed to get pods metric value: unable to get metric {name}: no metrics returned "
                                  "matched known pods")
    same = {pod.metadata.name: each for pod in pods}
    wanted = wanted_replicas(replicas, groups, same, same)
    average = sum(groups.measured.values(), Decimal(0)) / len(groups.measured)
    return Proposal(wanted, f"pods metric {name}", _status(spec, metric, {"averageValue": _text(average)}))


def _of_one(
    spec: MetricSpec, metric: NamedMetric, replicas: int, observed: int, pods: Sequence[Pod], total: Decimal,
    reason: str,
) -> Proposal:
    target = metric.target
    kind = metric.described_object.kind if spec.type == "Object" else "external"
    name = f"{kind} metric {metric.metric.name}"
    if target.average_value is not None:
        each = quantity(target.average_value)
        wanted = observed
        if not observed or abs(1 - total / (each * observed)) > TOLERANCE:
            wanted = math.ceil(total / each)
        average = _text(total / observed) if observed else _text(Decimal(0))
        return Proposal(wanted, name, _status(spec, metric, {"averageValue": average}))
    if target.value is None:
        raise MetricError(reason, f"invalid {_word(spec)} metric source: neither a value target nor an average value "
                                  "target was set")
    ratio = total / quantity(target.value)
    if not replicas:
        wanted = math.ceil(ratio)
    elif abs(1 - ratio) <= TOLERANCE:
        wanted = replicas
    else:
        ready = sum(pod.status.phase == "Running" and pod.ready for pod in pods)
        wanted = math.ceil(ratio * ready)
    return Proposal(wanted, name, _status(spec, metric, {"value": _text(total)}))


def _status(spec: MetricSpec, metric: NamedMetric, current: Json) -> Json:
    identity: Json = {"name": metric.metric.name}
    if metric.metric.selector is not None:
        identity["selector"] = metric.metric.selector.json_value()
    body: Json = {"metric": identity, "current": current}
    if spec.type == "Object":
        body["describedObject"] = metric.described_object.json_value()
    return {"type": spec.type, spec.type.lower(): body}


def _text(amount: Decimal) -> str:
    """Whole or in thousandths, as the autoscaler reads metrics."""
    return quantity_text("cpu", Decimal(math.ceil(amount * 1000)) / 1000)
