"""Which Services are valid, and which changes of one.

Source: kubernetes pkg/apis/core/validation/validation.go (ValidateService, ValidateServiceUpdate). What is free to be
given out (addresses, node ports) is ``allocation``'s.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import DNS_SUBDOMAIN, SUBDOMAIN_RULE, check_address, check_label_name, check_labels
from testbed.server.validation_containers import check_port_name, check_port_number

Json = dict[str, Any]

MAX_AFFINITY_S = 86400
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def check_service(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    kind = spec.get("type")
    if kind not in _TYPES:
        causes.not_supported("spec.type", kind, _TYPES)
    headless = spec.get("clusterIP") == "None"
    if kind == "ExternalName":
        if not spec.get("externalName"):
            causes.required("spec.externalName")
        elif len(spec["externalName"]) > 253 or not DNS_SUBDOMAIN.match(spec["externalName"].removesuffix(".")):
            causes.invalid("spec.externalName", spec["externalName"], SUBDOMAIN_RULE)
    elif not spec.get("ports") and not headless:
        causes.required("spec.ports")
    if headless and kind in ("NodePort", "LoadBalancer"):
        causes.invalid("spec.clusterIP", "None", f"may not be set to 'None' for {kind} services")
    _ports(spec.get("ports") or (), causes)
    check_labels(spec.get("selector") or {}, "spec.selector", causes)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        check_address(address, f"spec.externalIPs[{index}]", causes)
    _affinity(spec, causes)
    _policies(spec, causes)
    _balancer(spec, causes)
    address = spec.get("clusterIP")
    if address and address != "None":
        check_address(address, "spec.clusterIPs[0]", causes)


def check_service_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if "ExternalName" not in (before.get("type"), after.get("type")) \
            and before.get("clusterIP") and after.get("clusterIP") != before["clusterIP"]:
        causes.invalid("spec.clusterIPs[0]", after.get("clusterIP"), "may not change once set")
    both = before.get("type") == after.get("type") == "LoadBalancer"
    if both and after.get("loadBalancerClass") != before.get("loadBalancerClass"):
        causes.invalid("spec.loadBalancerClass", after.get("loadBalancerClass"), "may not change once set")


def _ports(ports: Any, causes: Causes) -> None:
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            causes.required(f"{here}.name")
        elif name:
            check_label_name(name, f"{here}.name", causes)
            if name in names:
                causes.duplicate(f"{here}.name", name)
        names.add(name)
        _port(port, here, seen, causes)


def _port(port: Json, here: str, seen: set[tuple[Any, Any]], causes: Causes) -> None:
    if not port.get("port"):
        causes.required(f"{here}.port")
    else:
        check_port_number(port["port"], f"{here}.port", causes)
    target = port.get("targetPort")
    if isinstance(target, int):
        check_port_number(target, f"{here}.targetPort", causes)
    elif isinstance(target, str):
        check_port_name(target, f"{here}.targetPort", causes)
    if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
        causes.not_supported(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    key = (port.get("port"), port.get("protocol"))
    if key in seen:
        causes.duplicate(here, {"port": key[0], "protocol": key[1]})
    seen.add(key)


def _affinity(spec: Json, causes: Causes) -> None:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    if affinity not in ("None", "ClientIP"):
        causes.not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    elif affinity == "None" and config:
        causes.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    elif affinity == "ClientIP":
        timeout_s = ((config or {}).get("clientIP") or {}).get("timeoutSeconds") or 0
        if not 0 < timeout_s <= MAX_AFFINITY_S:
            causes.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", timeout_s,
                           f"must be greater than 0 and less than {MAX_AFFINITY_S}")


def _policies(spec: Json, causes: Causes) -> None:
    inside, outside = spec.get("internalTrafficPolicy"), spec.get("externalTrafficPolicy")
    if inside is not None and inside not in _POLICIES:
        causes.not_supported("spec.internalTrafficPolicy", inside, _POLICIES)
    if outside:
        if spec.get("type") not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
            causes.invalid("spec.externalTrafficPolicy", outside,
                           "may only be set for externally-accessible services")
        elif outside not in _POLICIES:
            causes.not_supported("spec.externalTrafficPolicy", outside, _POLICIES)
    if spec.get("healthCheckNodePort") and (spec.get("type") != "LoadBalancer" or outside != "Local"):
        causes.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"],
                       "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")


def _balancer(spec: Json, causes: Causes) -> None:
    if spec.get("type") != "LoadBalancer":
        for name in ("loadBalancerSourceRanges", "loadBalancerClass"):
            if spec.get(name):
                causes.forbidden(f"spec.{name}", _ONLY_BALANCER)
        if spec.get("allocateLoadBalancerNodePorts") is not None:
            causes.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER)
        return
    for index, item in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        if "/" not in item or not _is_range(item.strip()):
            causes.invalid(f"spec.loadBalancerSourceRanges[{index}]", item,
                           "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
