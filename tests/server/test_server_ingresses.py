"""Ingress and IngressClass as the API judges, fills in and shows them."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from testbed.api.clock import SystemClock
from testbed.api.resources import INGRESS_CLASSES, INGRESSES
from testbed.core.profile import FAST
from testbed.errors import Invalid
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.options import WriteOptions
from testbed.server.printers import PRINTERS
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(Store(tmp_path / "store"), clock=SystemClock(), random=random.Random(1), profile=FAST,
                    service_range="10.9.128.0/17", node_ports=tuple(range(30000, 30016)))
    ensure_system_objects(made, "10.9.128.1")
    return made


def ingress(*, annotations: Json | None = None, **spec: Any) -> Json:
    rules = [{"host": "a.com", "http": {"paths": [copy.deepcopy(PATH)]}}]
    return {"metadata": {"name": "web", **({"annotations": annotations} if annotations else {})},
            "spec": {"rules": rules, **spec}}


def path(**changes: Any) -> Json:
    return {"rules": [{"http": {"paths": [{**PATH, **changes}]}}]}


def causes(registry: Registry, obj: Json) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        registry.create(INGRESSES, obj, "default")
    return {item["field"]: item["message"] for item in refused.value.details["causes"]}


P, B = "spec.rules[0].http.paths[0]", "spec.rules[0].http.paths[0].backend"


# kubernetes: pkg/apis/networking/validation/validation_test.go
@pytest.mark.parametrize(("spec", "field", "told"), [
    ({"rules": []}, "spec", "either `defaultBackend` or `rules` must be specified"),
    ({"rules": [{"host": "1.2.3.4"}]}, "spec.rules[0].host", "must be a DNS name, not an IP address"),
    ({"rules": [{"host": "foo.*.com"}]}, "spec.rules[0].host", "a wildcard DNS-1123 subdomain must start with '*.'"),
    ({"rules": [{"host": "Foo.com"}]}, "spec.rules[0].host", "a lowercase RFC 1123 subdomain"),
    ({"rules": [{"http": {"paths": []}}]}, "spec.rules[0].http.paths", "Required value"),
    (path(pathType="Regex"), f"{P}.pathType", 'supported values: "Exact", "ImplementationSpecific", "Prefix"'),
    (path(path="foo"), f"{P}.path", "must be an absolute path"),
    (path(path="/a//b"), f"{P}.path", "must not contain '//'"),
    (path(path="/a/.."), f"{P}.path", "cannot end with '/..'"),
    (path(path="/a%2fb", pathType="Exact"), f"{P}.path", "must not contain '%2f'"),
    (path(backend={}), B, "resource or service backend is required"),
    (path(backend={"service": {"name": "Web", "port": {"number": 80}}}), f"{B}.service.name", "DNS-1035 label"),
    (path(backend={"service": {"name": "web", "port": {}}}), B, "port name or number is required"),
    (path(backend={"service": {"name": "web", "port": {"number": 80, "name": "http"}}}), B,
     "cannot set both port name & port number"),
    (path(backend={"service": {"name": "web", "port": {"number": 65536}}}), f"{B}.service.port.number",
     "must be between 1 and 65535"),
    (path(backend={**BACKEND, "resource": {"kind": "X", "name": "x"}}), B,
     "cannot set both resource and service backends"),
    ({"tls": [{"hosts": ["*.*.com"]}]}, "spec.tls[0].hosts[0]", "a wildcard DNS-1123 subdomain"),
    ({"tls": [{"secretName": "Not"}]}, "spec.tls[0].secretName", "a lowercase RFC 1123 subdomain"),
    ({"ingressClassName": "No_"}, "spec.ingressClassName", "a lowercase RFC 1123 subdomain"),
])
def test_what_upstream_refuses_is_refused_in_its_words(registry: Registry, spec: Json, field: str, told: str) -> None:
    found = causes(registry, ingress(**spec))
    assert told in found[field], found


def test_a_path_type_is_required(registry: Registry) -> None:
    obj = ingress()
    del obj["spec"]["rules"][0]["http"]["paths"][0]["pathType"]
    assert causes(registry, obj)[f"{P}.pathType"] == "Required value: pathType must be specified"


def test_old_annotation_and_class_are_not_both_said(registry: Registry) -> None:
    obj = ingress(annotations={"kubernetes.io/ingress.class": "testbed"}, ingressClassName="testbed")
    assert "can not be set when the class field is also set" in str(causes(registry, obj))


def test_annotations_of_ours_are_judged_and_misspelt_ones_warned_of(registry: Registry) -> None:
    name = "ingress.testbed.io/rate-limit"
    assert 'as "50/s"' in causes(registry, ingress(annotations={name: "many"}))[f"metadata.annotations[{name}]"]
    options = WriteOptions(field_validation="Warn")
    registry.create(INGRESSES, ingress(annotations={"ingress.testbed.io/rate-limt": "1/s"}), "default", options=options)
    assert options.warnings == [
        "metadata.annotations[ingress.testbed.io/rate-limt]: this annotation is not known and has no effect "
        '(did you mean "ingress.testbed.io/rate-limit"?)']


def test_the_default_class_is_filled_in_unless_another_is_named(registry: Registry) -> None:
    made = registry.create(INGRESSES, ingress(), "default").value
    assert made["spec"]["ingressClassName"] == "testbed" and made["status"] == {"loadBalancer": {}}
    other = ingress(ingressClassName="nginx") | {"metadata": {"name": "other"}}
    assert registry.create(INGRESSES, other, "default").value["spec"]["ingressClassName"] == "nginx"


def test_of_default_classes_of_one_age_the_first_by_name_counts(registry: Registry) -> None:
    default = dict(registry.get(INGRESS_CLASSES, "testbed").value["metadata"]["annotations"])
    for name in ("another", "zebra"):
        registry.create(INGRESS_CLASSES, {"metadata": {"name": name, "annotations": default},
                                          "spec": {"controller": "a.io/b"}})
    assert registry.create(INGRESSES, ingress(), "default").value["spec"]["ingressClassName"] == "another"


def test_a_class_needs_a_controller_and_keeps_it(registry: Registry) -> None:
    for controller, told in (("", "Required value"), ("nginx", "must be a domain-prefixed path")):
        with pytest.raises(Invalid, match=told):
            registry.create(INGRESS_CLASSES, {"metadata": {"name": "x"}, "spec": {"controller": controller}})
    with pytest.raises(Invalid, match="Too long: may not be more than 250 bytes"):
        registry.create(INGRESS_CLASSES, {"metadata": {"name": "x"}, "spec": {"controller": f"a.io/{'x' * 250}"}})
    with pytest.raises(Invalid, match="field is immutable"):
        registry.patch(INGRESS_CLASSES, "testbed", {"spec": {"controller": "other.io/x"}})


def test_columns_are_those_of_kubectl(registry: Registry) -> None:
    printer = PRINTERS[INGRESSES.group_resource]
    assert printer.columns == ("Name", "Class", "Hosts", "Address", "Ports", "Age")
    made = registry.create(INGRESSES, ingress(tls=[{"hosts": ["a.com"], "secretName": "s"}]), "default").value
    made = {**made, "status": {"loadBalancer": {"ingress": [{"ip": "10.9.0.2"}]}}}
    assert printer.row(made, SystemClock().now())[:5] == ["web", "testbed", "a.com", "10.9.0.2", "80, 443"]
    nameless = {"metadata": {"name": "any"}, "spec": {"defaultBackend": BACKEND}}
    assert printer.row(nameless, SystemClock().now())[:5] == ["any", "<none>", "*", "", "80"]
