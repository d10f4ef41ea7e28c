"""Nodes and namespaces, and what Services, endpoints and Ingresses lead to, under kube-state-metrics' names.

Source: kubernetes/kube-state-metrics internal/store/{node,namespace,service,endpoint,endpointslice,ingress,
networkpolicy}.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.api.resources import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    INGRESS_CLASSES,
    INGRESSES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    SERVICES,
)
from testbed.server.metrics_pieces import (
    CREATED,
    NAMELESS,
    Json,
    Kind,
    Read,
    Row,
    Values,
    all_conditions,
    amounts,
    created,
    each,
    fact,
    key_of,
    name_of,
    one_of,
    spec_of,
    status_of,
    text_of,
    unit,
)

ROLE = "node-role.kubernetes.io/"
_DEFAULT_CLASS = "_default"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"

# --- nodes and namespaces


def _node_info(node: Json) -> tuple[str, ...]:
    about = text_of(status_of(node).get("nodeInfo") or {}, "kernelVersion", "osImage", "containerRuntimeVersion",
                    "kubeletVersion")
    return (*about, "deprecated", *text_of(spec_of(node), "podCIDR", "providerID"),
            *text_of(status_of(node).get("nodeInfo") or {}, "systemUUID"),
            next((address for kind, address in _addresses(node) if kind == "InternalIP"), ""))


def _addresses(node: Json) -> list[tuple[str, ...]]:
    return [text_of(item, "type", "address") for item in status_of(node).get("addresses") or ()]


def _resources(field: str) -> Read:
    return lambda node: [(unit(resource), amount) for resource, amount in amounts(status_of(node).get(field))]


NODES_SHOWN = Kind(NODES, ("node",), name_of, (
    Row("kube_node_info", "Information about a cluster node.", fact(_node_info), (
        "kernel_version", "os_image", "container_runtime_version", "kubelet_version", "kubeproxy_version", "pod_cidr",
        "provider_id", "system_uuid", "internal_ip")),
    Row("kube_node_created", CREATED, created),
    Row("kube_node_role", "The role of a cluster node.", each(lambda node: [
        (name.removeprefix(ROLE),) for name in node["metadata"].get("labels") or () if name.startswith(ROLE)]),
        ("role",)),
    Row("kube_node_spec_unschedulable", "Whether a node can schedule new pods.",
        lambda node: [(NAMELESS, float(bool(spec_of(node).get("unschedulable"))))]),
    Row("kube_node_spec_taint", "The taint of a cluster node.",
        each(lambda node: [text_of(taint, "key", "value", "effect") for taint in spec_of(node).get("taints") or ()]),
        ("key", "value", "effect")),
    Row("kube_node_status_addresses", "Node address information.", each(_addresses), ("type", "address")),
    Row("kube_node_status_condition", "The condition of a cluster node.", all_conditions, ("condition", "status")),
    Row("kube_node_status_capacity", "The capacity for different resources of a node.", _resources("capacity"),
        ("resource", "unit")),
    Row("kube_node_status_allocatable", "The allocatable for different resources of a node that are available for "
        "scheduling.", _resources("allocatable"), ("resource", "unit")),
))

NAMESPACES_SHOWN = Kind(NAMESPACES, ("namespace",), name_of, (
    Row("kube_namespace_created", CREATED, created),
    Row("kube_namespace_status_phase", "kubernetes namespace status phase.",
        one_of(("Active", "Terminating"), lambda item: status_of(item).get("phase", "Active")), ("phase",)),
    Row("kube_namespace_status_condition", "The condition of a namespace.", all_conditions, ("condition", "status")),
))

# --- Services and what is behind them


def _ingress_addresses(service: Json) -> list[tuple[str, ...]]:
    balancer = status_of(service).get("loadBalancer") or {}
    return [text_of(item, "ip", "hostname") for item in balancer.get("ingress") or ()]


SERVICES_SHOWN = Kind(SERVICES, ("namespace", "service", "uid"),
                      lambda item: text_of(item["metadata"], "namespace", "name", "uid"), (
    Row("kube_service_info", "Information about service.", fact(lambda item: text_of(
        spec_of(item), "clusterIP", "externalName", "loadBalancerIP", "externalTrafficPolicy")),
        ("cluster_ip", "external_name", "load_balancer_ip", "external_traffic_policy")),
    Row("kube_service_created", CREATED, created),
    Row("kube_service_spec_type", "Type about service.", fact(lambda item: text_of(spec_of(item), "type")), ("type",)),
    Row("kube_service_spec_external_ip", "Service external ips. One series for each ip",
        each(lambda item: [(address,) for address in spec_of(item).get("externalIPs") or ()]), ("external_ip",)),
    Row("kube_service_status_load_balancer_ingress", "Service load balancer ingress status", each(_ingress_addresses),
        ("ip", "hostname")),
))


def _endpoint_addresses(item: Json) -> Iterator[tuple[str, ...]]:
    for subset in item.get("subsets") or ():
        for field, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
            for address in subset.get(field) or ():
                for port in subset.get("ports") or ():
                    yield (*text_of(address, "ip"), *text_of(port, "name", "protocol", "port"), ready)


ENDPOINTS_SHOWN = Kind(ENDPOINTS, ("namespace", "endpoint"), key_of, (
    Row("kube_endpoint_info", "Information about endpoint.", fact(lambda item: ())),
    Row("kube_endpoint_created", CREATED, created),
    Row("kube_endpoint_address", "Information about Endpoint available and non available addresses.",
        each(_endpoint_addresses), ("ip", "port_name", "port_protocol", "port_number", "ready")),
))


def _slice_endpoints(item: Json) -> Iterator[tuple[str, ...]]:
    for endpoint in item.get("endpoints") or ():
        told = endpoint.get("conditions") or {}
        state = tuple([str(bool(told.get(field))).lower() for field in ("ready", "serving", "terminating")])
        target = text_of(endpoint.get("targetRef") or {}, "kind", "name", "namespace")
        for address in endpoint.get("addresses") or ():
            yield (*state, *text_of(endpoint, "hostname"), *target, *text_of(endpoint, "nodeName", "zone"), address)


SLICES_SHOWN = Kind(ENDPOINT_SLICES, ("namespace", "endpointslice"), key_of, (
    Row("kube_endpointslice_info", "Information about endpointslice.", fact(lambda item: text_of(item, "addressType")),
        ("addresstype",)),
    Row("kube_endpointslice_created", CREATED, created),
    Row("kube_endpointslice_endpoints", "Endpoints attached to the endpointslice.", each(_slice_endpoints), (
        "ready", "serving", "terminating", "hostname", "targetref_kind", "targetref_name", "targetref_namespace",
        "endpoint_nodename", "endpoint_zone", "address")),
    Row("kube_endpointslice_ports", "Ports attached to the endpointslice.",
        each(lambda item: [text_of(port, "name", "protocol", "port") for port in item.get("ports") or ()]),
        ("port_name", "port_protocol", "port_number")),
))


def _ingress_class(ingress: Json) -> tuple[str, ...]:
    told = (ingress["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    return (str(told or spec_of(ingress).get("ingressClassName") or _DEFAULT_CLASS),)


def _ingress_paths(ingress: Json) -> Iterator[tuple[str, ...]]:
    for rule in spec_of(ingress).get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            backend = path.get("backend") or {}
            service = backend.get("service") or {}
            port = str((service.get("port") or {}).get("number") or 0) if service else ""
            yield (*text_of(rule, "host"), *text_of(path, "path", "pathType"), *text_of(service, "name"), port,
                   *text_of(backend.get("resource") or {}, "apiGroup", "kind", "name"))


INGRESSES_SHOWN = Kind(INGRESSES, ("namespace", "ingress"), key_of, (
    Row("kube_ingress_info", "Information about ingress.", fact(_ingress_class), ("ingressclass",)),
    Row("kube_ingress_created", CREATED, created),
    Row("kube_ingress_path", "Ingress host, paths and backend service information.", each(_ingress_paths), (
        "host", "path", "path_type", "service_name", "service_port", "resource_api_group", "resource_kind",
        "resource_name")),
    Row("kube_ingress_tls", "Ingress TLS host and secret information.",
        each(lambda item: [(host, *text_of(tls, "secretName")) for tls in spec_of(item).get("tls") or ()
                           for host in tls.get("hosts") or ()]), ("tls_host", "secret")),
))

INGRESS_CLASSES_SHOWN = Kind(INGRESS_CLASSES, ("ingressclass",), name_of, (
    Row("kube_ingressclass_info", "Information about ingressclass.",
        fact(lambda item: text_of(spec_of(item), "controller")), ("controller",)),
    Row("kube_ingressclass_created", CREATED, created),
))


def _rules(field: str) -> Read:
    def read(policy: Json) -> Values:
        return [(NAMELESS, float(len(spec_of(policy).get(field) or ())))]

    return read


NETWORK_POLICIES_SHOWN = Kind(NETWORK_POLICIES, ("namespace", "networkpolicy"), key_of, (
    Row("kube_networkpolicy_created", "Unix creation timestamp of network policy", created),
    Row("kube_networkpolicy_spec_ingress_rules", "Number of ingress rules on the networkpolicy", _rules("ingress")),
    Row("kube_networkpolicy_spec_egress_rules", "Number of egress rules on the networkpolicy", _rules("egress")),
))
