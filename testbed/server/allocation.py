"""ClusterIPs, node ports and load balancers' addresses of Services. What is taken is read from the stored Services
each time, so nothing leaks.

A load balancer is the gateway itself: its address is one of the last 256 of the Service range, which this machine
routes there. One of a class of its own is left to whoever serves that class.

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
    """Fills ``clusterIP(s)``, ``nodePort``s and ``status.loadBalancer`` of a Service whose defaults are set.

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
    _allocate_balancer(obj, taken_addresses, balancer_range(ipaddress.IPv4Network(service_range)), causes)
    causes.raise_if_any("Service", "", name)


def balancer_range(services: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
    """The part of the Service range that load balancers' addresses are of."""
    return ipaddress.IPv4Network((services.broadcast_address, 24), strict=False)


def _allocate_balancer(obj: Json, taken: set[str], pool: ipaddress.IPv4Network, causes: Causes) -> None:
    """Gives, keeps or takes away the address. ``loadBalancerIP`` is granted where it is of the pool and free."""
    spec = obj["spec"]
    ours = spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if not ours:
        if spec.get("type") != "LoadBalancer" and given:
            obj["status"] = {**obj["status"], "loadBalancer": {}}
        return
    wished = spec.get("loadBalancerIP") or ""
    if given and wished in ("", given[0].get("ip")):
        return
    if wished and (wished in taken or not any(wished == str(item) for item in pool.hosts())):
        causes.invalid("spec.loadBalancerIP", wished, f"is taken, or not of this cluster's load balancers: {pool}")
        return
    free = wished or next((str(item) for item in pool.hosts() if str(item) not in taken), "")
    if not free:
        causes.invalid("spec.type", "LoadBalancer", f"no address of a load balancer is free: {pool}")
        return
    obj["status"] = {**(obj.get("status") or {}), "loadBalancer": {"ingress": [{"ip": free, "ipMode": "VIP"}]}}


def _taken(others: Iterable[Json]) -> tuple[set[str], set[int]]:
    addresses: set[str] = set()
    ports: set[int] = set()
    for other in others:
        addresses.add(other["spec"].get("clusterIP", ""))
        given = ((other.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        addresses.update(item.get("ip", "") for item in given)
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
            address = ipaddress.IPv4Address(wished)
            inside = address in network and address not in balancer_range(network)
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
        free = _free_address(taken, network, rng)
        if not free:
            causes.invalid("spec.clusterIPs", [], f"failed to allocate an IP: the range {network} is full")
            return
        spec["clusterIP"], spec["clusterIPs"] = free, [free]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _free_address(taken: set[str], network: ipaddress.IPv4Network, rng: random.Random) -> str:
    count = network.num_addresses - RESERVED - balancer_range(network).num_addresses
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
        if spec.get("allocateLoadBalancerNodePorts") is False and spec.get("type") == "LoadBalancer":
            continue
        candidate = next((item for item in free if item not in wished), None)
        if candidate is None:
            causes.invalid(here, 0, f"no node port is free: this cluster publishes {len(offered)}")
            continue
        free.remove(candidate)
        port["nodePort"] = candidate


def keep_allocations(new: Json, old: Json) -> None:
    """An update that says nothing about addresses and node ports keeps them; what another type leaves behind goes."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    _drop_left_behind(spec, before)
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


def _drop_left_behind(spec: Json, before: Json) -> None:
    """Fields that only the type before had a use for, and that nobody touched (kubernetes:
    pkg/registry/core/service/strategy.go, dropTypeDependentFields)."""
    outside, balancer = ("NodePort", "LoadBalancer"), ("LoadBalancer",)
    for name, kinds in (("externalTrafficPolicy", outside), ("allocateLoadBalancerNodePorts", balancer),
                        ("loadBalancerClass", balancer), ("healthCheckNodePort", balancer)):
        if spec.get("type") not in kinds and before.get("type") in kinds and spec.get(name) == before.get(name):
            spec.pop(name, None)
