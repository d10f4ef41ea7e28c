"""CustomResourceDefinitions: which are valid, and the kind that each makes.

Only the storage version of a definition is served; there is no conversion.
Source: kubernetes apiextensions-apiserver pkg/apis/apiextensions/validation/validation.go.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS, ResourceType
from testbed.server.causes import Causes
from testbed.server.names import DNS_1035_LABEL, DNS_SUBDOMAIN
from testbed.server.served import BUILT_IN, Served

Json = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_BUILT_IN_GROUPS = frozenset(served.resource.group for served in BUILT_IN)


def check_definition(obj: Json) -> None:
    """Raises: Invalid with all causes."""
    causes = Causes()
    spec: Json = obj.get("spec") or {}
    names: Json = spec.get("names") or {}
    group, plural = str(spec.get("group", "")), str(names.get("plural", ""))
    if not DNS_SUBDOMAIN.match(group) or "." not in group:
        causes.invalid("spec.group", group, "should be a domain with at least one dot")
    elif group in _BUILT_IN_GROUPS:
        causes.invalid("spec.group", group, "this group is served by the cluster itself")
    for key in ("plural", "singular"):
        if not DNS_1035_LABEL.match(str(names.get(key, ""))):
            causes.invalid(f"spec.names.{key}", names.get(key, ""), "must be a DNS-1035 label")
    if not re.match(r"[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?\Z", str(names.get("kind", ""))):
        causes.invalid("spec.names.kind", names.get("kind", ""), "must be a name such as MyKind")
    name = obj["metadata"].get("name", "")
    if name != f"{plural}.{group}":
        causes.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        causes.not_supported("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    versions = spec.get("versions") or []
    if not versions:
        causes.required("spec.versions", "must have exactly one version marked as storage version")
    elif sum(bool(version.get("storage")) for version in versions) != 1:
        causes.invalid("spec.versions", [version.get("name") for version in versions],
                       "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        here = f"spec.versions[{index}]"
        if not DNS_1035_LABEL.match(str(version.get("name", ""))):
            causes.invalid(f"{here}.name", version.get("name", ""), "must be a DNS-1035 label")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, dict):
            causes.required(f"{here}.schema.openAPIV3Schema", "schemas are required")
        else:
            _check_schema(schema, f"{here}.schema.openAPIV3Schema", causes)
    causes.raise_if_any("CustomResourceDefinition", CUSTOM_RESOURCE_DEFINITIONS.group, name)


def _check_schema(schema: Json, path: str, causes: Causes) -> None:
    pattern = schema.get("pattern")
    if pattern:
        try:
            re.compile(pattern)
        except re.error as error:
            causes.invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}")
    for key in ("properties", "definitions"):
        for name, child in (schema.get(key) or {}).items():
            if isinstance(child, dict):
                _check_schema(child, f"{path}.{key}[{name}]", causes)
    for key in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(key), dict):
            _check_schema(schema[key], f"{path}.{key}", causes)
    for key in ("allOf", "anyOf", "oneOf"):
        for index, child in enumerate(schema.get(key) or ()):
            _check_schema(child, f"{path}.{key}[{index}]", causes)


def served_by(obj: Json) -> Served | None:
    """The kind that a stored definition makes; None when its storage version is not served."""
    spec = obj["spec"]
    version = next(item for item in spec["versions"] if item.get("storage"))
    if not version.get("served", True):
        return None
    names = spec["names"]
    resource = ResourceType(
        spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced",
        names.get("singular", ""), tuple(names.get("shortNames") or ()), tuple(names.get("categories") or ()),
    )
    subresources = version.get("subresources") or {}
    return Served(
        resource, frozenset(subresources), generation=True, custom=True,
        schema=version["schema"]["openAPIV3Schema"], columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale=subresources.get("scale") or {},
    )


def establish(obj: Json, now: datetime) -> None:
    """Sets the status that says the kind is served."""
    spec, at = obj["spec"], format_time(now)
    status = obj.setdefault("status", {})
    if any(item.get("type") == "Established" for item in status.get("conditions") or ()):
        at = next(item["lastTransitionTime"] for item in status["conditions"] if item.get("type") == "Established")
    status["acceptedNames"] = spec["names"]
    status["storedVersions"] = [item["name"] for item in spec["versions"] if item.get("storage")]
    status["conditions"] = [
        {"type": "NamesAccepted", "status": "True", "lastTransitionTime": at, "reason": "NoConflicts",
         "message": "no conflicts found"},
        {"type": "Established", "status": "True", "lastTransitionTime": at, "reason": "InitialNamesAccepted",
         "message": "the initial names have been accepted"},
    ]
