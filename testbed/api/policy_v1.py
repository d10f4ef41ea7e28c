"""Group policy, version v1: PodDisruptionBudgets."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from testbed.api.base import View
from testbed.api.meta import Condition, IntOrString, LabelSelector, Resource


class DisruptionBudgetSpec(View):
    """One of ``min_available`` and ``max_unavailable``. A missing selector selects nothing, an empty one everything."""

    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str = "IfHealthyBudget"


class DisruptionBudgetStatus(View):
    observed_generation: int = 0
    disrupted_pods: dict[str, datetime] = Field(default_factory=dict)
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: tuple[Condition, ...] = ()


class DisruptionBudget(Resource):
    spec: DisruptionBudgetSpec = Field(default_factory=DisruptionBudgetSpec)
    status: DisruptionBudgetStatus = Field(default_factory=DisruptionBudgetStatus)
