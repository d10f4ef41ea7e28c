"""Services and slices as the gateway is told them: who is in rotation, and DNS names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import ServicePort
from testbed.api.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from testbed.core.services import Backend, backends, serving
from testbed.network.state import gateway_state

Json = dict[str, Any]
READY = {"ready": True, "serving": True, "terminating": False}
UNREADY = {"ready": False, "serving": False, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
DYING = {"ready": False, "serving": False, "terminating": True}


def service(name: str = "web", **spec: Any) -> Json:
    spec = {"clusterIP": "10.9.128.20", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def endpoint_slice(
    *endpoints: tuple[str, Json], owner: str = "web", port: int = 8080, name: str = "http", hostname: str = ""
) -> Json:
    return {
        "metadata": {"name": f"{owner}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": owner}},
        "addressType": "IPv4", "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": conditions, "hostname": hostname}
                      for address, conditions in endpoints],
    }


@pytest.mark.parametrize(("conditions", "chosen"), [
    ([READY, READY], [0, 1]),
    ([READY, UNREADY], [0]),
    ([READY, DRAINING], [0]),
    ([DRAINING, UNREADY], [0]),
    ([DRAINING, DYING], [0]),
    ([UNREADY, DYING], []),
    ([], []),
])
def test_ready_endpoints_serve_and_draining_ones_only_when_there_is_no_other(
    conditions: list[Json], chosen: list[int]
) -> None:
    pieces = [endpoint_slice(*((f"10.9.1.{index}", one) for index, one in enumerate(conditions)))]
    told = gateway_state([service()], pieces).services[0]
    assert told["endpoints"] == [[f"10.9.1.{index}", 8080] for index in chosen]


def test_a_service_port_is_told_whole() -> None:
    spec = {"type": "NodePort", "sessionAffinity": "ClientIP",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30001}]}
    state = gateway_state([service(**spec)], [endpoint_slice(("10.9.1.5", READY))])
    assert state.services == ({
        "name": "default/web:http", "address": "10.9.128.20", "protocol": "tcp", "port": 80, "node_port": 30001,
        "affinity_s": 10800, "endpoints": [["10.9.1.5", 8080]],
    },)
    assert state.message(3)["revision"] == 3


def test_affinity_time_out_of_the_manifest_counts() -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}
    assert gateway_state([service(**spec)], []).services[0]["affinity_s"] == 7


def test_node_port_of_a_cluster_ip_service_is_not_told() -> None:
    ports = [{"port": 80, "nodePort": 30001}]
    assert gateway_state([service(ports=ports)], []).services[0]["node_port"] == 0


NODES = [
    {"metadata": {"name": name}, "spec": {"podCIDR": f"10.9.{number}.0/24"},
     "status": {"addresses": [{"type": "InternalIP", "address": own}]}}
    for number, (name, own) in enumerate([("n1", "10.9.0.1"), ("n2", "10.9.0.1"), ("n3", "10.9.3.1")], 1)
]


def on(node: str, piece: Json) -> Json:
    return piece | {"endpoints": [endpoint | {"nodeName": node} for endpoint in piece["endpoints"]]}


@pytest.mark.parametrize(("here", "there", "local"), [
    (READY, READY, [["10.9.1.0/24", [["10.9.1.5", 8080]]], ["10.9.3.0/24", [["10.9.3.5", 8080]]],
                    ["10.9.3.1", [["10.9.3.5", 8080]]]]),
    (READY, DRAINING, [["10.9.1.0/24", [["10.9.1.5", 8080]]], ["10.9.3.0/24", [["10.9.3.5", 8080]]],
                       ["10.9.3.1", [["10.9.3.5", 8080]]]]),
    (DRAINING, UNREADY, [["10.9.1.0/24", [["10.9.1.5", 8080]]]]),
    (UNREADY, DYING, []),
])
def test_local_policy_tells_each_nodes_clients_and_endpoints(here: Json, there: Json, local: list[Json]) -> None:
    """SV-05, Local: a node's own endpoints that terminate but serve are used even while another node has ready ones.
    An address that several nodes share is nobody's."""
    pieces = [on("n1", endpoint_slice(("10.9.1.5", here))), on("n3", endpoint_slice(("10.9.3.5", there)))]
    told = gateway_state([service(internalTrafficPolicy="Local")], pieces, NODES).services[0]
    assert told["local"] == local


def test_load_balancers_addresses_and_who_may_use_them_are_told() -> None:
    raw = service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8 "])
    assert "external" not in gateway_state([raw], []).services[0]
    told = gateway_state([raw | {"status": {"loadBalancer": {"ingress": [{"ip": "10.9.255.1"}]}}}], []).services[0]
    assert told["external"] == ["10.9.255.1"] and told["sources"] == ["10.0.0.0/8"]


