"""Group autoscaling, version v2: HorizontalPodAutoscalers over CPU, memory and what Prometheus knows."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from testbed.api.base import View
from testbed.api.meta import Condition, LabelSelector, Resource


class ScaleTarget(View):
    api_version: str = ""
    kind: str = ""
    name: str = ""


class MetricTarget(View):
    type: str = "Utilization"
    average_utilization: int | None = None
    average_value: str | int | None = None
    value: str | int | None = None


class ResourceMetric(View):
    """Also of one ``container``."""

    name: str = ""
    container: str = ""
    target: MetricTarget = Field(default_factory=MetricTarget)


class MetricIdentifier(View):
    name: str = ""
    selector: LabelSelector | None = None


class NamedMetric(View):
    """A metric of each pod, of one ``described_object``, or of neither (External)."""

    metric: MetricIdentifier = Field(default_factory=MetricIdentifier)
    target: MetricTarget = Field(default_factory=MetricTarget)
    described_object: ScaleTarget = Field(default_factory=ScaleTarget)


class MetricSpec(View):
    type: str
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None
    pods: NamedMetric | None = None
    object: NamedMetric | None = None
    external: NamedMetric | None = None

    @property
    def named(self) -> NamedMetric | None:
        """Of a metric that is not a resource."""
        return {"Pods": self.pods, "Object": self.object, "External": self.external}.get(self.type)


class ScalingPolicy(View):
    type: str
    value: int
    period_seconds: int


class ScalingRules(View):
    stabilization_window_seconds: int | None = None
    select_policy: str = "Max"
    policies: tuple[ScalingPolicy, ...] = ()


class Behavior(View):
    scale_up: ScalingRules = Field(default_factory=ScalingRules)
    scale_down: ScalingRules = Field(default_factory=ScalingRules)


class AutoscalerSpec(View):
    scale_target_ref: ScaleTarget = Field(default_factory=ScaleTarget)
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior | None = None


class AutoscalerStatus(View):
    current_replicas: int = 0
    desired_replicas: int = 0
    last_scale_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class Autoscaler(Resource):
    spec: AutoscalerSpec = Field(default_factory=AutoscalerSpec)
    status: AutoscalerStatus = Field(default_factory=AutoscalerStatus)
