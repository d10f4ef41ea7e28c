"""Host ports of pods and node ports of Services, as the gateway translates them: ports at a node's own address.

All nodes share one machine, so a node's address is one of the cluster's network that the gateway answers for; this
machine's own addresses and ports are never used. A port there leads to one pod, as a Service's to its endpoints; a port
that leads nowhere is refused. Which pods may share a node is the scheduler's and the agent's to say.
Source: kubernetes pkg/scheduler/framework/types.go HostPortInfo, CNI plugin portmap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
_ANY = ("", "0.0.0.0")


def host_port_services(pods: Iterable[Json], nodes: Iterable[Json], services: Iterable[Json] = ()) -> list[Json]:
    """One entry in wire form for each host port, one for each node port of ``services`` (in wire form) at each node's
    address, and one without endpoints for each such address. Where both want one port, the Service has it."""
    addresses = own_addresses(nodes)
    wire = [_entry(f"node {name}", address, "tcp", 0, []) for name, address in sorted(addresses.items())]
    taken: set[tuple[str, str, int]] = set()
    for service in services:
        for name, address in sorted(addresses.items()) if service["node_port"] else ():
            taken.add((address, service["protocol"], service["node_port"]))
            wire.append(_entry(f"{service['name']} at {name}", address, service["protocol"], service["node_port"],
                               service["endpoints"], service["affinity_s"]))
    for pod in sorted(pods, key=lambda item: (item["metadata"].get("creationTimestamp", ""), item["metadata"]["name"])):
        spec, status, meta = pod["spec"], pod.get("status") or {}, pod["metadata"]
        own, inside = addresses.get(spec.get("nodeName", "")), status.get("podIP")
        if not own or not inside or status.get("phase") in ("Succeeded", "Failed"):
            continue
        for protocol, port, target in _ports(spec, own):
            if (own, protocol, port) not in taken:  # the older pod has it
                taken.add((own, protocol, port))
                wire.append(_entry(f"pod {meta.get('namespace', '')}/{meta['name']}", own, protocol, port,
                                   [[inside, target]]))
    return wire


def has_host_ports(pod: Json) -> bool:
    spec = pod.get("spec") or {}
    return any(port.get("hostPort") for kind in ("containers", "initContainers")
               for container in spec.get(kind) or () for port in container.get("ports") or ())


def told(pod: Json | None) -> tuple[Any, ...]:
    """What of a pod matters here."""
    if pod is None or not has_host_ports(pod):
        return ()
    status = pod.get("status") or {}
    return (pod["metadata"].get("uid"), pod["spec"].get("nodeName"), status.get("podIP"), status.get("phase"))


def _ports(spec: Json, own: str) -> Iterable[tuple[str, int, int]]:
    """(protocol, port at the node, port at the pod). An address that is not the node's own leads nowhere."""
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            for port in container.get("ports") or ():
                protocol = str(port.get("protocol", "TCP")).lower()
                if port.get("hostPort") and protocol in ("tcp", "udp") and port.get("hostIP", "") in (*_ANY, own):
                    yield protocol, int(port["hostPort"]), int(port["containerPort"])


def own_addresses(nodes: Iterable[Json]) -> dict[str, str]:
    """By node; an address that several nodes have is nobody's own."""
    found = {
        node["metadata"]["name"]: str(item["address"]) for node in nodes
        for item in (node.get("status") or {}).get("addresses") or () if item.get("type") == "InternalIP"
    }
    every = list(found.values())
    return {name: address for name, address in found.items() if every.count(address) == 1}


def _entry(name: str, address: str, protocol: str, port: int, endpoints: list[list[Any]], affinity_s: int = 0) -> Json:
    return {"name": name, "address": address, "protocol": protocol, "port": port, "node_port": 0,
            "affinity_s": affinity_s, "endpoints": endpoints}
