"""What the store holds, under kube-state-metrics' STABLE names and labels, so that its dashboards and rules work here.

Source: kubernetes/kube-state-metrics internal/store/*.go, docs/metrics. Conditions that are neither true, false nor
unknown and values that do not exist are left out, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from testbed.api.meta import parse_time, quantity
from testbed.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, NAMESPACES, NODES, PODS, REPLICA_SETS, ResourceType

Json = dict[str, Any]
Items = Callable[[ResourceType], list[Json]]
Sample = tuple[Sequence[str], float]

PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
STATES = ("running", "waiting", "terminated")
CONDITION_STATUSES = ("true", "false", "unknown")
UNITS = {"cpu": "core", "memory": "byte"}


def state_metrics(items: Items) -> Iterator[Metric]:
    yield from _pods(items(PODS))
    yield from _containers(items(PODS))
    yield from _deployments(items(DEPLOYMENTS))
    yield from _replica_sets(items(REPLICA_SETS))
    yield from _nodes(items(NODES))
    yield from _slices(items(ENDPOINT_SLICES))
    yield _gauge(
        "kube_namespace_status_phase", "kubernetes namespace status phase.", ("namespace", "phase"),
        (((item["metadata"]["name"], phase), float((item.get("status") or {}).get("phase", "Active") == phase))
         for item in items(NAMESPACES) for phase in ("Active", "Terminating")),
    )


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


# --- pods

_POD = ("namespace", "pod", "uid")


def _pod(pod: Json) -> tuple[str, str, str]:
    meta = pod["metadata"]
    return meta.get("namespace", ""), meta["name"], meta.get("uid", "")


def _pods(pods: Sequence[Json]) -> Iterator[Metric]:
    yield _gauge(
        "kube_pod_info", "Information about pod.",
        (*_POD, "host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network"),
        (((*_pod(pod), _status(pod).get("hostIP", ""), _status(pod).get("podIP", ""), pod["spec"].get("nodeName") or "",
           *_owner(pod), pod["spec"].get("priorityClassName", ""),
           str(bool(pod["spec"].get("hostNetwork"))).lower()), 1.0) for pod in pods),
    )
    yield _gauge(
        "kube_pod_status_phase", "The pods current phase.", (*_POD, "phase"),
        (((*_pod(pod), phase), float(_status(pod).get("phase") == phase)) for pod in pods for phase in PHASES),
    )
    for kind, name, text in (
        ("Ready", "kube_pod_status_ready", "Describes whether the pod is ready to serve requests."),
        ("PodScheduled", "kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod."),
    ):
        yield _gauge(
            name, text, (*_POD, "condition"),
            (((*_pod(pod), status), value) for pod in pods for status, value in _condition(pod, kind)),
        )
    yield _gauge("kube_pod_created", "Unix creation timestamp", _POD,
                 ((_pod(pod), moment) for pod in pods for moment in _moment(pod["metadata"].get("creationTimestamp"))))
    yield _gauge("kube_pod_start_time", "Start time in unix timestamp for a pod.", _POD,
                 ((_pod(pod), moment) for pod in pods for moment in _moment(_status(pod).get("startTime"))))
    yield _gauge("kube_pod_deletion_timestamp", "Unix deletion timestamp", _POD,
                 ((_pod(pod), moment) for pod in pods for moment in _moment(pod["metadata"].get("deletionTimestamp"))))
    yield _gauge(
        "kube_pod_owner", "Information about the Pod's owner.",
        (*_POD, "owner_kind", "owner_name", "owner_is_controller"),
        (((*_pod(pod), *_owner(pod), "true" if any(_owner(pod)) else ""), 1.0) for pod in pods),
    )


def _containers(pods: Sequence[Json]) -> Iterator[Metric]:
    labels = (*_POD, "container")
    found = [(pod, (*_pod(pod), item["name"]), item) for pod in pods
             for item in _status(pod).get("containerStatuses") or ()]
    yield _gauge(
        "kube_pod_container_info", "Information about a container in a pod.",
        (*labels, "image", "image_id", "container_id"),
        (((*key, item.get("image", ""), item.get("imageID", ""), item.get("containerID", "")), 1.0)
         for _, key, item in found),
    )
    restarts = CounterMetricFamily(
        "kube_pod_container_status_restarts", "The number of container restarts per container.", labels=labels
    )
    for _, key, item in found:
        restarts.add_metric(key, item.get("restartCount", 0))
    yield restarts
    yield _gauge("kube_pod_container_status_ready", "Describes whether the containers readiness check succeeded.",
                 labels, ((key, float(bool(item.get("ready")))) for _, key, item in found))
    for state in STATES:
        yield _gauge(
            f"kube_pod_container_status_{state}", f"Describes whether the container is currently in {state} state.",
            labels, ((key, float(state in (item.get("state") or {}))) for _, key, item in found),
        )
    for name, state, field, text in (
        ("waiting_reason", "waiting", "state", "Describes the reason the container is currently in waiting state."),
        ("terminated_reason", "terminated", "state", "Describes the reason the container is currently terminated."),
        ("last_terminated_reason", "terminated", "lastState", "Describes why the container was terminated last."),
    ):
        yield _gauge(
            f"kube_pod_container_status_{name}", text, (*labels, "reason"),
            (((*key, reason), 1.0) for _, key, item in found
             if (reason := ((item.get(field) or {}).get(state) or {}).get("reason"))),
        )
    for name, part in (("requests", "requests"), ("limits", "limits")):
        yield _gauge(
            f"kube_pod_container_resource_{name}", f"The number of {part} of a resource by a container.",
            (*labels, "node", "resource", "unit"),
            (((*_pod(pod), item["name"], pod["spec"].get("nodeName") or "", *_unit(resource)), amount)
             for pod in pods for item in pod["spec"].get("containers") or ()
             for resource, amount in _amounts((item.get("resources") or {}).get(part) or {})),
        )


# --- workloads


def _deployments(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "deployment")
    yield _gauge("kube_deployment_created", "Unix creation timestamp", labels, _created(items))
    yield _gauge("kube_deployment_spec_paused", "Whether the deployment is paused and will not be processed by the "
                 "deployment controller.", labels, _numbers(items, "spec", "paused", 0))
    yield _gauge("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", labels,
                 _numbers(items, "spec", "replicas", 1))
    yield _gauge("kube_deployment_metadata_generation", "Sequence number representing a specific generation of the "
                 "desired state.", labels, _numbers(items, "metadata", "generation", 0))
    for suffix, field, text in (
        ("replicas", "replicas", "The number of replicas per deployment."),
        ("replicas_ready", "readyReplicas", "The number of ready replicas per deployment."),
        ("replicas_available", "availableReplicas", "The number of available replicas per deployment."),
        ("replicas_unavailable", "unavailableReplicas", "The number of unavailable replicas per deployment."),
        ("replicas_updated", "updatedReplicas", "The number of updated replicas per deployment."),
        ("observed_generation", "observedGeneration", "The generation observed by the deployment controller."),
    ):
        yield _gauge(f"kube_deployment_status_{suffix}", text, labels, _numbers(items, "status", field, 0))
    yield _gauge(
        "kube_deployment_status_condition", "The current status conditions of a deployment.",
        (*labels, "condition", "status"),
        (((*_name(item), each["type"], status), float(each["status"].lower() == status)) for item in items
         for each in _status(item).get("conditions") or () for status in CONDITION_STATUSES),
    )


def _replica_sets(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "replicaset")
    yield _gauge("kube_replicaset_created", "Unix creation timestamp", labels, _created(items))
    yield _gauge("kube_replicaset_spec_replicas", "Number of desired pods for a ReplicaSet.", labels,
                 _numbers(items, "spec", "replicas", 1))
    yield _gauge("kube_replicaset_metadata_generation", "Sequence number representing a specific generation of the "
                 "desired state.", labels, _numbers(items, "metadata", "generation", 0))
    for suffix, field, text in (
        ("replicas", "replicas", "The number of replicas per ReplicaSet."),
        ("fully_labeled_replicas", "fullyLabeledReplicas", "The number of fully labeled replicas per ReplicaSet."),
        ("ready_replicas", "readyReplicas", "The number of ready replicas per ReplicaSet."),
        ("observed_generation", "observedGeneration", "The generation observed by the ReplicaSet controller."),
    ):
        yield _gauge(f"kube_replicaset_status_{suffix}", text, labels, _numbers(items, "status", field, 0))
    yield _gauge(
        "kube_replicaset_owner", "Information about the ReplicaSet's owner.",
        (*labels, "owner_kind", "owner_name", "owner_is_controller"),
        (((*_name(item), *_owner(item), "true" if any(_owner(item)) else ""), 1.0) for item in items),
    )


# --- nodes


def _nodes(items: Sequence[Json]) -> Iterator[Metric]:
    def name(node: Json) -> str:
        return str(node["metadata"]["name"])

    def info(node: Json, field: str) -> str:
        return str((_status(node).get("nodeInfo") or {}).get(field, ""))

    yield _gauge(
        "kube_node_info", "Information about a cluster node.",
        ("node", "kernel_version", "os_image", "container_runtime_version", "kubelet_version", "pod_cidr",
         "provider_id", "internal_ip"),
        (((name(node), info(node, "kernelVersion"), info(node, "osImage"), info(node, "containerRuntimeVersion"),
           info(node, "kubeletVersion"), _spec(node).get("podCIDR", ""), _spec(node).get("providerID", ""),
           next((item["address"] for item in _status(node).get("addresses") or () if item["type"] == "InternalIP"), "")
           ), 1.0) for node in items),
    )
    yield _gauge("kube_node_created", "Unix creation timestamp", ("node",),
                 (((name(node),), moment) for node in items
                  for moment in _moment(node["metadata"].get("creationTimestamp"))))
    yield _gauge("kube_node_spec_unschedulable", "Whether a node can schedule new pods.", ("node",),
                 (((name(node),), float(bool(_spec(node).get("unschedulable")))) for node in items))
    yield _gauge(
        "kube_node_spec_taint", "The taint of a cluster node.", ("node", "key", "value", "effect"),
        (((name(node), taint["key"], taint.get("value", ""), taint["effect"]), 1.0)
         for node in items for taint in _spec(node).get("taints") or ()),
    )
    yield _gauge(
        "kube_node_status_condition", "The condition of a cluster node.", ("node", "condition", "status"),
        (((name(node), each["type"], status), float(each["status"].lower() == status)) for node in items
         for each in _status(node).get("conditions") or () for status in CONDITION_STATUSES),
    )
    for field in ("capacity", "allocatable"):
        yield _gauge(
            f"kube_node_status_{field}", f"The {field} for different resources of a node.",
            ("node", "resource", "unit"),
            (((name(node), *_unit(resource)), amount) for node in items
             for resource, amount in _amounts(_status(node).get(field) or {})),
        )


# --- endpoints


def _slices(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "endpointslice")
    yield _gauge("kube_endpointslice_info", "Information about endpointslice.", (*labels, "addresstype"),
                 (((*_name(item), item.get("addressType", "")), 1.0) for item in items))
    yield _gauge("kube_endpointslice_created", "Unix creation timestamp", labels, _created(items))
    yield _gauge(
        "kube_endpointslice_endpoints", "Endpoints attached to the endpointslice.",
        (*labels, "ready", "serving", "terminating", "hostname", "targetref_kind", "targetref_name",
         "targetref_namespace", "endpoint_nodename", "address"),
        (((*_name(item), *(str(bool((endpoint.get("conditions") or {}).get(field))).lower()
                           for field in ("ready", "serving", "terminating")),
           endpoint.get("hostname", ""), *((endpoint.get("targetRef") or {}).get(field, "")
                                           for field in ("kind", "name", "namespace")),
           endpoint.get("nodeName", ""), address), 1.0)
         for item in items for endpoint in item.get("endpoints") or () for address in endpoint.get("addresses") or ()),
    )
    yield _gauge(
        "kube_endpointslice_ports", "Ports attached to the endpointslice.",
        (*labels, "port_name", "port_protocol", "port_number"),
        (((*_name(item), port.get("name") or "", port.get("protocol", ""), str(port.get("port", ""))), 1.0)
         for item in items for port in item.get("ports") or ()),
    )


# --- pieces


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _spec(obj: Json) -> Json:
    return obj.get("spec") or {}


def _name(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _owner(obj: Json) -> tuple[str, str]:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next(((item["kind"], item["name"]) for item in owners if item.get("controller")), ("", ""))


def _condition(obj: Json, kind: str) -> list[tuple[str, float]]:
    found = next((item for item in _status(obj).get("conditions") or () if item["type"] == kind), None)
    if found is None:
        return []
    return [(status, float(found["status"].lower() == status)) for status in CONDITION_STATUSES]


def _created(items: Iterable[Json]) -> Iterator[Sample]:
    return ((_name(item), moment) for item in items for moment in _moment(item["metadata"].get("creationTimestamp")))


def _numbers(items: Iterable[Json], part: str, field: str, default: int) -> Iterator[Sample]:
    return ((_name(item), float((item.get(part) or {}).get(field, default))) for item in items)


def _moment(text: str | None) -> list[float]:
    return [parse_time(text).timestamp()] if text else []


def _unit(resource: str) -> tuple[str, str]:
    return resource.replace("-", "_").replace(".", "_").replace("/", "_"), UNITS.get(resource, "integer")


def _amounts(resources: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, float(quantity(value))) for name, value in resources.items()]
