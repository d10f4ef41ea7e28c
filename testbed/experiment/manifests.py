"""Checks Kubernetes manifests from files before anything is applied: kinds, field names, types, what belongs together.

The field tables are the API server's own, so that a manifest that passes here is not refused there for its shape; what
its values mean is the server's to judge.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from testbed.api.resources import BUILT_IN, ResourceType
from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def resource_of(obj: Mapping[str, Any]) -> ResourceType | None:
    """Where objects of this apiVersion and kind live; None when this cluster does not serve them by itself."""
    return next((item for item in BUILT_IN
                 if item.kind == obj.get("kind") and item.api_version == obj.get("apiVersion")), None)


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
    meta = value.get("metadata")
    if not isinstance(meta, Mapping) or not meta.get("name"):
        yield document.mistake(("metadata", "name"), "is required")
    elif not _NAME.fullmatch(str(meta["name"])):
        yield document.mistake(("metadata", "name"), f"{meta['name']!r} is not a name: use a-z, 0-9, '-' and '.'")
    yield from _check_fields(document, resource.kind)
    if resource.kind == "Deployment":
        yield from _check_deployment(document)


def _unknown_kind(document: Document) -> Mistake:
    kind, version = document.value.get("kind"), document.value.get("apiVersion")
    same = [item for item in BUILT_IN if item.kind == kind]
    if same:
        return document.mistake(("apiVersion",), f"there is no {kind} in {version!r}", suggestion=same[0].api_version)
    near = difflib.get_close_matches(str(kind or ""), [item.kind for item in BUILT_IN], n=1)
    return document.mistake(("kind",), f"unknown kind {kind!r}", suggestion=near[0] if near else "")


def _check_fields(document: Document, kind: str) -> Iterable[Mistake]:
    from testbed.server.fields import examine

    _, found = examine(kind, document.value)
    for path, suggestion in found.unknown:
        yield document.mistake(location_of(path), "unknown field", suggestion=suggestion)
    for path, message in found.wrong:
        yield document.mistake(location_of(path), message)


def _check_deployment(document: Document) -> Iterable[Mistake]:
    """What a Deployment must say so that it can ever have a ready pod (kubernetes: pkg/apis/apps/validation)."""
    spec = document.value.get("spec")
    if not isinstance(spec, Mapping):
        yield document.mistake(("spec",), "is required")
        return
    selector = _mapping(spec, "selector", "matchLabels")
    labels = _mapping(spec, "template", "metadata", "labels")
    if not selector and not _mapping(spec, "selector"):
        yield document.mistake(("spec", "selector"), "is required")
    for key, wanted in selector.items():
        if labels.get(key) != wanted:
            yield document.mistake(("spec", "template", "metadata", "labels", key),
                                   f"must be {wanted!r}, as the selector says")
    containers = _mapping(spec, "template", "spec").get("containers")
    if not isinstance(containers, list) or not containers:
        yield document.mistake(("spec", "template", "spec", "containers"), "needs at least one container")
        return
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not isinstance(container, Mapping) or not container.get(field):
                yield document.mistake(("spec", "template", "spec", "containers", index, field), "is required")


def _mapping(value: Any, *path: str) -> Mapping[str, Any]:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def location_of(path: str) -> Location:
    """``spec.containers[0].image`` as a location. Keys with dots come out in parts, which only coarsens the line."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def defaulted_namespace(obj: Json, namespace: str) -> Json:
    """The object with the experiment's namespace where it names none."""
    resource = resource_of(obj)
    if resource is None or not resource.namespaced or obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
