"""What names, labels and annotations may look like.

Sources: kubernetes apimachinery pkg/util/validation/validation.go, pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from testbed.server.causes import Causes

Json = dict[str, Any]

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
QUALIFIED_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
ENV_NAME = re.compile(r"[ -<>-~]+\Z")
CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
PATH_SEGMENT = re.compile(r"[^/%\x00-\x1f]+\Z")
_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
MAX_ANNOTATIONS = 256 * 1024

_LABEL_NAMES = frozenset({"namespaces"})
_SERVICE_NAMES = frozenset({"services"})
_PATH_NAMES = frozenset({
    "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
})


def check_metadata(metadata: Json, group_resource: str, causes: Causes, prefix: str = "metadata") -> None:
    name = metadata.get("name", "")
    if not name:
        causes.required(f"{prefix}.name", "name or generateName is required")
    else:
        check_name(name, group_resource, f"{prefix}.name", causes)
    check_labels(metadata.get("labels") or {}, f"{prefix}.labels", causes)
    check_annotations(metadata.get("annotations") or {}, f"{prefix}.annotations", causes)
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                causes.invalid(f"{prefix}.ownerReferences[{index}].{key}", owner.get(key, ""), f"{key} must not be "
                                                                                               "empty")
    if sum(bool(owner.get("controller")) for owner in metadata.get("ownerReferences") or ()) > 1:
        causes.invalid(f"{prefix}.ownerReferences", "", "Only one reference can have Controller set to true")
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        check_qualified(str(finalizer), f"{prefix}.finalizers[{index}]", causes)


def check_name(name: str, group_resource: str, field: str, causes: Causes) -> None:
    if group_resource in _PATH_NAMES:
        if not PATH_SEGMENT.match(name) or name in (".", ".."):
            causes.invalid(field, name, "may not be '.' or '..' and may not contain '/' or '%'")
    elif group_resource in _LABEL_NAMES:
        check_label_name(name, field, causes)
    elif group_resource in _SERVICE_NAMES:
        if len(name) > 63 or not DNS_1035_LABEL.match(name):
            causes.invalid(field, name, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                                        "start "
                           "with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
                           "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')")
    elif len(name) > 253:
        causes.invalid(field, name, "must be no more than 253 characters")
    elif not DNS_SUBDOMAIN.match(name):
        causes.invalid(field, name, SUBDOMAIN_RULE)


def is_address(text: str) -> bool:
    """An IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_address(text: str, field: str, causes: Causes) -> None:
    if not is_address(text):
        causes.invalid(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def check_domain_path(text: str, field: str, causes: Causes) -> None:
    """``example.com/foo`` (kubernetes: apimachinery validation.IsDomainPrefixedPath)."""
    domain, slash, path = text.partition("/")
    if not text:
        causes.required(field)
    elif not slash or not domain or not path:
        causes.invalid(field, text, 'must be a domain-prefixed path (such as "acme.io/foo")')
    elif not DNS_SUBDOMAIN.match(domain):
        causes.invalid(field, domain, SUBDOMAIN_RULE)
    elif not _HTTP_PATH.match(path):
        causes.invalid(field, path, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')")


def check_own_name(name: str, taken: set[str], field: str, causes: Causes) -> None:
    """Of one of several, such as containers: a label that no other has. Adds it to ``taken``."""
    if not name:
        causes.required(field)
    elif name in taken:
        causes.duplicate(field, name)
    else:
        check_label_name(name, field, causes)
    taken.add(name)


def check_label_name(name: str, field: str, causes: Causes) -> None:
    if len(name) > 63:
        causes.invalid(field, name, "must be no more than 63 characters")
    elif not DNS_LABEL.match(name):
        causes.invalid(field, name, LABEL_RULE)


def check_qualified(key: str, field: str, causes: Causes) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not DNS_SUBDOMAIN.match(prefix)):
        causes.invalid(field, key, "prefix part " + SUBDOMAIN_RULE)
    elif len(name) > 63:
        causes.invalid(field, key, "name part must be no more than 63 characters")
    elif not QUALIFIED_PART.match(name):
        causes.invalid(field, key, "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
                                   "start and "
                       "end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
                       "for "
                       "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")


def check_labels(labels: Json, field: str, causes: Causes) -> None:
    for key, value in labels.items():
        check_qualified(key, field, causes)
        check_label_value(value, field, causes)


def check_label_value(value: str, field: str, causes: Causes) -> None:
    if len(value) > 63:
        causes.invalid(field, value, "must be no more than 63 characters")
    elif value and not QUALIFIED_PART.match(value):
        causes.invalid(field, value, "a valid label must be an empty string or consist of alphanumeric characters, "
                                     "'-', '_' "
                       "or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                       "'my_value',  or "
                       "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")


def check_annotations(annotations: Json, field: str, causes: Causes) -> None:
    for key in annotations:
        check_qualified(key.lower(), field, causes)
    if sum(len(key) + len(value) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        causes.invalid(field, "", f"must have at most {MAX_ANNOTATIONS} bytes")
