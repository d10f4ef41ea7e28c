"""What the API server adds to new claims and volumes, and refuses of them for the cluster's sake.

Source: kubernetes plugin/pkg/admission/storage/{storageclass/setdefault,storageobjectinuseprotection,
persistentvolume/resize}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from testbed.api import resources as r
from testbed.api.meta import quantity
from testbed.api.storage_v1 import (
    BETA_CLASS,
    CLAIM_PROTECTION,
    VOLUME_PROTECTION,
    PersistentVolumeClaim,
    StorageClass,
)
from testbed.core.volume_matching import default_class
from testbed.errors import Forbidden

Json = dict[str, Any]
Values = Callable[[], Sequence[Json]]


def admit_new(group_resource: str, obj: Json, classes: Values) -> None:
    """Default class and protection. ``classes``: all StorageClasses."""
    if group_resource == r.PERSISTENT_VOLUME_CLAIMS.group_resource:
        _protect(obj, CLAIM_PROTECTION)
        _set_default_class(obj, classes)
        obj["status"] = {"phase": "Pending"}
    elif group_resource == r.PERSISTENT_VOLUMES.group_resource:
        _protect(obj, VOLUME_PROTECTION)
        obj["status"] = {"phase": "Pending"}


def _protect(obj: Json, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _set_default_class(claim: Json, classes: Values) -> None:
    if claim["spec"].get("storageClassName") is None and BETA_CLASS not in (claim["metadata"].get("annotations") or {}):
        chosen = default_class(StorageClass.of(item) for item in classes())
        if chosen is not None:
            claim["spec"]["storageClassName"] = chosen.metadata.name


def admit_resize(old: Json, new: Json, classes: Values) -> None:
    """Raises: Forbidden when the class of a claim that asks for more does not let it grow."""
    before, after = PersistentVolumeClaim.of(old), PersistentVolumeClaim.of(new)
    had, asked = (item.spec.resources.requests.get("storage", 0) for item in (before, after))
    if quantity(asked) <= quantity(had):
        return
    growing = {item.metadata.name for item in map(StorageClass.of, classes()) if item.allow_volume_expansion}
    if before.class_name not in growing:
        raise Forbidden(f'persistentvolumeclaims "{after.metadata.name}" is forbidden: only dynamically provisioned '
                        "pvc can be resized and the storageclass that provisions the pvc must support resize")
