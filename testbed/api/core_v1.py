"""Group ``""`` (core), version v1: pods and what they are made of, nodes, Services, config, events."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from testbed.api.affinity import PodAffinity, SchedulingGate, TopologySpreadConstraint
from testbed.api.base import View
from testbed.api.meta import Condition, IntOrString, Resource

# --- probes and hooks


class HttpHeader(View):
    name: str
    value: str = ""


class HttpGetAction(View):
    path: str = "/"
    port: IntOrString
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(View):
    port: IntOrString
    host: str = ""


class ExecAction(View):
    command: tuple[str, ...] = ()


class GrpcAction(View):
    port: int
    service: str = ""


class SleepAction(View):
    seconds: int = 0


class Probe(View):
    """One of ``exec``, ``http_get``, ``tcp_socket``, ``grpc``, and its timing in seconds."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(View):
    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(View):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


# --- environment, volumes, resources


class KeySelector(View):
    name: str = ""
    key: str = ""
    optional: bool = False


class ObjectFieldSelector(View):
    api_version: str = "v1"
    field_path: str = ""


class ResourceFieldSelector(View):
    container_name: str = ""
    resource: str = ""
    divisor: str | int = "0"


class EnvVarSource(View):
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None


class EnvVar(View):
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromRef(View):
    name: str = ""
    optional: bool = False


class EnvFromSource(View):
    prefix: str = ""
    config_map_ref: EnvFromRef | None = None
    secret_ref: EnvFromRef | None = None


class KeyToPath(View):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolumeSource(View):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolumeSource(View):
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class EmptyDirVolumeSource(View):
    medium: str = ""
    size_limit: str | int | None = None


class DownwardFile(View):
    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardVolumeSource(View):
    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class SecretProjection(View):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class ServiceAccountTokenProjection(View):
    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class VolumeProjection(View):
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardVolumeSource | None = Field(default=None, alias="downwardAPI")
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(View):
    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int = 0o644


class ClaimVolumeSource(View):
    claim_name: str = ""
    read_only: bool = False


class Volume(View):
    name: str
    persistent_volume_claim: ClaimVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    downward_api: DownwardVolumeSource | None = Field(default=None, alias="downwardAPI")
    projected: ProjectedVolumeSource | None = None


class VolumeMount(View):
    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class ResourceRequirements(View):
    requests: dict[str, str | int | float] = Field(default_factory=dict)
    limits: dict[str, str | int | float] = Field(default_factory=dict)


class ContainerPort(View):
    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = Field(default="", alias="hostIP")


class Capabilities(View):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(View):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    privileged: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None


class PodSecurityContext(View):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()


class Container(View):
    name: str
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = Field(default_factory=ResourceRequirements)
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    restart_policy: str = ""
    security_context: SecurityContext | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    tty: bool = False


# --- scheduling


class Toleration(View):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class Taint(View):
    key: str
    value: str = ""
    effect: str
    time_added: datetime | None = None


class NodeSelectorRequirement(View):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeSelectorTerm(View):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(View):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredSchedulingTerm(View):
    weight: int = 0
    preference: NodeSelectorTerm = Field(default_factory=NodeSelectorTerm)


class NodeAffinity(View):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()


class Affinity(View):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


# --- pods


class ReadinessGate(View):
    condition_type: str = ""


class PodSpec(View):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    node_name: str = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    readiness_gates: tuple[ReadinessGate, ...] = ()
    priority: int = 0
    priority_class_name: str = ""
    preemption_policy: str = "PreemptLowerPriority"
    scheduler_name: str = "default-scheduler"
    service_account_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    dns_policy: str = "ClusterFirst"
    host_network: bool = False
    enable_service_links: bool = True
    security_context: PodSecurityContext | None = None


class ContainerStateRunning(View):
    started_at: datetime | None = None


class ContainerStateWaiting(View):
    reason: str = ""
    message: str = ""


class ContainerStateTerminated(View):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = Field(default="", alias="containerID")


class ContainerState(View):
    running: ContainerStateRunning | None = None
    waiting: ContainerStateWaiting | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(View):
    name: str = ""
    image: str = ""
    image_id: str = Field(default="", alias="imageID")
    container_id: str = Field(default="", alias="containerID")
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = Field(default_factory=ContainerState)
    last_state: ContainerState = Field(default_factory=ContainerState)


class PodIp(View):
    ip: str = ""


class PodStatus(View):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    host_ip: str = Field(default="", alias="hostIP")
    pod_ip: str = Field(default="", alias="podIP")
    pod_ips: tuple[PodIp, ...] = Field(default=(), alias="podIPs")
    start_time: datetime | None = None
    nominated_node_name: str = ""
    qos_class: str = ""
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Resource):
    spec: PodSpec = Field(default_factory=PodSpec)
    status: PodStatus = Field(default_factory=PodStatus)

    def condition(self, kind: str) -> Condition | None:
        return next((item for item in self.status.conditions if item.type == kind), None)

    @property
    def ready(self) -> bool:
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"

    @property
    def terminal(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Neither ended nor being deleted (kubernetes: controller_utils.go IsPodActive)."""
        return not self.terminal and not self.metadata.deleting


class PodTemplateSpec(View):
    metadata: dict[str, object] = Field(default_factory=dict)
    spec: PodSpec = Field(default_factory=PodSpec)


# --- nodes


class NodeSpec(View):
    pod_cidr: str = Field(default="", alias="podCIDR")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str = Field(default="", alias="providerID")


class NodeAddress(View):
    type: str = ""
    address: str = ""


class NodeStatus(View):
    capacity: dict[str, str | int] = Field(default_factory=dict)
    allocatable: dict[str, str | int] = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


class Node(Resource):
    spec: NodeSpec = Field(default_factory=NodeSpec)
    status: NodeStatus = Field(default_factory=NodeStatus)

    def condition(self, kind: str) -> Condition | None:
        return next((item for item in self.status.conditions if item.type == kind), None)

    @property
    def ready(self) -> bool:
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"


# --- Services, config, namespaces


class ServicePort(View):
    name: str = ""
    port: int
    target_port: IntOrString | None = None
    protocol: str = "TCP"
    node_port: int = 0


class ServiceSpec(View):
    type: str = "ClusterIP"
    selector: dict[str, str] = Field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = Field(default="", alias="clusterIP")
    cluster_ips: tuple[str, ...] = Field(default=(), alias="clusterIPs")
    publish_not_ready_addresses: bool = False
    session_affinity: str = "None"
    external_name: str = ""
    internal_traffic_policy: str = "Cluster"
    load_balancer_source_ranges: tuple[str, ...] = ()

    @property
    def headless(self) -> bool:
        return self.cluster_ip == "None"


class Service(Resource):
    spec: ServiceSpec = Field(default_factory=ServiceSpec)


class ConfigMap(Resource):
    data: dict[str, str] = Field(default_factory=dict)
    binary_data: dict[str, str] = Field(default_factory=dict)
    immutable: bool = False


class Secret(Resource):
    """``data`` is base64."""

    type: str = "Opaque"
    data: dict[str, str] = Field(default_factory=dict)
    string_data: dict[str, str] = Field(default_factory=dict)
    immutable: bool = False


class NamespaceStatus(View):
    phase: str = "Active"


class Namespace(Resource):
    status: NamespaceStatus = Field(default_factory=NamespaceStatus)


class ObjectReference(View):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class EventSource(View):
    component: str = ""
    host: str = ""


class Event(Resource):
    involved_object: ObjectReference = Field(default_factory=ObjectReference)
    type: str = "Normal"
    reason: str = ""
    message: str = ""
    count: int = 1
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    source: EventSource = Field(default_factory=EventSource)
    reporting_component: str = ""
