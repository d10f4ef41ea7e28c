"""The kinds this cluster serves by itself: where each is found in the API, and its short names.

Custom resources (fault kinds, Experiment) are not listed here: they come as CustomResourceDefinitions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceType:
    """Where objects of one kind live. ``group`` is ``""`` for core."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``pods``, ``deployments.apps``: how messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, object or subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


NAMESPACES = ResourceType("", "v1", "namespaces", "Namespace", False, short_names=("ns",))
NODES = ResourceType("", "v1", "nodes", "Node", False, short_names=("no",))
PODS = ResourceType("", "v1", "pods", "Pod", short_names=("po",), categories=("all",))
SERVICES = ResourceType("", "v1", "services", "Service", short_names=("svc",), categories=("all",))
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", short_names=("cm",))
SECRETS = ResourceType("", "v1", "secrets", "Secret")
EVENTS = ResourceType("", "v1", "events", "Event", short_names=("ev",))
SERVICE_ACCOUNTS = ResourceType("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",))
ENDPOINTS = ResourceType("", "v1", "endpoints", "Endpoints", short_names=("ep",))
DEPLOYMENTS = ResourceType("apps", "v1", "deployments", "Deployment", short_names=("deploy",), categories=("all",))
REPLICA_SETS = ResourceType("apps", "v1", "replicasets", "ReplicaSet", short_names=("rs",), categories=("all",))
STATEFUL_SETS = ResourceType("apps", "v1", "statefulsets", "StatefulSet", short_names=("sts",), categories=("all",))
DAEMON_SETS = ResourceType("apps", "v1", "daemonsets", "DaemonSet", short_names=("ds",), categories=("all",))
JOBS = ResourceType("batch", "v1", "jobs", "Job", categories=("all",))
CRON_JOBS = ResourceType("batch", "v1", "cronjobs", "CronJob", short_names=("cj",), categories=("all",))
CONTROLLER_REVISIONS = ResourceType("apps", "v1", "controllerrevisions", "ControllerRevision")
ENDPOINT_SLICES = ResourceType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
PRIORITY_CLASSES = ResourceType(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, short_names=("pc",)
)
PERSISTENT_VOLUMES = ResourceType("", "v1", "persistentvolumes", "PersistentVolume", False, short_names=("pv",))
PERSISTENT_VOLUME_CLAIMS = ResourceType(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",)
)
VOLUME_ATTACHMENTS = ResourceType("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False)
STORAGE_CLASSES = ResourceType("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, short_names=("sc",))
NETWORK_POLICIES = ResourceType(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short_names=("netpol",)
)
INGRESSES = ResourceType("networking.k8s.io", "v1", "ingresses", "Ingress", short_names=("ing",))
INGRESS_CLASSES = ResourceType("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)
DISRUPTION_BUDGETS = ResourceType(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short_names=("pdb",)
)
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = ResourceType("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)
CLUSTER_ROLE_BINDINGS = ResourceType(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False
)
CUSTOM_RESOURCE_DEFINITIONS = ResourceType(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False,
    short_names=("crd", "crds"),
)
AUTOSCALERS = ResourceType(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", short_names=("hpa",),
    categories=("all",),
)
RESOURCE_QUOTAS = ResourceType("", "v1", "resourcequotas", "ResourceQuota", short_names=("quota",))
LIMIT_RANGES = ResourceType("", "v1", "limitranges", "LimitRange", short_names=("limits",))

BUILT_IN: tuple[ResourceType, ...] = (
    NAMESPACES, NODES, PODS, SERVICES, CONFIG_MAPS, SECRETS, EVENTS, SERVICE_ACCOUNTS, ENDPOINTS, DEPLOYMENTS,
    REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS, CONTROLLER_REVISIONS,
    ENDPOINT_SLICES, LEASES, PRIORITY_CLASSES, STORAGE_CLASSES, NETWORK_POLICIES, INGRESSES, INGRESS_CLASSES,
    RESOURCE_QUOTAS, LIMIT_RANGES, AUTOSCALERS, PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS, VOLUME_ATTACHMENTS,
    DISRUPTION_BUDGETS, ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, CUSTOM_RESOURCE_DEFINITIONS,
)

CHAOS_MESH_GROUP = "chaos-mesh.org"
TESTBED_GROUP = "testbed.io"
EXPERIMENTS = ResourceType(TESTBED_GROUP, "v1alpha1", "experiments", "Experiment")
