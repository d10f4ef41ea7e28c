"""Services: their addresses and ports, for as long as they have them. By upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import service

from testbed.api import resources as r
from testbed.errors import (
    Invalid,
)
from testbed.server.registry import Registry

Json = dict[str, Any]


def test_a_service_gets_an_address_of_the_range_and_its_target_port(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(), "default").value["spec"]
    assert made["clusterIP"].startswith("10.9.") and made["clusterIPs"] == [made["clusterIP"]]
    assert made["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_headless_and_external_services_get_no_address(registry: Registry) -> None:
    assert registry.create(r.SERVICES, service(clusterIP="None"), "default").value["spec"]["clusterIP"] == "None"
    external = service("ext", type="ExternalName", externalName="example.org", ports=[])
    assert "clusterIP" not in registry.create(r.SERVICES, external, "default").value["spec"]


def test_an_address_that_is_taken_or_outside_is_refused(registry: Registry) -> None:
    for address, why in (("10.9.128.1", "already allocated"), ("10.9.1.1", "not in the valid range")):
        with pytest.raises(Invalid, match=why):
            registry.create(r.SERVICES, service(clusterIP=address), "default")


def test_node_ports_come_from_the_published_ones_until_they_are_used_up(registry: Registry) -> None:
    ports = [registry.create(r.SERVICES, service(name, type="NodePort"),
                             "default").value["spec"]["ports"][0]["nodePort"]
             for name in ("a", "b")]
    assert ports == [30001, 30002]
    with pytest.raises(Invalid, match="no node port is free"):
        registry.create(r.SERVICES, service("c", type="NodePort"), "default")
    registry.delete(r.SERVICES, "a", "default")
    assert registry.create(r.SERVICES, service("c", type="NodePort"),
                           "default").value["spec"]["ports"][0]["nodePort"] == 30001


def test_an_update_without_address_keeps_it(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(type="NodePort"), "default").value["spec"]
    again = registry.update(r.SERVICES, service(type="NodePort", sessionAffinity="ClientIP"), "default").value["spec"]
    assert again["clusterIP"] == made["clusterIP"] and again["ports"] == made["ports"]
    plain = registry.update(r.SERVICES, service(), "default").value["spec"]
    assert "nodePort" not in plain["ports"][0] and plain["clusterIP"] == made["clusterIP"]


# --- load balancers


def balancer_ips(value: Json) -> list[str]:
    return [item["ip"] for item in value["status"]["loadBalancer"].get("ingress", ())]


def test_a_load_balancer_has_an_address_of_its_own_for_as_long_as_it_is_one(registry: Registry) -> None:
    made = registry.create(r.SERVICES, service(type="LoadBalancer"), "default").value
    other = {**service(type="LoadBalancer"), "metadata": {"name": "other"}}
    assert balancer_ips(made) == ["10.9.255.1"]
    assert balancer_ips(registry.create(r.SERVICES, other, "default").value) == ["10.9.255.2"]
    again = registry.patch(r.SERVICES, "web", {"spec": {"selector": {"a": "b"}}}, "default").value
    assert balancer_ips(again) == ["10.9.255.1"]
    plain = registry.patch(r.SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default").value
    assert balancer_ips(plain) == [] and "externalTrafficPolicy" not in plain["spec"]


def test_a_load_balancer_of_another_class_is_left_pending(registry: Registry) -> None:
    other = service(type="LoadBalancer", loadBalancerClass="example.com/lb")
    made = registry.create(r.SERVICES, other, "default").value
    assert balancer_ips(made) == []


def test_a_load_balancer_gets_the_address_it_wishes_and_no_node_port_where_it_wants_none(registry: Registry) -> None:
    wish = service(type="LoadBalancer", loadBalancerIP="10.9.255.9", allocateLoadBalancerNodePorts=False)
    made = registry.create(r.SERVICES, wish, "default").value
    assert balancer_ips(made) == ["10.9.255.9"] and "nodePort" not in made["spec"]["ports"][0]
    with pytest.raises(Invalid):
        registry.create(r.SERVICES, wish | {"metadata": {"name": "other"}}, "default")


@pytest.mark.parametrize(("spec", "field"), [
    ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
     "spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
    ({"internalTrafficPolicy": "Near"}, "spec.internalTrafficPolicy"),
    ({"externalTrafficPolicy": "Local"}, "spec.externalTrafficPolicy"),
    ({"type": "NodePort", "externalTrafficPolicy": "Near"}, "spec.externalTrafficPolicy"),
    ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "spec.loadBalancerSourceRanges"),
    ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]}, "spec.loadBalancerSourceRanges[0]"),
    ({"type": "NodePort", "healthCheckNodePort": 30001}, "spec.healthCheckNodePort"),
    ({"allocateLoadBalancerNodePorts": True}, "spec.allocateLoadBalancerNodePorts"),
    ({"clusterIP": "10.9.255.7"}, "spec.clusterIPs"),
])
def test_a_service_that_upstream_refuses_is_refused(registry: Registry, spec: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create(r.SERVICES, service(**spec), "default")
    assert field in str(refused.value)


def test_a_services_address_does_not_change(registry: Registry) -> None:
    registry.create(r.SERVICES, service(), "default")
    with pytest.raises(Invalid, match="may not change once set"):
        change = {"clusterIP": "10.9.128.77", "clusterIPs": ["10.9.128.77"]}
        registry.patch(r.SERVICES, "web", {"spec": change}, "default")
