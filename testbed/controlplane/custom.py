"""Kinds that CustomResourceDefinitions add, as ``ResourceType``s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.api.resources import ResourceType


def custom_types(definitions: Iterable[Mapping[str, Any]]) -> list[ResourceType]:
    """The first served version of each definition."""
    types = []
    for definition in definitions:
        spec = definition["spec"]
        version = next((item["name"] for item in spec.get("versions") or () if item.get("served")), None)
        if version is not None:
            names = spec["names"]
            types.append(
                ResourceType(spec["group"], version, names["plural"], names["kind"], spec.get("scope") == "Namespaced")
            )
    return types
