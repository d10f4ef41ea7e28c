"""Decides which endpoints of a Service get its traffic.

Pure. Who is an endpoint and whether it is ready is decided in ``endpoints``; how traffic gets there is the gateway's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from testbed.api.core_v1 import Service, ServicePort
from testbed.api.discovery_v1 import Endpoint, EndpointSlice

DEFAULT_AFFINITY_S = 10800  # kubernetes: pkg/apis/core DefaultClientIPServiceAffinitySeconds


@dataclass(frozen=True, order=True)
class Backend:
    """Where one port of a Service may be sent to."""

    address: str
    port: int


def serving(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The ready endpoints; when there is none, those that terminate but still serve.

    kubernetes: pkg/proxy/topology.go CategorizeEndpoints (KEP-1669, proxy terminating endpoints).
    """
    everyone = tuple(endpoints)
    ready = tuple(one for one in everyone if one.conditions.ready)
    return ready or tuple(one for one in everyone if one.conditions.serving and one.conditions.terminating)


def backends(port: ServicePort, slices: Iterable[EndpointSlice]) -> tuple[Backend, ...]:
    """Where ``port`` of a Service goes, sorted. ``slices``: those of this Service. Empty: refuse.

    A slice's port belongs to the Service's port of the same name (kubernetes: pkg/proxy/endpointslicecache.go).
    """
    return _chosen(_candidates(port, slices))


def local_backends(port: ServicePort, slices: Iterable[EndpointSlice]) -> dict[str, tuple[Backend, ...]]:
    """Where it goes from each node under a Local traffic policy: to that node's ready endpoints, else to those of that
    node that terminate but still serve. A node that is not named has none: its traffic is dropped while any endpoint
    exists elsewhere (kubernetes: pkg/proxy/topology.go, nftables/proxier.go)."""
    by_node: dict[str, dict[Backend, Endpoint]] = {}
    for backend, endpoint in _candidates(port, slices).items():
        if endpoint.node_name:
            by_node.setdefault(endpoint.node_name, {})[backend] = endpoint
    return {node: found for node in sorted(by_node) if (found := _chosen(by_node[node]))}


def _chosen(candidates: dict[Backend, Endpoint]) -> tuple[Backend, ...]:
    chosen = {id(endpoint) for endpoint in serving(candidates.values())}
    return tuple(sorted(backend for backend, endpoint in candidates.items() if id(endpoint) in chosen))


def _candidates(port: ServicePort, slices: Iterable[EndpointSlice]) -> dict[Backend, Endpoint]:
    candidates: dict[Backend, Endpoint] = {}
    for piece in slices:
        for number in (one.port for one in piece.ports if (one.name, one.protocol) == (port.name, port.protocol)):
            for endpoint in piece.endpoints:
                for address in endpoint.addresses[:1]:  # further addresses of one endpoint are the same endpoint
                    _keep_best(candidates, Backend(address, number), endpoint)
    return candidates


def _keep_best(candidates: dict[Backend, Endpoint], backend: Backend, endpoint: Endpoint) -> None:
    """An address that two slices name meanwhile (a move between slices) counts as its readier one."""
    other = candidates.get(backend)
    if other is None or (endpoint.conditions.ready and not other.conditions.ready):
        candidates[backend] = endpoint


def balanced(service: Service) -> bool:
    """Whether the gateway holds an address for ``service`` (headless and external names are DNS only)."""
    return service.spec.type != "ExternalName" and bool(service.spec.cluster_ip) and not service.spec.headless
