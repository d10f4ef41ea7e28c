"""Which packets of a pod one injection is about. Pure.

Without peers: the outgoing ones, as Chaos Mesh does it, or for a partition what its direction says. With peers it is
not as simple, because the gateway translates a Service's address: the server sees its client's true address, the client
sees the Service's. So both the selected pods and the target pods get an injection, and each looks at those connections
only that it *serves*: there the address is true, on a direct path and through a Service alike, and each packet is met
once. "To" are packets from a selected pod to a target pod:

    direction   pod       meets                            which are
    to          target    incoming requests of selected    selected is the client
    to          selected  outgoing answers to targets      target is the client
    from        selected  incoming requests of targets     target is the client
    from        target    outgoing answers to selected     selected is the client
    both        both      all four

A packet that is dropped need not be counted, so a partition has these rules at both ends and for either side of a
connection, as in Chaos Mesh (controllers/chaosimpl/networkchaos/partition/impl.go): connections that stand already are
cut as well. A pod's way to itself crosses no network. Peers outside (``externalTargets``) are met at the selected pod,
whoever serves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from faults.protocol import PEERS, SELECTED, Json

DEVICE = "eth0"  # chaos-mesh: pkg/chaosdaemon/tc_server.go defaultDevice
SERVER = "server"


@dataclass(frozen=True)
class Ends:
    """Addresses of all pods that a fault object chose, and of the one that this injection is about."""

    own: str
    selected: Collection[str]
    targets: Collection[str] = ()


def flows(spec: Mapping[str, Any], key: str, ends: Ends) -> list[Json]:
    """For the tools image (packet_rules.py); empty when there is nothing for this pod to do."""
    direction = spec.get("direction") or "to"
    partition = spec["action"] == "partition"
    side = "" if partition else SERVER
    hooks = _hooks(direction, key, both_ends=True)
    found: list[Json] = []
    if spec.get("target"):
        found += [_flow(spec, key, hook, side, _pods(peers)) for hook in hooks
                  if (peers := _peers(key, direction, ends, partition=partition))]
    if key == SELECTED and spec.get("externalTargets"):
        addresses, names = external(spec["externalTargets"])
        found += [{**_flow(spec, key, hook, "", addresses), "names": names}
                  for hook in _hooks(direction, key, both_ends=False)]
    if key == SELECTED and not spec.get("target") and not spec.get("externalTargets"):
        found += [_flow(spec, key, hook, "", None) for hook in _hooks(direction, key, both_ends=False)]
    return found


def sent(spec: Mapping[str, Any], key: str, ends: Ends) -> list[Json]:
    """The same for a world that knows both true ends of a connection: each packet belongs to its sender."""
    direction = spec.get("direction") or "to"
    if not spec.get("target"):
        return flows(spec, key, ends)
    found = [flow for flow in flows(spec, key, ends) if not flow["side"] and "names" in flow]
    if direction in (("to", "both") if key == SELECTED else ("from", "both")):
        peers = _peers(key, direction, ends, partition=False)
        found += [_flow(spec, key, "out", "", _pods(peers))] if peers else []
    return found


def _hooks(direction: str, key: str, *, both_ends: bool) -> tuple[str, ...]:
    """``both_ends``: this pod does what the table says; else all of it: to its peers ``out``, from them ``in``."""
    if direction == "both":
        return "in", "out"
    if not both_ends:
        return ("out",) if direction == "to" else ("in",)
    return ("out",) if (direction == "to") == (key == SELECTED) else ("in",)


def _peers(key: str, direction: str, ends: Ends, *, partition: bool) -> list[str]:
    """A pair of pods that are chosen on both sides, in both directions, would be met twice: once is enough."""
    others = set(ends.targets if key == SELECTED else ends.selected) - {ends.own}
    if key == PEERS and direction == "both" and not partition and ends.own in ends.selected:
        others -= set(ends.targets)
    return sorted(others)


def _pods(addresses: Collection[str]) -> list[Json]:
    return [{"cidr": f"{address}/32", "port": 0} for address in addresses]


def _flow(spec: Mapping[str, Any], key: str, hook: str, side: str, peers: list[Json] | None) -> Json:
    field = "device" if key == SELECTED else "targetDevice"
    device = str(spec.get(field) or DEVICE).partition("@")[0]  # "eth0@if7", as ip prints it
    return {"hook": hook, "device": device, "side": side, "peers": peers}


def external(wanted: Collection[str]) -> tuple[list[Json], list[str]]:
    """Address ranges, and names that somebody must ask for (``host`` or ``host:port``)."""
    addresses, names = [], []
    for text in wanted:
        host, port = split(text)
        try:
            addresses.append({"cidr": str(ipaddress.IPv4Network(host, strict=False)), "port": port})
        except ValueError:
            names.append(f"{host}:{port}" if port else host)
    return addresses, names


def split(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``; 0 where there is none."""
    host, colon, port = text.strip().rpartition(":")
    return (host, int(port)) if colon else (port, 0)


def passes(found: Collection[Mapping[str, Any]], prober: str) -> int:
    """How often an echo request from ``prober`` (an address) and its answer are met."""
    address = ipaddress.IPv4Address(prober)
    return sum(1 for flow in found if flow["peers"] is None or any(
        address in ipaddress.IPv4Network(peer["cidr"]) and not peer["port"] for peer in flow["peers"]))
