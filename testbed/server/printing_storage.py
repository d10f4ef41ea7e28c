"""The columns of PersistentVolumes, claims, StorageClasses and VolumeAttachments.

Source: kubernetes pkg/printers/internalversion/printers.go (v1.32).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.api.storage_v1 import BETA_CLASS, PersistentVolumeClaim, StorageClass
from testbed.server.printer import Printer, age_of, name_of

Json = dict[str, Any]

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Any) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in (modes or ()))


def _phase(obj: Json) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else (obj.get("status") or {}).get("phase", "")


def _claim(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [name_of(obj), _phase(obj), spec.get("volumeName", ""),
            str((status.get("capacity") or {}).get("storage", "")) if bound else "",
            _modes(status.get("accessModes")) if bound else "", PersistentVolumeClaim.of(obj).class_name,
            spec.get("volumeAttributesClassName") or "<unset>", age_of(obj, now), spec.get("volumeMode") or "<unset>"]


def _volume(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef")
    annotated = (obj["metadata"].get("annotations") or {}).get(BETA_CLASS)
    return [name_of(obj), str((spec.get("capacity") or {}).get("storage", "")), _modes(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy", ""), _phase(obj),
            f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
            annotated if annotated is not None else spec.get("storageClassName", ""),
            spec.get("volumeAttributesClassName") or "<unset>", status.get("reason", ""), age_of(obj, now),
            spec.get("volumeMode") or "<unset>"]


def _class(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj) + (" (default)" if StorageClass.of(obj).is_default else ""), obj.get("provisioner", ""),
            obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate"),
            str(bool(obj.get("allowVolumeExpansion"))).lower(), age_of(obj, now)]


def _attachment(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [name_of(obj), spec.get("attacher", ""), (spec.get("source") or {}).get("persistentVolumeName", ""),
            spec.get("nodeName", ""), str(bool((obj.get("status") or {}).get("attached"))).lower(), age_of(obj, now)]


STORAGE_PRINTERS: dict[str, Printer] = {
    r.PERSISTENT_VOLUMES.group_resource: Printer(
        ("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
         "VolumeAttributesClass", "Reason", "Age", "VolumeMode*"), _volume),
    r.PERSISTENT_VOLUME_CLAIMS.group_resource: Printer(
        ("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
         "VolumeMode*"), _claim),
    r.STORAGE_CLASSES.group_resource: Printer(
        ("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"), _class),
    r.VOLUME_ATTACHMENTS.group_resource: Printer(
        ("Name", "Attacher", "PV", "Node", "Attached", "Age"), _attachment),
}
