"""Translates Services and EndpointSlices into the whole state that the gateway is sent.

Pure. Which endpoints serve is decided in ``core/services``; names follow the DNS specification of Kubernetes
(kubernetes/dns: docs/specification.md). The wire form is read by ``compose/images/gateway/gateway.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.api.core_v1 import Service, ServicePort
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.labels import SERVICE_NAME
from testbed.core.services import DEFAULT_AFFINITY_S, Backend, backends, balanced, local_backends
from testbed.network.host_ports import host_port_services, own_addresses

DOMAIN = "cluster.local"
Json = dict[str, Any]


@dataclass(frozen=True)
class GatewayState:
    """``services`` and ``records`` in wire form; ``backends``: by ``namespace/name``, what it balances over."""

    services: tuple[Json, ...]
    records: Json
    backends: Mapping[str, tuple[tuple[str, Backend], ...]]

    def message(self, revision: int) -> Json:
        """The request that makes this state the one in force."""
        return {"op": "program", "revision": revision, "services": list(self.services), "records": self.records}


def gateway_state(
    services: Iterable[Json], slices: Iterable[Json], nodes: Iterable[Json] = (), pods: Iterable[Json] = ()
) -> GatewayState:
    """What the gateway is to do for these objects (JSON as the API gives it)."""
    nodes = list(nodes)
    ranges = node_ranges(nodes)
    by_service: dict[str, list[EndpointSlice]] = {}
    for raw in slices:
        piece = EndpointSlice.of(raw)
        owner = piece.metadata.labels.get(SERVICE_NAME)
        if owner and piece.address_type == "IPv4":
            by_service.setdefault(f"{piece.metadata.namespace}/{owner}", []).append(piece)
    wire: list[Json] = []
    chosen: dict[str, tuple[tuple[str, Backend], ...]] = {}
    records = _Records()
    for raw in sorted(services, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"])):
        service = Service.of(raw)
        own = by_service.get(service.key, [])
        records.add(service, own)
        if balanced(service):
            ports = [_port(service, raw, port, own, ranges) for port in service.spec.ports
                     if port.protocol in ("TCP", "UDP")]
            wire += ports
            chosen[service.key] = tuple(
                (f"{port['protocol']}/{port['port']}", Backend(*endpoint))
                for port in ports for endpoint in port["endpoints"]
            )
    wire += host_port_services(pods, nodes, wire)
    return GatewayState(tuple(wire), records.json_value(), chosen)


def node_ranges(nodes: Iterable[Json]) -> dict[str, list[str]]:
    """From which addresses the clients on each node come: its range of pods, and its own address where that is not
    shared with other nodes."""
    nodes = list(nodes)
    own = own_addresses(nodes)
    given = {node["metadata"]["name"]: (node.get("spec") or {}).get("podCIDR") for node in nodes}
    return {name: [source for source in (cidr, own.get(name)) if source] for name, cidr in given.items()}


def _port(
    service: Service, raw: Json, port: ServicePort, slices: list[EndpointSlice], ranges: Mapping[str, list[str]]
) -> Json:
    """One port in wire form. ``external``: addresses of a load balancer; ``sources``: who may use them, all where it is
    missing. ``local``: there where a client's own node alone may serve it; ranges of clients, and their endpoints."""
    spec = service.spec
    told: Json = {
        "name": f"{service.key}:{port.name}", "address": spec.cluster_ip,
        "protocol": port.protocol.lower(), "port": port.port,
        "node_port": port.node_port if spec.type in ("NodePort", "LoadBalancer") else 0,
        "affinity_s": _affinity_s(service, raw),
        "endpoints": [[one.address, one.port] for one in backends(port, slices)],
    }
    if spec.internal_traffic_policy == "Local":
        told["local"] = [
            [source, [[one.address, one.port] for one in chosen]]
            for node, chosen in local_backends(port, slices).items() for source in ranges.get(node, ())
        ]
    if external := _balancer_addresses(service, raw):
        told["external"] = external
        if spec.load_balancer_source_ranges:
            told["sources"] = [item.strip() for item in spec.load_balancer_source_ranges]
    return told


def _balancer_addresses(service: Service, raw: Json) -> list[str]:
    if service.spec.type != "LoadBalancer":
        return []
    given = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [str(item["ip"]) for item in given if item.get("ip")]


def _affinity_s(service: Service, raw: Json) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = (raw["spec"].get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_S)


class _Records:
    """Collects DNS records in wire form."""

    def __init__(self) -> None:
        self._a: dict[str, list[str]] = {}
        self._srv: dict[str, list[list[Any]]] = {}
        self._cname: dict[str, str] = {}
        self._ptr: dict[str, str] = {}

    def add(self, service: Service, slices: list[EndpointSlice]) -> None:
        name = f"{service.metadata.name}.{service.metadata.namespace}.svc.{DOMAIN}"
        if service.spec.type == "ExternalName":
            self._cname[name] = service.spec.external_name.rstrip(".")
        elif service.spec.headless:
            self._add_headless(name, slices)
        elif balanced(service):
            self._a[name] = [service.spec.cluster_ip]
            self._ptr[_reverse(service.spec.cluster_ip)] = name
            for port in service.spec.ports:
                self._add_srv(name, port.name, port.protocol, port.port, name)
        if not service.spec.headless:
            self._add_hostnames(name, slices)

    def _add_headless(self, name: str, slices: list[EndpointSlice]) -> None:
        """All ready addresses, and one name per endpoint: its host name or its address with dashes. Those that
        terminate are not named (coredns: plugin/kubernetes/object/endpoint.go, endpointsliceReady)."""
        addresses: dict[str, None] = {}
        for piece in slices:
            for endpoint in (one for one in piece.endpoints if one.conditions.ready):
                for address in endpoint.addresses[:1]:
                    addresses[address] = None
                    target = f"{endpoint.hostname or address.replace('.', '-')}.{name}"
                    self._a.setdefault(target, []).append(address)
                    self._ptr[_reverse(address)] = target
                    for port in piece.ports:
                        self._add_srv(name, port.name, port.protocol, port.port, target)
        self._a[name] = sorted(addresses)

    def _add_hostnames(self, name: str, slices: list[EndpointSlice]) -> None:
        for piece in slices:
            for endpoint in piece.endpoints:
                if endpoint.hostname and endpoint.addresses and endpoint.conditions.ready:
                    self._a[f"{endpoint.hostname}.{name}"] = [endpoint.addresses[0]]

    def _add_srv(self, name: str, port_name: str, protocol: str, port: int, target: str) -> None:
        if port_name:
            self._srv.setdefault(f"_{port_name}._{protocol.lower()}.{name}", []).append([port, target])

    def json_value(self) -> Json:
        return {"a": self._a, "srv": self._srv, "cname": self._cname, "ptr": self._ptr}


def _reverse(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"
