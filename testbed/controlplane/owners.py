"""Owner references as they stand in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.api.resources import ResourceType

Json = dict[str, Any]


def owner_uids(obj: Mapping[str, Any]) -> list[str]:
    return [str(item.get("uid")) for item in obj["metadata"].get("ownerReferences") or ()]


def controller_uid(obj: Mapping[str, Any] | None) -> str:
    """UID of the object's controller, empty when it has none."""
    if obj is None:
        return ""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((str(item.get("uid", "")) for item in owners if item.get("controller")), "")


def controlled_by(resource: ResourceType, obj: Mapping[str, Any]) -> Json:
    """An owner reference to ``obj`` as the controller."""
    return {
        "apiVersion": resource.api_version, "kind": resource.kind, "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }
