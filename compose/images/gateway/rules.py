"""What nftables is told for a state: one transaction that makes it the one in force.

Services are translated as by kube-proxy (kubernetes: pkg/proxy/nftables/proxier.go): a random endpoint,
refused when there is none, masqueraded only when the host or the endpoint itself asks. Pure; ``gateway`` applies it.

This box routes for every node, so "local" is judged by the client's address: one in a node's range gets that node's
endpoints, or silence where the node has none. This machine itself holds all the nodes: all endpoints are local to it.

A transaction is not quite one moment for a packet that is under way: it goes on with the rules it began with, but finds
sets and maps as they are now, and the map inside an old rule is then empty. It would be translated by nothing and be
refused. So whatever falls through a Service's chain meets a last resort: a map by the Service's own address, which
always stands.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

TABLE = "ip testbed"
MASQUERADE = "0x4000"  # kubernetes: masqueradeBit 14
MAPS = {
    "service_ips": "ipv4_addr . inet_proto . inet_service : verdict",
    "node_ports": "inet_proto . inet_service : verdict",
    "resort_ips": "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "resort_ports": "inet_proto . inet_service : ipv4_addr . inet_service",
}


class Settings:
    """What does not change while the container lives, from its environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.host = environment["HOST_ADDRESS"]
        self.gateway = environment["GATEWAY_ADDRESS"]
        self.dns = environment["DNS_ADDRESS"]
        self.subnet = environment["SUBNET"]
        self.service_range = environment["SERVICE_RANGE"]
        self.pod_range = str(next(ipaddress.IPv4Network(self.subnet).subnets()))  # the lower half
        self.domain = environment.get("CLUSTER_DOMAIN", "cluster.local")
        self.socket = environment.get("CONTROL_SOCKET", "/run/testbed/control.sock")


def chain_name(service: dict[str, Any]) -> str:
    """A name that stays the same while the service port does: affinity outlives a change of endpoints."""
    identity = f"{service['name']}/{service['address']}/{service['protocol']}/{service['port']}"
    return "svc_" + hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()[:16]


def endpoint_chain(service: dict[str, Any], address: str, port: int) -> str:
    return f"{chain_name(service)}_{address.replace('.', '_')}_{port}"


