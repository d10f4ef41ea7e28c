"""PersistentVolumes, claims, StorageClasses and attachments, ConfigMaps and Secrets under kube-state-metrics' names.

Of a ConfigMap or Secret nothing is shown but that it is there. Source: kubernetes/kube-state-metrics internal/store/
{persistentvolume,persistentvolumeclaim,storageclass,volumeattachment,configmap,secret}.go.
"""

from __future__ import annotations

from testbed.api.meta import quantity
from testbed.api.resources import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    SECRETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim
from testbed.server.metrics_pieces import (
    CREATED,
    NAMELESS,
    Json,
    Kind,
    Row,
    Values,
    all_conditions,
    created,
    each,
    fact,
    key_of,
    name_of,
    one_of,
    spec_of,
    status_of,
    text_of,
)

VOLUME_PHASES = ("Pending", "Available", "Bound", "Released", "Failed")
CLAIM_PHASES = ("Lost", "Bound", "Pending")


def _volume_info(obj: Json) -> tuple[str, ...]:
    """Of the other sources of upstream none can be used here: their labels would always be empty."""
    spec, volume = spec_of(obj), PersistentVolume.of(obj)
    return (volume.class_name, *text_of(spec.get("csi") or {}, "driver", "volumeHandle"),
            *text_of(spec.get("hostPath") or {}, "path", "type"), *text_of(spec.get("local") or {}, "path", "fsType"),
            *text_of(spec.get("nfs") or {}, "server", "path"), volume.spec.persistent_volume_reclaim_policy)


def _claim_ref(obj: Json) -> list[tuple[str, ...]]:
    found = spec_of(obj).get("claimRef")
    return [text_of(found, "name", "namespace")] if found else []


def _storage(amount: Json | None) -> Values:
    return [(NAMELESS, float(quantity((amount or {}).get("storage", 0))))]


VOLUMES_SHOWN = Kind(PERSISTENT_VOLUMES, ("persistentvolume",), name_of, (
    Row("kube_persistentvolume_info", "Information about persistentvolume.", fact(_volume_info), (
        "storageclass", "csi_driver", "csi_volume_handle", "host_path", "host_path_type", "local_path", "local_fs",
        "nfs_server", "nfs_path", "reclaim_policy")),
    Row("kube_persistentvolume_created", CREATED, created),
    Row("kube_persistentvolume_capacity_bytes", "Persistentvolume capacity in bytes.",
        lambda obj: _storage(spec_of(obj).get("capacity"))),
    Row("kube_persistentvolume_claim_ref", "Information about the Persistent Volume Claim Reference.",
        each(_claim_ref), ("name", "claim_namespace")),
    Row("kube_persistentvolume_status_phase", "The phase indicates if a volume is available, bound to a claim, or "
        "released by a claim.", one_of(VOLUME_PHASES, lambda obj: PersistentVolume.of(obj).status.phase), ("phase",)),
))


def _claim_info(obj: Json) -> tuple[str, ...]:
    claim = PersistentVolumeClaim.of(obj)
    return claim.class_name or "<none>", claim.spec.volume_name, claim.spec.volume_mode


CLAIMS_SHOWN = Kind(PERSISTENT_VOLUME_CLAIMS, ("namespace", "persistentvolumeclaim"), key_of, (
    Row("kube_persistentvolumeclaim_info", "Information about persistent volume claim.", fact(_claim_info),
        ("storageclass", "volumename", "volumemode")),
    Row("kube_persistentvolumeclaim_created", CREATED, created),
    Row("kube_persistentvolumeclaim_access_mode", "The access mode(s) specified by the persistent volume claim.",
        each(lambda obj: [(mode,) for mode in spec_of(obj).get("accessModes") or ()]), ("access_mode",)),
    Row("kube_persistentvolumeclaim_resource_requests_storage_bytes", "The capacity of storage requested by the "
        "persistent volume claim.",
        lambda obj: _storage((spec_of(obj).get("resources") or {}).get("requests"))),
    Row("kube_persistentvolumeclaim_status_phase", "The phase the persistent volume claim is currently in.",
        one_of(CLAIM_PHASES, lambda obj: PersistentVolumeClaim.of(obj).status.phase), ("phase",)),
    Row("kube_persistentvolumeclaim_status_condition", "Information about status of different conditions of persistent "
        "volume claim.", all_conditions, ("condition", "status")),
))


def _class_info(obj: Json) -> tuple[str, ...]:
    return (str(obj.get("provisioner", "")), str(obj.get("reclaimPolicy", "Delete")),
            str(obj.get("volumeBindingMode", "Immediate")))


CLASSES_SHOWN = Kind(STORAGE_CLASSES, ("storageclass",), name_of, (
    Row("kube_storageclass_info", "Information about storageclass.", fact(_class_info),
        ("provisioner", "reclaim_policy", "volume_binding_mode")),
    Row("kube_storageclass_created", CREATED, created),
))


def _attached_volume(obj: Json) -> list[tuple[str, ...]]:
    name = (spec_of(obj).get("source") or {}).get("persistentVolumeName")
    return [(name,)] if name else []


ATTACHMENTS_SHOWN = Kind(VOLUME_ATTACHMENTS, ("volumeattachment",), name_of, (
    Row("kube_volumeattachment_info", "Information about volumeattachment.",
        fact(lambda obj: text_of(spec_of(obj), "attacher", "nodeName")), ("attacher", "node")),
    Row("kube_volumeattachment_created", CREATED, created),
    Row("kube_volumeattachment_spec_source_persistentvolume", "PersistentVolume source reference.",
        each(_attached_volume), ("volumename",)),
    Row("kube_volumeattachment_status_attached", "Information about volumeattachment.",
        lambda obj: [(NAMELESS, float(bool(status_of(obj).get("attached"))))]),
))

CONFIG_MAPS_SHOWN = Kind(CONFIG_MAPS, ("namespace", "configmap"), key_of, (
    Row("kube_configmap_info", "Information about configmap.", fact(lambda obj: ())),
    Row("kube_configmap_created", CREATED, created),
))
SECRETS_SHOWN = Kind(SECRETS, ("namespace", "secret"), key_of, (
    Row("kube_secret_info", "Information about secret.", fact(lambda obj: ())),
    Row("kube_secret_type", "Type about secret.", fact(lambda obj: text_of(obj, "type")), ("type",)),
    Row("kube_secret_created", CREATED, created),
))