def test_headless_names_are_those_of_ready_endpoints_published_ones_too() -> None:
    """CoreDNS names nobody who terminates, also when there is no other."""
    pieces = [endpoint_slice(("10.9.1.5", DRAINING), ("10.9.1.6", {"ready": True, "serving": False}))]
    records = gateway_state([service(clusterIP="None", publishNotReadyAddresses=True)], pieces).records
    assert records["a"]["web.default.svc.cluster.local"] == ["10.9.1.6"]


def test_ports_are_joined_by_name_and_protocol() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}, {"name": "http-udp", "port": 80,
                                                                            "protocol": "UDP"}]
    pieces = [endpoint_slice(("10.9.1.5", READY)), endpoint_slice(("10.9.1.5", READY), name="admin", port=9000)]
    told = {one["name"]: one["endpoints"] for one in gateway_state([service(ports=ports)], pieces).services}
    assert told == {"default/web:http": [["10.9.1.5", 8080]], "default/web:admin": [["10.9.1.5", 9000]],
                    "default/web:http-udp": []}


def test_slices_of_other_services_and_namespaces_do_not_count() -> None:
    foreign = endpoint_slice(("10.9.1.5", READY))
    foreign["metadata"]["namespace"] = "other"
    pieces = [foreign, endpoint_slice(("10.9.1.6", READY), owner="api")]
    assert gateway_state([service()], pieces).services[0]["endpoints"] == []


@pytest.mark.parametrize("spec", [
    {"clusterIP": "None"}, {"clusterIP": ""}, {"type": "ExternalName", "externalName": "example.org"},
])
def test_what_has_no_cluster_ip_is_not_balanced(spec: Json) -> None:
    assert gateway_state([service(**spec)], []).services == ()


def test_names_of_a_cluster_ip_service() -> None:
    records = gateway_state([service()], [endpoint_slice(("10.9.1.5", READY))]).records
    assert records["a"] == {"web.default.svc.cluster.local": ["10.9.128.20"]}
    assert records["srv"] == {"_http._tcp.web.default.svc.cluster.local": [[80, "web.default.svc.cluster.local"]]}
    assert records["ptr"] == {"20.128.9.10.in-addr.arpa": "web.default.svc.cluster.local"}


def test_names_of_a_headless_service() -> None:
    pieces = [endpoint_slice(("10.9.1.5", READY), ("10.9.1.6", UNREADY)),
              endpoint_slice(("10.9.1.7", READY), hostname="web-0")]
    records = gateway_state([service(clusterIP="None")], pieces).records
    name = "web.default.svc.cluster.local"
    assert records["a"] == {name: ["10.9.1.5", "10.9.1.7"], f"10-9-1-5.{name}": ["10.9.1.5"],
                            f"web-0.{name}": ["10.9.1.7"]}
    assert records["srv"] == {f"_http._tcp.{name}": [[8080, f"10-9-1-5.{name}"], [8080, f"web-0.{name}"]]}


def test_external_name_is_an_alias() -> None:
    records = gateway_state([service(type="ExternalName", externalName="example.org.")], []).records
    assert records["cname"] == {"web.default.svc.cluster.local": "example.org"}


CONDITIONS = st.builds(EndpointConditions, ready=st.booleans(), serving=st.booleans(), terminating=st.booleans())
ENDPOINTS = st.lists(
    st.builds(Endpoint, addresses=st.integers(1, 6).map(lambda n: (f"10.9.1.{n}",)), conditions=CONDITIONS), max_size=6
)


@given(ENDPOINTS)
def test_no_unready_endpoint_serves_while_a_ready_one_exists(endpoints: list[Endpoint]) -> None:
    chosen = serving(endpoints)
    if any(one.conditions.ready for one in endpoints):
        assert chosen and all(one.conditions.ready for one in chosen)
    else:
        assert all(one.conditions.serving and one.conditions.terminating for one in chosen)


@given(ENDPOINTS, ENDPOINTS)
def test_backends_are_sorted_and_do_not_depend_on_the_order_of_slices(
    first: list[Endpoint], second: list[Endpoint]
) -> None:
    port = ServicePort(port=80, name="http")
    pieces = [EndpointSlice.of({"ports": [{"name": "http", "port": 8080}]}).model_copy(
        update={"endpoints": tuple(endpoints)}) for endpoints in (first, second)]
    found = backends(port, pieces)
    assert list(found) == sorted(set(found))
    ready = {Backend(one.addresses[0], 8080) for one in (*first, *second) if one.conditions.ready}
    if ready:
        assert set(found) == ready == set(backends(port, reversed(pieces)))