class Ruleset:
    """Renders whole states and remembers which chains and sets stand, so that those no longer wanted are removed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.chains: dict[str, None] = {}
        self.sets: dict[str, None] = {}
        self._first = True

    def render(self, services: list[dict[str, Any]]) -> tuple[str, dict[str, None], dict[str, None]]:
        """One transaction that makes ``services`` the state in force; and the chains and sets it will have made.

        A service: ``name address protocol port node_port affinity_s endpoints`` (list of ``[address, port]``), and
        where they are wanted ``local`` (list of ``[range of clients, endpoints]``), ``external`` (further addresses)
        and ``sources`` (ranges that may use those).
        """
        chains: dict[str, None] = {}
        sets: dict[str, None] = {}
        body: list[str] = []
        by_address: list[str] = []
        by_node_port: list[str] = []
        resort: list[str] = []
        resort_by_node_port: list[str] = []
        hairpin: dict[str, None] = {}
        for service in services:
            endpoints = [(str(address), int(port)) for address, port in service["endpoints"]]
            if not endpoints:
                continue
            body += self._service(service, endpoints, chains, sets)
            name = chain_name(service)
            port, node_port = f"{service['protocol']} . {service['port']}", service.get("node_port")
            first = f"{endpoints[0][0]} . {endpoints[0][1]}"
            by_address.append(f"{service['address']} . {port} : jump {name + '_in' if 'local' in service else name}")
            resort.append(f"{service['address']} . {port} : {first}")
            for address in service.get("external", ()):
                entry = f"{address} . {port}"
                by_address.append(f"{entry} : jump {name + '_out' if 'sources' in service else name}")
                resort.append(f"{entry} : {first}")
            if node_port:
                by_node_port.append(f"{service['protocol']} . {node_port} : jump {name}")
                resort_by_node_port.append(f"{service['protocol']} . {node_port} : {first}")
            hairpin |= dict.fromkeys(f"{address} . {address}" for address, _ in endpoints)
        addresses = dict.fromkeys(
            str(address) for service in services for address in (service["address"], *service.get("external", ())))
        lines = ["add table " + TABLE]
        if self._first:
            lines += ["delete table " + TABLE, "add table " + TABLE]
        else:
            lines += [f"flush table {TABLE}"]
            lines += [f"flush map {TABLE} {name}" for name in MAPS]
            lines += [f"flush set {TABLE} {name}" for name in ("cluster_ips", "hairpin")]
            lines += [f"delete chain {TABLE} {name}" for name in self.chains if name not in chains]
            lines += [f"delete set {TABLE} {name}" for name in self.sets if name not in sets]
        lines += [f"table {TABLE} {{"]
        lines += [
            *(_elements(f"map {name}", kind, ()) for name, kind in MAPS.items()),
            _elements("set cluster_ips", "ipv4_addr", addresses),
            _elements("set hairpin", "ipv4_addr . ipv4_addr", hairpin),
        ]
        lines += self._base() + body + ["}"]
        lines += _add_elements("service_ips", by_address) + _add_elements("node_ports", by_node_port)
        lines += _add_elements("resort_ips", resort) + _add_elements("resort_ports", resort_by_node_port)
        return "\n".join(lines) + "\n", chains, sets

    def applied(self, chains: dict[str, None], sets: dict[str, None]) -> None:
        """The transaction of ``render`` is in force."""
        self._first = False
        self.chains, self.sets = chains, sets

    def _base(self) -> list[str]:
        settings = self._settings
        return [
            " chain prerouting { type nat hook prerouting priority dstnat; policy accept;",
            f"  ip daddr {settings.dns} meta l4proto {{ tcp, udp }} th dport 53 dnat to {settings.gateway}",
            f"  ip saddr {settings.host} meta mark set meta mark | {MASQUERADE}",
            "  ip daddr . meta l4proto . th dport vmap @service_ips",
            f"  ip daddr {settings.gateway} meta l4proto . th dport vmap @node_ports",
            *(f"  meta l4proto {protocol} dnat ip addr . port to ip daddr . meta l4proto . th dport map @resort_ips"
              for protocol in ("tcp", "udp")),
            *(f"  ip daddr {settings.gateway} meta l4proto {protocol}"
              " dnat ip addr . port to meta l4proto . th dport map @resort_ports" for protocol in ("tcp", "udp")),
            " }",
            " chain postrouting { type nat hook postrouting priority srcnat; policy accept;",
            f"  ct status dnat meta mark & {MASQUERADE} != 0 masquerade",
            "  ct status dnat ip saddr . ip daddr @hairpin masquerade",
            # To the outside: where bridged packets pass the host's netfilter (br_netfilter), the host has already
            # seen this flow on its way to us, untranslated, and would not masquerade it any more.
            f"  ip daddr != {settings.subnet} masquerade",
            " }",
            # A destination that is still a Service's own address was translated by nothing: refuse or, when no
            # Service has that address, swallow it.
            " chain forwarding { type filter hook forward priority filter; policy accept;",
            "  ip daddr @cluster_ips goto refuse",
            f"  ip daddr {settings.service_range} drop",
            " }",
            # A dead pod's packets vanish behind kube-proxy; our own neighbour table must not turn that into an answer.
            " chain own { type filter hook output priority filter; policy accept;",
            "  icmp type destination-unreachable icmp code host-unreachable drop",
            " }",
            " chain refuse {",
            "  meta l4proto tcp reject with tcp reset",
            "  reject with icmp type port-unreachable",
            " }",
        ]

    def _service(
        self, service: dict[str, Any], endpoints: list[tuple[str, int]], chains: dict[str, None], sets: dict[str, None]
    ) -> list[str]:
        name = chain_name(service)
        lines = self._remembered(service, endpoints, chains, sets)
        lines += self._choice(name, service, endpoints, chains)
        if "local" in service:
            lines += self._local(name, service, chains)
        if "sources" in service:
            chains[f"{name}_out"] = None
            allowed = [f"  ip saddr {source} goto {name}" for source in service["sources"]]
            lines += [f" chain {name}_out {{", *allowed, "  drop", " }"]
        return lines

    def _remembered(
        self, service: dict[str, Any], endpoints: list[tuple[str, int]], chains: dict[str, None], sets: dict[str, None]
    ) -> list[str]:
        """With affinity: a chain for each endpoint, that remembers who went there, for as long as its name says."""
        affinity_s, lines = int(service.get("affinity_s") or 0), []
        if not affinity_s:
            return []
        for address, port in dict.fromkeys((*endpoints, *_local_endpoints(service))):
            chain = endpoint_chain(service, address, port)
            memory = _memory(chain, affinity_s)
            chains[chain] = sets[memory] = None
            lines += [
                f" set {memory} {{ type ipv4_addr; flags dynamic,timeout; timeout {affinity_s}s; }}",
                f" chain {chain} {{ update @{memory} {{ ip saddr }};"
                f" meta l4proto {service['protocol']} dnat to {address}:{port}; }}",
            ]
        return lines

    def _choice(
        self, name: str, service: dict[str, Any], endpoints: list[tuple[str, int]], chains: dict[str, None]
    ) -> list[str]:
        """The chain ``name``: one of the endpoints, by chance or the one that the client had before."""
        chains[name] = None
        affinity_s, count = int(service.get("affinity_s") or 0), len(endpoints)
        if not affinity_s:
            targets = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(endpoints))
            choice = f"numgen random mod {count} map {{ {targets} }}"
            return [f" chain {name} {{ meta l4proto {service['protocol']} dnat ip addr . port to {choice}; }}"]
        by_endpoint = [endpoint_chain(service, address, port) for address, port in endpoints]
        keep = [f"  ip saddr @{_memory(chain, affinity_s)} goto {chain}" for chain in by_endpoint]
        pick = ", ".join(f"{index} : goto {chain}" for index, chain in enumerate(by_endpoint))
        return [f" chain {name} {{", *keep, f"  numgen random mod {count} vmap {{ {pick} }}", " }"]

    def _local(self, name: str, service: dict[str, Any], chains: dict[str, None]) -> list[str]:
        """The chain ``<name>_in``: pods by their node, dropped where it has no endpoint; this machine to any. Plain
        rules, no map: a packet under way must not find one empty."""
        lines, rules = [], []
        for source, endpoints in service["local"]:
            chain = f"{name}_on_{source.replace('.', '_').replace('/', '_')}"
            lines += self._choice(chain, service, [(str(address), int(port)) for address, port in endpoints], chains)
            rules.append(f"  ip saddr {source} goto {chain}")
        chains[f"{name}_in"] = None
        return [*lines, f" chain {name}_in {{", *rules, f"  ip saddr {self._settings.host} goto {name}",
                f"  ip saddr {self._settings.pod_range} drop", f"  goto {name}", " }"]


def _local_endpoints(service: dict[str, Any]) -> list[tuple[str, int]]:
    return [(str(address), int(port)) for _, endpoints in service.get("local", ()) for address, port in endpoints]


def _memory(chain: str, affinity_s: int) -> str:
    """A set's time cannot be changed, so it is part of its name."""
    return f"aff_{chain}_{affinity_s}s"


def _elements(head: str, kind: str, elements: Any) -> str:
    inside = f" elements = {{ {', '.join(elements)} }};" if elements else ""
    return f" {head} {{ type {kind};{inside} }}"


def _add_elements(name: str, elements: list[str]) -> list[str]:
    return [f"add element {TABLE} {name} {{ {', '.join(elements)} }}"] if elements else []
