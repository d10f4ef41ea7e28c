"""Decides which endpoints of a Service get its traffic.

Pure. Who is an endpoint and whether it is ready is decided in ``endpoints``; how traffic gets there is the gateway's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    return _chosen(_candidates(port, slices), lambda endpoint: True)


def local_backends(port: ServicePort, slices: Iterable[EndpointSlice]) -> dict[str, tuple[Backend, ...]]:
    """Where it goes from each node under a Local traffic policy: to that node's ready endpoints, else to those of that
    node that terminate but still serve. A node that is not named has none: its traffic is dropped while any endpoint
    exists elsewhere (kubernetes: pkg/proxy/topology.go, nftables/proxier.go)."""
    candidates = _candidates(port, slices)
    nodes = sorted({endpoint.node_name for endpoint in candidates.values() if endpoint.node_name})
    by_node = {node: _chosen(candidates, lambda endpoint, node=node: endpoint.node_name == node)  # type: ignore[misc]
               for node in nodes}
    return {node: found for node, found in by_node.items() if found}


def _chosen(candidates: dict[Backend, Endpoint], wanted: Callable[[Endpoint], bool]) -> tuple[Backend, ...]:
    chosen = {id(endpoint) for endpoint in serving(one for one in candidates.values() if wanted(one))}
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
