"""Which kinds there are, as clients ask for it: aggregated (one document) and legacy (one per group); which version.

Sources: kubernetes apiserver pkg/endpoints/discovery/aggregated, apimachinery metav1 APIResourceList.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from testbed.server.catalog import Catalog
from testbed.server.served import Served

Json = dict[str, Any]

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Json = {
    "major": "1", "minor": "32", "gitVersion": "v1.32.0+testbed", "gitCommit": "", "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
}


@dataclass(frozen=True)
class _Unstored:
    """A resource that is served and not stored."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]


_UNSTORED = (
    _Unstored("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview",
              "SelfSubjectAccessReview", False, ("create",)),
    _Unstored("metrics.k8s.io", "v1beta1", "nodes", "", "NodeMetrics", False, ("get", "list")),
    _Unstored("metrics.k8s.io", "v1beta1", "pods", "", "PodMetrics", True, ("get", "list")),
)
UNSTORED = frozenset((item.group, item.plural) for item in _UNSTORED)
# subresource → (verbs, group, version, kind) where they are not the resource's own
_SUBRESOURCES: dict[str, tuple[list[str], str, str, str]] = {
    "status": (["get", "patch", "update"], "", "", ""),
    "finalize": (["update"], "", "", ""),
    "scale": (["get", "patch", "update"], "autoscaling", "v1", "Scale"),
    "binding": (["create"], "", "v1", "Binding"),
    "eviction": (["create"], "policy", "v1", "Eviction"),
    "token": (["create"], "authentication.k8s.io", "v1", "TokenRequest"),
    "log": (["get"], "", "", ""),
    "exec": (["create", "get"], "", "v1", "PodExecOptions"),
    "attach": (["create", "get"], "", "v1", "PodAttachOptions"),
    "proxy": (["get"], "", "v1", "NodeProxyOptions"),
}


def wants_aggregated(accept: str) -> bool:
    """Whether the client reads ``apidiscovery.k8s.io/v2``."""
    return any("as=APIGroupDiscoveryList" in item and "v=v2;" in item.replace(" ", "") + ";"
               for item in accept.split(","))


def _groups(catalog: Catalog) -> dict[str, dict[str, list[Served]]]:
    groups: dict[str, dict[str, list[Served]]] = {}
    for served in catalog:
        groups.setdefault(served.resource.group, {}).setdefault(served.resource.version, []).append(served)
    return groups


def aggregated(catalog: Catalog, *, core: bool) -> Json:
    """The body for ``/api`` (``core``) or ``/apis``."""
    groups = {name: versions for name, versions in _groups(catalog).items() if (name == "") is core}
    items = []
    for name, versions in groups.items():
        items.append({
            "metadata": {"name": name} if name else {"creationTimestamp": None},
            "versions": [{"version": version, "freshness": "Current",
                          "resources": [_aggregated_resource(item) for item in served]}
                         for version, served in versions.items()],
        })
    if not core:
        for (name, version), found in _unstored_groups().items():
            items.append({"metadata": {"name": name}, "versions": [{
                "version": version, "freshness": "Current", "resources": [{
                    "resource": item.plural, "scope": "Namespaced" if item.namespaced else "Cluster",
                    "singularResource": item.singular,
                    "responseKind": {"group": name, "version": version, "kind": item.kind},
                    "verbs": list(item.verbs)} for item in found]}]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _unstored_groups() -> dict[tuple[str, str], list[_Unstored]]:
    groups: dict[tuple[str, str], list[_Unstored]] = {}
    for item in _UNSTORED:
        groups.setdefault((item.group, item.version), []).append(item)
    return groups


def _kind(served: Served, name: str = "") -> Json:
    verbs, group, version, kind = _SUBRESOURCES.get(name, ([], "", "", ""))
    resource = served.resource
    if not kind:
        group, version, kind = resource.group, resource.version, resource.kind
    return {"group": group, "version": version, "kind": kind}


def _aggregated_resource(served: Served) -> Json:
    resource = served.resource
    entry: Json = {
        "resource": resource.plural, "responseKind": _kind(served),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(), "verbs": VERBS,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    subresources = [{"subresource": name, "responseKind": _kind(served, name), "verbs": _SUBRESOURCES[name][0]}
                    for name in sorted(served.subresources) if name in _SUBRESOURCES]
    if subresources:
        entry["subresources"] = subresources
    return entry


# --- legacy


def api_versions(address: str) -> Json:
    return {"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]}


def group_list(catalog: Catalog) -> Json:
    names = dict.fromkeys((*_groups(catalog), *(item.group for item in _UNSTORED)))
    groups = [group for name in names if name and (group := find_group(catalog, name))]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def find_group(catalog: Catalog, name: str) -> Json | None:
    versions = [version for group, version in _unstored_groups() if group == name]
    versions += _groups(catalog).get(name, ())
    if not versions or not name:
        return None
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": told, "preferredVersion": told[0]}


def resource_list(catalog: Catalog, group: str, version: str) -> Json | None:
    """The body for ``/api/v1`` or ``/apis/<group>/<version>``; None when there is no such group."""
    group_version = f"{group}/{version}" if group else version
    entries: list[Json] = []
    for item in _unstored_groups().get((group, version), ()):
        entries.append({"name": item.plural, "singularName": item.singular, "namespaced": item.namespaced,
                        "kind": item.kind, "verbs": list(item.verbs)})
    for served in _groups(catalog).get(group, {}).get(version, ()):
        resource = served.resource
        entry: Json = {"name": resource.plural, "singularName": resource.singular or resource.kind.lower(),
                       "namespaced": resource.namespaced, "kind": resource.kind, "verbs": VERBS}
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        entries.append(entry)
        entries.extend(_legacy_subresource(served, name) for name in sorted(served.subresources)
                       if name in _SUBRESOURCES)
    if not entries:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _legacy_subresource(served: Served, name: str) -> Json:
    verbs, group, version, kind = _SUBRESOURCES[name]
    entry: Json = {"name": f"{served.resource.plural}/{name}", "singularName": "",
                   "namespaced": served.resource.namespaced,
                   "kind": kind or served.resource.kind, "verbs": verbs}
    if group:
        entry |= {"group": group, "version": version}
    return entry
