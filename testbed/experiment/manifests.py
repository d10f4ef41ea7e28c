"""Checks Kubernetes manifests from files before anything is applied: kinds, field names, types, what belongs together.

The rules are the API server's own, so that a manifest that passes here is not refused there, save for what other
objects in the cluster forbid.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faults.left_out import instead
from testbed.api.resources import BUILT_IN, ResourceType
from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location

Json = dict[str, Any]


def resource_of(obj: Mapping[str, Any]) -> ResourceType | None:
    """Where objects of this apiVersion and kind live; None when this cluster does not serve them by itself."""
    return next((item for item in BUILT_IN
                 if item.kind == obj.get("kind") and item.api_version == obj.get("apiVersion")), None)


def resource_of_kind(kind: str) -> ResourceType | None:
    """Where objects of a kind live that is named without its group."""
    return next((item for item in BUILT_IN if item.kind == kind), None)


def near_kind(kind: str) -> str:
    """The kind that was probably meant, or ``""``."""
    near = difflib.get_close_matches(kind, [item.kind for item in BUILT_IN], n=1)
    return near[0] if near else ""


def check_manifests(documents: Sequence[Document]) -> Iterable[Mistake]:
    """All mistakes of the documents of one file."""
    seen: dict[tuple[str, str, str], int] = {}
    for document in documents:
        wrong = list(_check(document))
        yield from wrong
        if wrong:
            continue
        meta = document.value["metadata"]
        key = (str(document.value["kind"]), str(meta.get("namespace", "")), str(meta["name"]))
        if key in seen:
            yield document.mistake(("metadata", "name"),
                                   f"{key[0]} {key[2]!r} stands twice (first in line {seen[key]})")
        seen[key] = document.line(())


def _check(document: Document) -> Iterable[Mistake]:
    value = document.value
    if not isinstance(value, Mapping):
        yield document.mistake((), "expected a Kubernetes object")
        return
    resource = resource_of(value)
    if resource is None:
        yield _unknown_kind(document)
        return
    yield from _check_object(document, resource)


def _unknown_kind(document: Document) -> Mistake:
    kind, version = document.value.get("kind"), document.value.get("apiVersion")
    if reason := instead(str(version), str(kind)):
        return document.mistake(("kind",), reason)
    same = [item for item in BUILT_IN if item.kind == kind]
    if same:
        return document.mistake(("apiVersion",), f"there is no {kind} in {version!r}", suggestion=same[0].api_version)
    near = difflib.get_close_matches(str(kind or ""), [item.kind for item in BUILT_IN], n=1)
    return document.mistake(("kind",), f"unknown kind {kind!r}", suggestion=near[0] if near else "")


def _check_object(document: Document, resource: ResourceType) -> Iterable[Mistake]:
    """Names, types and values, as the API server judges them."""
    from testbed.server.fields import examine
    from testbed.server.judging import value_causes
    from testbed.server.served import BUILT_IN as SERVED

    cleaned, found = examine(resource.kind, document.value)
    for path, suggestion in found.unknown:
        yield document.mistake(location_of(path), "unknown field", suggestion=suggestion)
    for path, message in found.wrong:
        yield document.mistake(location_of(path), message)
    served = next(item for item in SERVED if item.resource == resource)
    for cause in value_causes(served, cleaned, found):
        yield document.mistake(location_of(cause["field"]), cause["message"])


def location_of(path: str) -> Location:
    """``spec.containers[0].image`` as a location. Keys with dots come out in parts, which only coarsens the line."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def defaulted_namespace(obj: Json, namespace: str) -> Json:
    """The object with the experiment's namespace where it names none."""
    resource = resource_of(obj)
    if resource is None or not resource.namespaced or obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
