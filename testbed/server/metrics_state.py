"""What the store holds, under kube-state-metrics' STABLE names and labels, so that its dashboards and rules work here.

Source: kubernetes/kube-state-metrics internal/store/*.go, docs/metrics. Conditions that are neither true, false nor
unknown and values that do not exist are left out, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, Metric

from testbed.api.resources import ENDPOINT_SLICES, NAMESPACES, NODES, PODS
from testbed.server.metrics_pieces import (
    Items,
    Json,
    all_conditions,
    amounts,
    condition_values,
    created,
    gauge,
    key_of,
    moment,
    owner_of,
    spec_of,
    status_of,
    unit,
)
from testbed.server.metrics_policies import policy_metrics
from testbed.server.metrics_workloads import workload_metrics

PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
STATES = ("running", "waiting", "terminated")


def state_metrics(items: Items) -> Iterator[Metric]:
    pods = items(PODS)
    yield from _pods(pods)
    yield from _containers(pods)
    yield from workload_metrics(items)
    yield from policy_metrics(items)
    yield from _nodes(items(NODES))
    yield from _slices(items(ENDPOINT_SLICES))
    yield gauge(
        "kube_namespace_status_phase", "kubernetes namespace status phase.", ("namespace", "phase"),
        (((item["metadata"]["name"], phase), float((item.get("status") or {}).get("phase", "Active") == phase))
         for item in items(NAMESPACES) for phase in ("Active", "Terminating")),
    )


# --- pods

_POD = ("namespace", "pod", "uid")


def _pod(pod: Json) -> tuple[str, str, str]:
    meta = pod["metadata"]
    return meta.get("namespace", ""), meta["name"], meta.get("uid", "")


def _pods(pods: Sequence[Json]) -> Iterator[Metric]:
    yield gauge(
        "kube_pod_info", "Information about pod.",
        (*_POD, "host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network"),
        (((*_pod(pod), status_of(pod).get("hostIP", ""), status_of(pod).get("podIP", ""),
           pod["spec"].get("nodeName") or "", *owner_of(pod), pod["spec"].get("priorityClassName", ""),
           str(bool(pod["spec"].get("hostNetwork"))).lower()), 1.0) for pod in pods),
    )
    yield gauge(
        "kube_pod_status_phase", "The pods current phase.", (*_POD, "phase"),
        (((*_pod(pod), phase), float(status_of(pod).get("phase") == phase)) for pod in pods for phase in PHASES),
    )
    for kind, name, text in (
        ("Ready", "kube_pod_status_ready", "Describes whether the pod is ready to serve requests."),
        ("PodScheduled", "kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod."),
    ):
        yield gauge(
            name, text, (*_POD, "condition"),
            (((*_pod(pod), status), value) for pod in pods for status, value in condition_values(pod, kind)),
        )
    yield gauge("kube_pod_created", "Unix creation timestamp", _POD,
                 ((_pod(pod), at) for pod in pods for at in moment(pod["metadata"].get("creationTimestamp"))))
    yield gauge("kube_pod_start_time", "Start time in unix timestamp for a pod.", _POD,
                 ((_pod(pod), at) for pod in pods for at in moment(status_of(pod).get("startTime"))))
    yield gauge("kube_pod_deletion_timestamp", "Unix deletion timestamp", _POD,
                 ((_pod(pod), at) for pod in pods for at in moment(pod["metadata"].get("deletionTimestamp"))))
    yield gauge(
        "kube_pod_owner", "Information about the Pod's owner.",
        (*_POD, "owner_kind", "owner_name", "owner_is_controller"),
        (((*_pod(pod), *owner_of(pod), "true" if any(owner_of(pod)) else ""), 1.0) for pod in pods),
    )


def _containers(pods: Sequence[Json]) -> Iterator[Metric]:
    labels = (*_POD, "container")
    found = [(pod, (*_pod(pod), item["name"]), item) for pod in pods
             for item in status_of(pod).get("containerStatuses") or ()]
    yield gauge(
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
    yield gauge("kube_pod_container_status_ready", "Describes whether the containers readiness check succeeded.",
                 labels, ((key, float(bool(item.get("ready")))) for _, key, item in found))
    for state in STATES:
        yield gauge(
            f"kube_pod_container_status_{state}", f"Describes whether the container is currently in {state} state.",
            labels, ((key, float(state in (item.get("state") or {}))) for _, key, item in found),
        )
    for name, state, field, text in (
        ("waiting_reason", "waiting", "state", "Describes the reason the container is currently in waiting state."),
        ("terminated_reason", "terminated", "state", "Describes the reason the container is currently terminated."),
        ("last_terminated_reason", "terminated", "lastState", "Describes why the container was terminated last."),
    ):
        yield gauge(
            f"kube_pod_container_status_{name}", text, (*labels, "reason"),
            (((*key, reason), 1.0) for _, key, item in found
             if (reason := ((item.get(field) or {}).get(state) or {}).get("reason"))),
        )
    for name, part in (("requests", "requests"), ("limits", "limits")):
        yield gauge(
            f"kube_pod_container_resource_{name}", f"The number of {part} of a resource by a container.",
            (*labels, "node", "resource", "unit"),
            (((*_pod(pod), item["name"], pod["spec"].get("nodeName") or "", *unit(resource)), amount)
             for pod in pods for item in pod["spec"].get("containers") or ()
             for resource, amount in amounts((item.get("resources") or {}).get(part) or {})),
        )


# --- nodes


def _nodes(items: Sequence[Json]) -> Iterator[Metric]:
    def name(node: Json) -> str:
        return str(node["metadata"]["name"])

    def info(node: Json, field: str) -> str:
        return str((status_of(node).get("nodeInfo") or {}).get(field, ""))

    yield gauge(
        "kube_node_info", "Information about a cluster node.",
        ("node", "kernel_version", "os_image", "container_runtime_version", "kubelet_version", "pod_cidr",
         "provider_id", "internal_ip"),
        (((name(node), info(node, "kernelVersion"), info(node, "osImage"), info(node, "containerRuntimeVersion"),
           info(node, "kubeletVersion"), spec_of(node).get("podCIDR", ""), spec_of(node).get("providerID", ""),
           next((item["address"] for item in status_of(node).get("addresses") or ()
                 if item["type"] == "InternalIP"), "")), 1.0) for node in items),
    )
    yield gauge("kube_node_created", "Unix creation timestamp", ("node",),
                 (((name(node),), at) for node in items
                  for at in moment(node["metadata"].get("creationTimestamp"))))
    yield gauge("kube_node_spec_unschedulable", "Whether a node can schedule new pods.", ("node",),
                 (((name(node),), float(bool(spec_of(node).get("unschedulable")))) for node in items))
    yield gauge(
        "kube_node_spec_taint", "The taint of a cluster node.", ("node", "key", "value", "effect"),
        (((name(node), taint["key"], taint.get("value", ""), taint["effect"]), 1.0)
         for node in items for taint in spec_of(node).get("taints") or ()),
    )
    yield gauge(
        "kube_node_status_condition", "The condition of a cluster node.", ("node", "condition", "status"),
        (((name(node), *condition), value) for node, condition, value in all_conditions(items)),
    )
    for field in ("capacity", "allocatable"):
        yield gauge(
            f"kube_node_status_{field}", f"The {field} for different resources of a node.",
            ("node", "resource", "unit"),
            (((name(node), *unit(resource)), amount) for node in items
             for resource, amount in amounts(status_of(node).get(field) or {})),
        )


# --- endpoints


def _slices(items: Sequence[Json]) -> Iterator[Metric]:
    labels = ("namespace", "endpointslice")
    yield gauge("kube_endpointslice_info", "Information about endpointslice.", (*labels, "addresstype"),
                 (((*key_of(item), item.get("addressType", "")), 1.0) for item in items))
    yield gauge("kube_endpointslice_created", "Unix creation timestamp", labels, created(items))
    yield gauge(
        "kube_endpointslice_endpoints", "Endpoints attached to the endpointslice.",
        (*labels, "ready", "serving", "terminating", "hostname", "targetref_kind", "targetref_name",
         "targetref_namespace", "endpoint_nodename", "address"),
        (((*key_of(item), *(str(bool((endpoint.get("conditions") or {}).get(field))).lower()
                           for field in ("ready", "serving", "terminating")),
           endpoint.get("hostname", ""), *((endpoint.get("targetRef") or {}).get(field, "")
                                           for field in ("kind", "name", "namespace")),
           endpoint.get("nodeName", ""), address), 1.0)
         for item in items for endpoint in item.get("endpoints") or () for address in endpoint.get("addresses") or ()),
    )
    yield gauge(
        "kube_endpointslice_ports", "Ports attached to the endpointslice.",
        (*labels, "port_name", "port_protocol", "port_number"),
        (((*key_of(item), port.get("name") or "", port.get("protocol", ""), str(port.get("port", ""))), 1.0)
         for item in items for port in item.get("ports") or ()),
    )
