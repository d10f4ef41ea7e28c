"""ClusterIPs and node ports of Services. What is taken is read from the stored Services each time, so nothing leaks.

Source: kubernetes pkg/registry/core/service/storage/alloc.go, ipallocator. The first sixteen addresses are kept for
Services with fixed addresses (``kubernetes`` .1, ``kube-dns`` .10).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from typing import Any

from testbed.server.causes import Causes

Json = dict[str, Any]

RESERVED = 16


def allocate_service(
    obj: Json, others: Iterable[Json], service_range: str, node_ports: tuple[int, ...], rng: random.Random,
) -> None:
    """Fills ``clusterIP(s)`` and ``nodePort``s of a Service whose defaults are set.

    Raises: Invalid when a wished address or port is taken or outside the range, or nothing is free.
    """
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    causes = Causes()
    taken_addresses, taken_ports = _taken(others)
    if spec.get("type") == "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(key, None)
    else:
        _allocate_address(spec, taken_addresses, ipaddress.IPv4Network(service_range), rng, causes)
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        _allocate_ports(spec, taken_ports, node_ports, causes)
    else:
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    causes.raise_if_any("Service", "", name)


def _taken(others: Iterable[Json]) -> tuple[set[str], set[int]]:
    addresses: set[str] = set()
    ports: set[int] = set()
    for other in others:
        addresses.add(other["spec"].get("clusterIP", ""))
        ports.update(port["nodePort"] for port in other["spec"].get("ports") or () if port.get("nodePort"))
    return addresses, ports


def _allocate_address(
    spec: Json, taken: set[str], network: ipaddress.IPv4Network, rng: random.Random, causes: Causes,
) -> None:
    wished = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
    if wished == "None":
        spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
    elif wished:
        try:
            inside = ipaddress.IPv4Address(wished) in network
        except ValueError:
            return  # validation has the words for it
        if not inside:
            causes.invalid("spec.clusterIPs", [wished], f"failed to allocate IP {wished}: the provided IP is not in "
                                                        "the valid "
                           f"range. The range of valid IPs is {network}")
        elif wished in taken:
            causes.invalid("spec.clusterIPs", [wished], f"failed to allocate IP {wished}: provided IP is already "
                                                        "allocated")
        spec["clusterIP"], spec["clusterIPs"] = wished, [wished]
    else:
        address = _free_address(taken, network, rng)
        if not address:
            causes.invalid("spec.clusterIPs", [], f"failed to allocate an IP: the range {network} is full")
            return
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _free_address(taken: set[str], network: ipaddress.IPv4Network, rng: random.Random) -> str:
    count = network.num_addresses - RESERVED - 1
    start = rng.randrange(count)
    for step in range(count):
        address = str(network[RESERVED + (start + step) % count])
        if address not in taken:
            return address
    return ""


def _allocate_ports(spec: Json, taken: set[int], offered: tuple[int, ...], causes: Causes) -> None:
    free = [port for port in offered if port not in taken]
    wished = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    for index, port in enumerate(spec.get("ports") or ()):
        here, number = f"spec.ports[{index}].nodePort", port.get("nodePort")
        if number:
            if number not in offered:
                causes.invalid(here, number, "provided port is not one of this cluster's node ports: "
                               + ", ".join(map(str, offered)))
            elif number in taken:
                causes.invalid(here, number, "provided port is already allocated")
            continue
        candidate = next((item for item in free if item not in wished), None)
        if candidate is None:
            causes.invalid(here, 0, f"no node port is free: this cluster publishes {len(offered)}")
            continue
        free.remove(candidate)
        port["nodePort"] = candidate


def keep_allocations(new: Json, old: Json) -> None:
    """An update that says nothing about addresses and node ports keeps them."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if key not in spec and key in before:
            spec[key] = before[key]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        numbers = {(port.get("port"), port.get("protocol")): port["nodePort"]
                   for port in before.get("ports") or () if port.get("nodePort")}
        for port in spec.get("ports") or ():
            number = numbers.get((port.get("port"), port.get("protocol")))
            if number and not port.get("nodePort"):
                port["nodePort"] = number
