"""What both the binder and the scheduler write on volumes and claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.api.storage_v1 import BOUND_BY_CONTROLLER, PersistentVolumeClaim

Json = dict[str, Any]


def annotations_of(json: Json) -> dict[str, str]:
    """A copy that may be changed."""
    return dict(json["metadata"].get("annotations") or {})


def annotated(json: Json, annotations: Mapping[str, str]) -> Json:
    """The object with these annotations and no others."""
    return {**json, "metadata": {**json["metadata"], "annotations": dict(annotations)}}


def pointed_at(volume: Json, claim: PersistentVolumeClaim) -> Json:
    """The volume, naming the claim (kubernetes: component-helpers/storage/volume GetBindVolumeToClaim)."""
    annotations = annotations_of(volume)
    if not volume["spec"].get("claimRef"):
        annotations[BOUND_BY_CONTROLLER] = "yes"
    return {**annotated(volume, annotations), "spec": {**volume["spec"], "claimRef": claim.reference}}
