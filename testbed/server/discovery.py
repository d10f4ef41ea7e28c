"""Which kinds there are, as clients ask for it: aggregated (one document) and legacy (one per group).

Sources: kubernetes apiserver pkg/endpoints/discovery/aggregated, apimachinery metav1 APIResourceList.
"""

from __future__ import annotations

from typing import Any

from testbed.server.catalog import Catalog
from testbed.server.served import Served

Json = dict[str, Any]

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_REVIEWS = ("authorization.k8s.io", "v1")
# subresource → (verbs, group, version, kind) where they are not the resource's own
_SUBRESOURCES: dict[str, tuple[list[str], str, str, str]] = {
    "status": (["get", "patch", "update"], "", "", ""),
    "finalize": (["update"], "", "", ""),
    "scale": (["get", "patch", "update"], "autoscaling", "v1", "Scale"),
    "binding": (["create"], "", "v1", "Binding"),
    "eviction": (["create"], "policy", "v1", "Eviction"),
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
        items.append({"metadata": {"name": _REVIEWS[0]}, "versions": [{
            "version": _REVIEWS[1], "freshness": "Current", "resources": [{
                "resource": "selfsubjectaccessreviews", "scope": "Cluster",
                "singularResource": "selfsubjectaccessreview",
                "responseKind": {"group": _REVIEWS[0], "version": _REVIEWS[1], "kind": "SelfSubjectAccessReview"},
                "verbs": ["create"]}]}]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


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
    groups = [group for name in (*_groups(catalog), _REVIEWS[0]) if name and (group := find_group(catalog, name))]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def find_group(catalog: Catalog, name: str) -> Json | None:
    versions = [_REVIEWS[1]] if name == _REVIEWS[0] else list(_groups(catalog).get(name, ()))
    if not versions or not name:
        return None
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": told, "preferredVersion": told[0]}


def resource_list(catalog: Catalog, group: str, version: str) -> Json | None:
    """The body for ``/api/v1`` or ``/apis/<group>/<version>``; None when there is no such group."""
    group_version = f"{group}/{version}" if group else version
    entries: list[Json] = []
    if (group, version) == _REVIEWS:
        entries.append({"name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview",
                        "namespaced": False,
                        "kind": "SelfSubjectAccessReview", "verbs": ["create"]})
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
