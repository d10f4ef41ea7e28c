"""Group apps, version v1: Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions."""

from __future__ import annotations

from pydantic import Field

from testbed.api.base import View
from testbed.api.core_v1 import PodTemplateSpec
from testbed.api.meta import Condition, IntOrString, LabelSelector, Resource


class RollingUpdate(View):
    max_surge: IntOrString = "25%"
    max_unavailable: IntOrString = "25%"


class DeploymentStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = Field(default_factory=RollingUpdate)


class DeploymentSpec(View):
    replicas: int = 1
    selector: LabelSelector = Field(default_factory=LabelSelector)
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    strategy: DeploymentStrategy = Field(default_factory=DeploymentStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class DeploymentStatus(View):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class Deployment(Resource):
    spec: DeploymentSpec = Field(default_factory=DeploymentSpec)
    status: DeploymentStatus = Field(default_factory=DeploymentStatus)


class ReplicaSetSpec(View):
    replicas: int = 1
    selector: LabelSelector = Field(default_factory=LabelSelector)
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    min_ready_seconds: int = 0


class ReplicaSetStatus(View):
    observed_generation: int = 0
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Resource):
    spec: ReplicaSetSpec = Field(default_factory=ReplicaSetSpec)
    status: ReplicaSetStatus = Field(default_factory=ReplicaSetStatus)


class StatefulRollingUpdate(View):
    partition: int = 0


class StatefulSetUpdateStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: StatefulRollingUpdate = Field(default_factory=StatefulRollingUpdate)


class StatefulSetOrdinals(View):
    start: int = 0


class StatefulSetSpec(View):
    replicas: int = 1
    selector: LabelSelector = Field(default_factory=LabelSelector)
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = Field(default_factory=StatefulSetUpdateStrategy)
    revision_history_limit: int = 10
    min_ready_seconds: int = 0
    ordinals: StatefulSetOrdinals = Field(default_factory=StatefulSetOrdinals)


class StatefulSetStatus(View):
    observed_generation: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None


class StatefulSet(Resource):
    spec: StatefulSetSpec = Field(default_factory=StatefulSetSpec)
    status: StatefulSetStatus = Field(default_factory=StatefulSetStatus)


class ControllerRevision(Resource):
    revision: int = 0


class DaemonRollingUpdate(View):
    max_surge: IntOrString = 0
    max_unavailable: IntOrString = 1


class DaemonSetUpdateStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: DaemonRollingUpdate = Field(default_factory=DaemonRollingUpdate)


class DaemonSetSpec(View):
    selector: LabelSelector = Field(default_factory=LabelSelector)
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    update_strategy: DaemonSetUpdateStrategy = Field(default_factory=DaemonSetUpdateStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class DaemonSet(Resource):
    spec: DaemonSetSpec = Field(default_factory=DaemonSetSpec)
