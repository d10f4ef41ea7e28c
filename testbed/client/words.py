"""Which kind a person means by a word: ``po``, ``pods``, ``Deployment``, ``deployments.apps``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.api.resources import BUILT_IN, ResourceType
from testbed.errors import InvalidInput, Mistake


def names_of(resource: ResourceType) -> tuple[str, ...]:
    singular = resource.singular or resource.kind.lower()
    group = f".{resource.group}" if resource.group else ""
    return (resource.plural, singular, *resource.short_names, resource.plural + group, singular + group)


def find_resource(word: str, known: Iterable[ResourceType] = BUILT_IN) -> ResourceType | None:
    lowered = word.lower()
    return next((resource for resource in known if lowered in names_of(resource)), None)


def unknown_kind(word: str, known: Iterable[ResourceType]) -> InvalidInput:
    """The error for a word that names no kind, with the nearest one that does."""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), [name for resource in known for name in names_of(resource)], n=1)
    return InvalidInput([Mistake(f"the cluster has no kind {word!r}", suggestion=close[0] if close else "")])


def resource_of_definition(definition: Mapping[str, Any]) -> ResourceType:
    """The kind that a CustomResourceDefinition makes."""
    spec, names = definition["spec"], definition["spec"]["names"]
    version = next(item["name"] for item in spec["versions"] if item.get("storage"))
    return ResourceType(spec["group"], version, names["plural"], names["kind"], spec["scope"] == "Namespaced",
                        names.get("singular", ""), tuple(names.get("shortNames") or ()))
