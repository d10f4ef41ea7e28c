"""PersistentVolumes, claims, StorageClasses and VolumeAttachments: defaults, what is valid, which changes are.

Sources: kubernetes pkg/apis/core/v1/defaults.go, pkg/apis/storage/v1/defaults.go, pkg/apis/core/validation
(ValidatePersistentVolume, ValidatePersistentVolumeClaim and their updates), pkg/apis/storage/validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api import resources as r
from testbed.api.meta import quantity
from testbed.api.storage_v1 import ACCESS_MODES, DRIVER, ONE_POD
from testbed.server.causes import Causes
from testbed.server.names import DNS_SUBDOMAIN, SUBDOMAIN_RULE, check_name, check_qualified
from testbed.server.validation_containers import check_quantity
from testbed.server.validation_placement import check_node_selector, check_selector

Json = dict[str, Any]

_MODES = ("Block", "Filesystem")
_POLICIES = ("Delete", "Recycle", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_NOT_SOURCES = frozenset({
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
})
_IMMUTABLE_CLAIM = ("spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                    "bound claims")


# --- defaults


def volume_defaults(obj: Json) -> None:
    spec = _map(obj, "spec")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        spec["hostPath"].setdefault("type", "")
    _map(obj, "status").setdefault("phase", "Pending")


def claim_defaults(obj: Json) -> None:
    claim_spec_defaults(_map(obj, "spec"))
    _map(obj, "status").setdefault("phase", "Pending")


def claim_template_defaults(template: Json) -> None:
    """Of a StatefulSet: a claim without its own name space, as upstream stores it."""
    template.setdefault("apiVersion", "v1")
    template.setdefault("kind", "PersistentVolumeClaim")
    claim_defaults(template)


def claim_spec_defaults(spec: Json) -> None:
    spec.setdefault("volumeMode", "Filesystem")


def class_defaults(obj: Json) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _map(obj: Json, key: str) -> Json:
    value = obj.get(key)
    if not isinstance(value, dict):
        value = obj[key] = {}
    return value


# --- what is valid


def check_claim(obj: Json, causes: Causes) -> None:
    check_claim_spec(obj.get("spec") or {}, "spec", causes)


def check_claim_spec(spec: Json, path: str, causes: Causes) -> None:
    _check_modes(spec.get("accessModes") or (), f"{path}.accessModes", "at least 1 access mode is required", causes)
    if spec.get("selector") is not None:
        check_selector(spec["selector"], f"{path}.selector", causes)
    requests = (spec.get("resources") or {}).get("requests") or {}
    here = f"{path}.resources[storage]"
    if "storage" not in requests:
        causes.required(here)
    else:
        _check_size(requests["storage"], here, causes)
    if spec.get("storageClassName"):
        check_name(spec["storageClassName"], r.STORAGE_CLASSES.group_resource, f"{path}.storageClassName", causes)
    _check_volume_mode(spec.get("volumeMode"), f"{path}.volumeMode", causes)


def check_volume(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    _check_modes(spec.get("accessModes") or (), "spec.accessModes", "", causes)
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.required("spec.capacity")
    elif set(capacity) != {"storage"}:
        causes.not_supported("spec.capacity", sorted(capacity), ("storage",))
    else:
        _check_size(capacity["storage"], "spec.capacity[storage]", causes)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy not in _POLICIES:
        causes.not_supported("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    _check_sources(spec, policy, causes)
    if spec.get("storageClassName"):
        check_name(spec["storageClassName"], r.STORAGE_CLASSES.group_resource, "spec.storageClassName", causes)
    _check_volume_mode(spec.get("volumeMode"), "spec.volumeMode", causes)
    affinity = spec.get("nodeAffinity")
    if affinity is not None and affinity.get("required") is None:
        causes.required("spec.nodeAffinity.required", "must specify required node constraints")
    elif affinity is not None:
        check_node_selector(affinity["required"], "spec.nodeAffinity.required", causes)


def _check_sources(spec: Json, policy: Any, causes: Causes) -> None:
    sources = sorted(set(spec) - _NOT_SOURCES)
    if not sources:
        causes.required("spec", "must specify a volume type")
    for extra in sources[1:]:
        causes.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    host_path = spec.get("hostPath")
    if host_path is not None:
        _check_host_path(host_path, policy, causes)
    if spec.get("local") is not None:
        if not spec["local"].get("path"):
            causes.required("spec.local.path")
        if spec.get("nodeAffinity") is None:
            causes.required("spec.nodeAffinity", "Local volume requires node affinity")
    csi = spec.get("csi")
    if csi is not None:
        if not csi.get("driver"):
            causes.required("spec.csi.driver")
        elif not DNS_SUBDOMAIN.match(csi["driver"].lower()) or len(csi["driver"]) > 63:
            causes.invalid("spec.csi.driver", csi["driver"], SUBDOMAIN_RULE)
        if not csi.get("volumeHandle"):
            causes.required("spec.csi.volumeHandle")


def _check_host_path(host_path: Json, policy: Any, causes: Causes) -> None:
    kinds = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
    path = host_path.get("path", "")
    if not path:
        causes.required("spec.hostPath.path")
    elif ".." in path.split("/"):
        causes.invalid("spec.hostPath.path", path, "must not contain '..'")
    if host_path.get("type", "") not in kinds:
        causes.not_supported("spec.hostPath.type", host_path["type"], kinds)
    if path == "/" and policy == "Recycle":
        causes.forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")


def _check_modes(modes: Any, path: str, why: str, causes: Causes) -> None:
    if not modes:
        causes.required(path, why)
    for mode in modes:
        if mode not in ACCESS_MODES:
            causes.not_supported(path, mode, ACCESS_MODES)
    if ONE_POD in modes and len(modes) > 1:
        causes.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _check_size(value: Any, path: str, causes: Causes) -> None:
    before = len(causes.items)
    check_quantity(value, path, causes)
    if len(causes.items) == before and quantity(value) <= 0:
        causes.invalid(path, str(value), "must be greater than zero")


def _check_volume_mode(mode: Any, path: str, causes: Causes) -> None:
    if mode is not None and mode not in _MODES:
        causes.not_supported(path, mode, _MODES)


def check_class(obj: Json, causes: Causes) -> None:
    provisioner = obj.get("provisioner", "")
    if not provisioner:
        causes.required("provisioner")
    else:
        check_qualified(provisioner.lower(), "provisioner", causes)
    for key in obj.get("parameters") or {}:
        if not key:
            causes.invalid("parameters", key, "field can not be empty.")
    if obj.get("reclaimPolicy") not in ("Delete", "Retain"):
        causes.not_supported("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"))
    if obj.get("volumeBindingMode") not in _BINDING:
        causes.not_supported("volumeBindingMode", obj.get("volumeBindingMode"), _BINDING)


def check_attachment(obj: Json, causes: Causes) -> None:
    spec = obj.get("spec") or {}
    for key in ("attacher", "nodeName"):
        if not spec.get(key):
            causes.required(f"spec.{key}")
    if not (spec.get("source") or {}).get("persistentVolumeName"):
        causes.required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")


def volume_warnings(obj: Json) -> list[str]:
    """What nodes of this cluster will not mount although it is valid."""
    spec = obj.get("spec") or {}
    if spec.get("hostPath") is not None:
        return ["spec.hostPath: only directories below the cluster's own directory `hostpath` are mounted by its nodes"]
    driver = (spec.get("csi") or {}).get("driver", DRIVER)
    return [] if driver == DRIVER else [f"spec.csi.driver: volumes of {driver} are kept, but nodes here mount only "
                                        f"those of {DRIVER}"]


# --- which changes are


def check_claim_update(old: Json, new: Json, causes: Causes) -> None:
    """A claim without a class may get one; a bound one may ask for more."""
    before, after = dict(old.get("spec") or {}), dict(new.get("spec") or {})
    if not before.get("volumeName"):
        after.pop("volumeName", None)
        before.pop("volumeName", None)
    if before.get("storageClassName") is None:
        after.pop("storageClassName", None)
    asked, had = _requests(new).get("storage"), _requests(old).get("storage")
    for spec in (before, after):
        resources = spec.pop("resources", None) or {}
        spec["resources"] = {**resources, "requests": {key: value for key, value in (resources.get("requests") or {})
                                                       .items() if key != "storage"}}
    if before != after:
        causes.forbidden("spec", _IMMUTABLE_CLAIM)
    elif asked is not None and had is not None and quantity(asked) != quantity(had):
        if (old.get("status") or {}).get("phase") != "Bound":
            causes.forbidden("spec", _IMMUTABLE_CLAIM)
        elif quantity(asked) < quantity(had):
            causes.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _requests(claim: Json) -> Json:
    return ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}


def check_volume_update(old: Json, new: Json, causes: Causes) -> None:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    sources = (set(before) | set(after)) - _NOT_SOURCES
    if any(before.get(key) != after.get(key) for key in sources):
        causes.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if before.get("volumeMode") != after.get("volumeMode"):
        causes.invalid("spec.volumeMode", after.get("volumeMode"), "field is immutable")
    if before.get("nodeAffinity") is not None and before["nodeAffinity"] != after.get("nodeAffinity"):
        causes.invalid("spec.nodeAffinity", after.get("nodeAffinity"), "field is immutable, except for updating from "
                                                                       "beta label to GA")


def check_class_update(old: Json, new: Json, causes: Causes) -> None:
    for key, default in (("parameters", {}), ("provisioner", ""), ("reclaimPolicy", "Delete")):
        if (old.get(key) or default) != (new.get(key) or default):
            causes.forbidden(key, f"updates to {key} are forbidden.")
    if old.get("volumeBindingMode") != new.get("volumeBindingMode"):
        causes.invalid("volumeBindingMode", new.get("volumeBindingMode"), "field is immutable")


def check_attachment_update(old: Json, new: Json, causes: Causes) -> None:
    if old.get("spec") != new.get("spec"):
        causes.invalid("spec", new.get("spec"), "field is immutable")


DEFAULTS: dict[str, Callable[[Json], None]] = {
    r.PERSISTENT_VOLUMES.group_resource: volume_defaults,
    r.PERSISTENT_VOLUME_CLAIMS.group_resource: claim_defaults,
    r.STORAGE_CLASSES.group_resource: class_defaults,
}
CHECKS: dict[str, Callable[[Json, Causes], None]] = {
    r.PERSISTENT_VOLUMES.group_resource: check_volume, r.PERSISTENT_VOLUME_CLAIMS.group_resource: check_claim,
    r.STORAGE_CLASSES.group_resource: check_class, r.VOLUME_ATTACHMENTS.group_resource: check_attachment,
}
UPDATES: dict[str, Callable[[Json, Json, Causes], None]] = {
    r.PERSISTENT_VOLUMES.group_resource: check_volume_update,
    r.PERSISTENT_VOLUME_CLAIMS.group_resource: check_claim_update,
    r.STORAGE_CLASSES.group_resource: check_class_update,
    r.VOLUME_ATTACHMENTS.group_resource: check_attachment_update,
}
