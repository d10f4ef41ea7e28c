"""Routing plans: who gets a request, who owns a path, what is told about what cannot be served."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Service
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.networking_v1 import Ingress, IngressClass
from testbed.core.ingresses import RoutingPlan, plan_routing, serves
from testbed.core.services import Backend

Json = dict[str, Any]
CLASS = IngressClass.of({"metadata": {"name": "testbed"}, "spec": {"controller": "testbed.io/ingress"}})
FOREIGN = IngressClass.of({"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}})


def backend(service: str, port: Json | None = None) -> Json:
    return {"service": {"name": service, "port": port or {"number": 80}}}


def rule(host: str, *paths: tuple[str, str, str]) -> Json:
    return {**({"host": host} if host else {}), "http": {"paths": [
        {"path": path, "pathType": kind, "backend": backend(service)} for path, kind, service in paths]}}


def ingress(name: str, *rules: Json, age: int = 0, **spec: Any) -> Ingress:
    annotations = spec.pop("annotations", {})
    return Ingress.of({
        "metadata": {"name": name, "namespace": "default", "annotations": annotations,
                     "creationTimestamp": f"2030-01-01T00:00:{30 - age:02d}Z"},
        "spec": {"ingressClassName": "testbed", "rules": list(rules), **spec}})


def plan(*ingresses: Ingress, services: tuple[str, ...] = ("a", "b", "c"), **more: Any) -> RoutingPlan:
    known = {f"default/{name}": Service.of({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}) for name in services}
    slices = {f"default/{name}": (EndpointSlice.of({
        "metadata": {"name": name, "namespace": "default"}, "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.0.0.{index}"]}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}),) for index, name in enumerate(services, 1)}
    return plan_routing(ingresses, (CLASS, FOREIGN), known, more.get("slices", slices), more.get("secrets", {}))


def service_of(found: RoutingPlan, host: str, path: str, draw: int = 99) -> str:
    name = found.pool_of(host, path, draw)
    return name.split("_")[2] if name else ""


# Of kubernetes' own table: kubernetes.io/docs/concepts/services-networking/ingress, "Examples"
@pytest.mark.parametrize(("kind", "path", "asked", "found"), [
    ("Prefix", "/", "/anything/at/all", True),
    ("Exact", "/foo", "/foo", True), ("Exact", "/foo", "/bar", False),
    ("Exact", "/foo", "/foo/", False), ("Exact", "/foo/", "/foo", False),
    ("Prefix", "/foo", "/foo", True), ("Prefix", "/foo", "/foo/", True),
    ("Prefix", "/foo/", "/foo", True), ("Prefix", "/foo/", "/foo/", True),
    ("Prefix", "/aaa/bb", "/aaa/bbb", False), ("Prefix", "/aaa/bbb", "/aaa/bbb", True),
    ("Prefix", "/aaa/bbb/", "/aaa/bbb", True), ("Prefix", "/aaa/bbb", "/aaa/bbb/", True),
    ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", True), ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", False),
    ("ImplementationSpecific", "/x", "/x/y", True),
])
def test_paths_match_as_upstream_says(kind: str, path: str, asked: str, found: bool) -> None:
    assert (service_of(plan(ingress("one", rule("", (path, kind, "a")))), "h", asked) == "a") is found


@pytest.mark.parametrize(("host", "asked", "found"), [
    ("*.foo.com", "bar.foo.com", True), ("*.foo.com", "baz.bar.foo.com", False), ("*.foo.com", "foo.com", False),
    ("*.foo.com", ".foo.com", False), ("foo.com", "FOO.com:8080", True), ("foo.com", "a.foo.com", False),
    ("", "anything", True),
])
def test_hosts_match_as_upstream_says(host: str, asked: str, found: bool) -> None:
    assert (service_of(plan(ingress("one", rule(host, ("/", "Prefix", "a")))), asked, "/") == "a") is found


def test_exact_host_over_wildcard_over_none_then_the_longest_path_then_exact() -> None:
    found = plan(ingress(
        "one", rule("", ("/", "Prefix", "a")), rule("*.foo.com", ("/", "Prefix", "b")),
        rule("x.foo.com", ("/p", "Prefix", "a"), ("/p", "Exact", "b"), ("/p/q", "Prefix", "c"))))
    assert service_of(found, "x.foo.com", "/p") == "b"
    assert service_of(found, "x.foo.com", "/p/other") == "a"
    assert service_of(found, "x.foo.com", "/p/q/r") == "c"
    assert service_of(found, "x.foo.com", "/else") == "b"  # a rule that does not match leaves room for the next
    assert service_of(found, "y.foo.com", "/p") == "b"
    assert service_of(found, "z.org", "/p") == "a"


def test_what_matches_nothing_goes_to_the_default_backend_or_to_nobody() -> None:
    one = ingress("one", rule("h", ("/x", "Prefix", "a")))
    assert service_of(plan(one), "h", "/") == ""
    assert service_of(plan(one, ingress("two", defaultBackend=backend("b"))), "h", "/") == "b"


def test_the_older_ingress_owns_a_path() -> None:
    young, old = (ingress(name, rule("h", ("/", "Prefix", service)), age=age)
                  for name, service, age in (("young", "a", 1), ("old", "b", 9)))
    found = plan(young, old)
    assert service_of(found, "h", "/") == "b"
    assert [(note.ingress, note.reason) for note in found.notes] == [("default/young", "Shadowed")]


CANARY = {"ingress.testbed.io/canary": "true", "ingress.testbed.io/canary-weight": "10"}


def test_a_canary_gets_its_share_of_the_same_host_and_path() -> None:
    found = plan(ingress("main", rule("h", ("/", "Prefix", "a"))),
                 ingress("next", rule("h", ("/", "Prefix", "b")), age=9, annotations=CANARY))
    assert [service_of(found, "h", "/", draw) for draw in (0, 9, 10, 99)] == ["b", "b", "a", "a"]
    assert found.notes == ()


def test_a_canary_of_nothing_is_told() -> None:
    found = plan(ingress("next", rule("h", ("/", "Prefix", "b")), annotations=CANARY))
    assert service_of(found, "h", "/", 0) == ""
    assert [note.reason for note in found.notes] == ["CanaryAlone"]


def test_a_service_or_port_that_is_not_there_has_no_endpoints_and_is_told() -> None:
    missing = ingress("one", rule("h", ("/", "Prefix", "nobody")))
    named = ingress("two", {"host": "i", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": backend("a", {"name": "grpc"})}]}})
    found = plan(missing, named)
    assert {note.reason for note in found.notes} == {"ServiceNotFound", "PortNotFound"}
    assert all(pool.endpoints == () for pool in found.pools) and found.pool_of("h", "/", 0)


def test_ready_endpoints_only_and_terminating_ones_when_there_is_no_other() -> None:
    def piece(*conditions: tuple[bool, bool, bool]) -> dict[str, tuple[EndpointSlice, ...]]:
        return {"default/a": (EndpointSlice.of({
            "metadata": {"name": "a"}, "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [f"10.0.0.{index}"],
                           "conditions": {"ready": ready, "serving": serving, "terminating": terminating}}
                          for index, (ready, serving, terminating) in enumerate(conditions)]}),)}

    one = ingress("one", rule("h", ("/", "Prefix", "a")))
    both = plan(one, slices=piece((True, True, False), (False, True, True)))
    assert both.pools[0].endpoints == (Backend("10.0.0.0", 8080),)
    ending = plan(one, slices=piece((False, False, False), (False, True, True)))
    assert ending.pools[0].endpoints == (Backend("10.0.0.1", 8080),)


def test_certificates_by_secret_and_what_is_missing_is_told() -> None:
    tls = [{"hosts": ["a.com"], "secretName": "good"}, {"hosts": ["b.com"], "secretName": "gone"},
           {"hosts": ["c.com"], "secretName": "empty"}]
    found = plan(ingress("one", rule("a.com", ("/", "Prefix", "a")), tls=tls),
                 secrets={"default/good": frozenset({"tls.crt", "tls.key"}), "default/empty": frozenset()})
    assert [(one.secret, one.hosts) for one in found.certificates] == [("default/good", ("a.com",))]
    assert [note.reason for note in found.notes] == ["SecretNotFound", "SecretIncomplete"]


def test_only_our_class_is_served() -> None:
    def of(name: str | None, annotations: Json | None = None) -> Ingress:
        return Ingress.of({"metadata": {"name": "x", "annotations": annotations or {}},
                           "spec": {"ingressClassName": name} if name else {}})

    classes = (CLASS, FOREIGN)
    assert serves(of("testbed"), classes) and serves(of(None, {"kubernetes.io/ingress.class": "testbed"}), classes)
    assert not serves(of("nginx"), classes) and not serves(of("gone"), classes) and not serves(of(None), classes)


SEGMENTS = st.lists(st.sampled_from(("a", "b", "ab")), max_size=3).map(lambda parts: "/" + "/".join(parts))
HOSTS = st.sampled_from(("", "*.foo.com", "x.foo.com", "y.foo.com"))
RULES = st.lists(st.tuples(HOSTS, SEGMENTS, st.sampled_from(("Exact", "Prefix")), st.sampled_from("abc")), max_size=8)


@given(RULES, st.sampled_from(("x.foo.com", "y.foo.com", "z.foo.com", "foo.com")), SEGMENTS)
def test_no_matching_rule_is_more_specific_than_the_one_that_is_taken(
    rules: list[tuple[str, str, str, str]], host: str, path: str,
) -> None:
    found = plan(*(ingress(f"i{index}", rule(where, (what, kind, service)))
                   for index, (where, what, kind, service) in enumerate(rules)))
    taken = found.route(host, path)
    matching = [one for one in found.routes if one.matches(host, path)]
    assert (taken is None) == (not matching)
    if taken is not None:
        rank = {"": 0, "*": 1}
        best = max((rank.get(one.host[:1], 2), len(one.path), one.exact) for one in matching)
        assert (rank.get(taken.host[:1], 2), len(taken.path), taken.exact) == best
