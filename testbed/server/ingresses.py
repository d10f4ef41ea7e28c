"""Ingresses and IngressClasses as kinds: which are valid, the default class, warnings, columns.

Source: kubernetes pkg/apis/networking/validation/validation.go, plugin/pkg/admission/network/defaultingressclass,
pkg/printers/internalversion/printers.go. What the annotations of ours mean: ``core/ingress_options``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from testbed.api import resources as r
from testbed.api.networking_v1 import DEFAULT_CLASS, LEGACY_CLASS
from testbed.core.ingress_options import known_annotations, read_options, unknown_annotations
from testbed.core.ingresses import CLASS_NAME, CONTROLLER
from testbed.server.causes import Causes
from testbed.server.names import DNS_SUBDOMAIN, SUBDOMAIN_RULE, check_domain_path, check_name, is_address
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.validation_containers import check_port_name, check_port_number

Json = dict[str, Any]

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_FORBIDDEN_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_AT_END = ("/..", "/.")
_LONGEST_CONTROLLER = 250
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    r"regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

CLASS = {
    "metadata": {"name": CLASS_NAME, "annotations": {DEFAULT_CLASS: "true"}}, "spec": {"controller": CONTROLLER},
}


def admit_ingress(obj: Json, classes: Iterable[Json]) -> None:
    """The default class, where a new Ingress names none; of several the newest, of one age the first by name."""
    spec = obj.setdefault("spec", {})
    if spec.get("ingressClassName") is not None or LEGACY_CLASS in (obj["metadata"].get("annotations") or {}):
        return
    defaults = [one["metadata"] for one in classes
                if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    if defaults:
        defaults.sort(key=lambda one: str(one["name"]))
        spec["ingressClassName"] = max(defaults, key=lambda one: str(one.get("creationTimestamp", "")))["name"]


def annotation_warnings(obj: Json) -> list[str]:
    """Annotations that look like ours and mean nothing."""
    told = []
    for name in unknown_annotations((obj.get("metadata") or {}).get("annotations") or {}):
        near = get_close_matches(name, known_annotations(), n=1, cutoff=0.7)
        told.append(f"metadata.annotations[{name}]: this annotation is not known and has no effect"
                    + (f' (did you mean "{near[0]}"?)' if near else ""))
    return told


def check_ingress(obj: Json, causes: Causes) -> None:
    spec, annotations = obj.get("spec") or {}, obj["metadata"].get("annotations") or {}
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        causes.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        _check_backend(backend, "spec.defaultBackend", causes)
    for index, rule in enumerate(rules):
        _check_rule(rule, f"spec.rules[{index}]", causes)
    for index, item in enumerate(spec.get("tls") or ()):
        here = f"spec.tls[{index}]"
        for place, host in enumerate(item.get("hosts") or ()):
            _check_host(host, f"{here}.hosts[{place}]", causes)
        if item.get("secretName"):
            check_name(item["secretName"], r.SECRETS.group_resource, f"{here}.secretName", causes)
    if spec.get("ingressClassName") is not None:
        check_name(spec["ingressClassName"], r.INGRESS_CLASSES.group_resource, "spec.ingressClassName", causes)
    for problem in read_options(annotations)[1]:
        causes.invalid(f"metadata.annotations[{problem.annotation}]", problem.value, problem.message)


def check_new_ingress(obj: Json, causes: Causes) -> None:
    """What is judged only when an Ingress is made: upstream lets old objects have both."""
    annotation = (obj["metadata"].get("annotations") or {}).get(LEGACY_CLASS)
    if annotation is not None and (obj.get("spec") or {}).get("ingressClassName") is not None:
        causes.invalid(f"annotations.{LEGACY_CLASS}", annotation, "can not be set when the class field is also set")


def _check_host(host: str, here: str, causes: Causes) -> None:
    if "*" in host:
        if len(host) > 253 or not host.startswith("*.") or not DNS_SUBDOMAIN.match(host[2:]):
            causes.invalid(here, host, _WILDCARD_RULE)
    elif len(host) > 253:
        causes.invalid(here, host, "must be no more than 253 characters")
    elif not DNS_SUBDOMAIN.match(host):
        causes.invalid(here, host, SUBDOMAIN_RULE)


def _check_rule(rule: Json, here: str, causes: Causes) -> None:
    host = rule.get("host")
    if host:
        if is_address(host):
            causes.invalid(f"{here}.host", host, "must be a DNS name, not an IP address")
        _check_host(host, f"{here}.host", causes)
    if rule.get("http") is None:
        return
    paths = rule["http"].get("paths") or ()
    if not paths:
        causes.required(f"{here}.http.paths")
    for index, path in enumerate(paths):
        _check_path(path, f"{here}.http.paths[{index}]", causes)


def _check_path(path: Json, here: str, causes: Causes) -> None:
    kind, text = path.get("pathType"), path.get("path", "")
    if kind is None:
        causes.required(f"{here}.pathType", "pathType must be specified")
    elif kind not in PATH_TYPES:
        causes.not_supported(f"{here}.pathType", kind, PATH_TYPES)
    elif not text.startswith("/") and (text or kind != "ImplementationSpecific"):
        causes.invalid(f"{here}.path", text, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for sequence in _FORBIDDEN_IN_PATH:
            if sequence in text:
                causes.invalid(f"{here}.path", text, f"must not contain '{sequence}'")
        for end in _FORBIDDEN_AT_END:
            if text.endswith(end):
                causes.invalid(f"{here}.path", text, f"cannot end with '{end}'")
    _check_backend(path.get("backend") or {}, f"{here}.backend", causes)


def _check_backend(backend: Json, here: str, causes: Causes) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        causes.invalid(here, "", "cannot set both resource and service backends")
    elif resource is not None:
        for key in ("kind", "name"):
            if not resource.get(key):
                causes.required(f"{here}.resource.{key}")
    elif service is None:
        causes.invalid(here, "", "resource or service backend is required")
    else:
        if not service.get("name"):
            causes.required(f"{here}.service.name")
        else:
            check_name(service["name"], r.SERVICES.group_resource, f"{here}.service.name", causes)
        _check_port(service.get("port") or {}, here, causes)


def _check_port(port: Json, here: str, causes: Causes) -> None:
    name, number = port.get("name"), port.get("number")
    if name and number:
        causes.invalid(here, "", "cannot set both port name & port number")
    elif name:
        check_port_name(name, f"{here}.service.port.name", causes)
    elif number:
        check_port_number(number, f"{here}.service.port.number", causes)
    else:
        causes.required(here, "port name or number is required")


def check_ingress_class(obj: Json, causes: Causes) -> None:
    controller = (obj.get("spec") or {}).get("controller", "")
    if len(controller) > _LONGEST_CONTROLLER:
        causes.too_long("spec.controller", _LONGEST_CONTROLLER)
    check_domain_path(controller, "spec.controller", causes)


def check_ingress_class_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = ((one.get("spec") or {}).get("controller", "") for one in (old, new))
    if before != after:
        causes.invalid("spec.controller", after, "field is immutable")


def _ingress_row(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = list(dict.fromkeys(rule["host"] for rule in spec.get("rules") or () if rule.get("host")))
    shown = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")
    points = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(str(one.get("ip") or one.get("hostname") or "") for one in points)
    return [name_of(obj), spec.get("ingressClassName") or "<none>", shown or "*", address,
            "80, 443" if spec.get("tls") else "80", age_of(obj, now)]


def _class_row(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    parameters, text = spec.get("parameters"), "<none>"
    if parameters:
        group = parameters.get("apiGroup")
        text = f"{parameters.get('kind', '')}{f'.{group}' if group else ''}/{parameters.get('name', '')}"
    return [name_of(obj), spec.get("controller", ""), text, age_of(obj, now)]


INGRESS_PRINTERS: dict[str, Printer] = {
    r.INGRESSES.group_resource: Printer(("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress_row),
    r.INGRESS_CLASSES.group_resource: Printer(("Name", "Controller", "Parameters", "Age"), _class_row),
}
