"""PersistentVolumes, claims and StorageClasses under kube-state-metrics' names.

Source: kubernetes/kube-state-metrics internal/store/{persistentvolume,persistentvolumeclaim,storageclass}.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from testbed.api.meta import quantity
from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim
from testbed.server.metrics_pieces import Items, gauge, moment

VOLUME_PHASES = ("Pending", "Available", "Bound", "Released", "Failed")
CLAIM_PHASES = ("Lost", "Bound", "Pending")


def storage_metrics(items: Items) -> Iterator[Metric]:
    yield from _volumes([PersistentVolume.of(item) for item in items(PERSISTENT_VOLUMES)])
    yield from _claims([PersistentVolumeClaim.of(item) for item in items(PERSISTENT_VOLUME_CLAIMS)])
    yield gauge(
        "kube_storageclass_info", "Information about storageclass.",
        ("storageclass", "provisioner", "reclaim_policy", "volume_binding_mode"),
        (((item["metadata"]["name"], item.get("provisioner", ""), item.get("reclaimPolicy", "Delete"),
           item.get("volumeBindingMode", "Immediate")), 1.0) for item in items(STORAGE_CLASSES)),
    )
    yield gauge("kube_storageclass_created", "Unix creation timestamp", ("storageclass",), (
        ((item["metadata"]["name"],), at) for item in items(STORAGE_CLASSES)
        for at in moment(item["metadata"].get("creationTimestamp"))))


def _volumes(volumes: Sequence[PersistentVolume]) -> Iterator[Metric]:
    name = ("persistentvolume",)
    yield gauge(
        "kube_persistentvolume_status_phase", "The phase indicates if a volume is available, bound to a claim, or "
        "released by a claim.", (*name, "phase"),
        (((item.metadata.name, phase), float(item.status.phase == phase)) for item in volumes
         for phase in VOLUME_PHASES),
    )
    yield gauge(
        "kube_persistentvolume_info", "Information about persistentvolume.",
        (*name, "storageclass", "csi_driver", "csi_volume_handle", "host_path", "host_path_type", "reclaim_policy"),
        (((item.metadata.name, item.class_name, item.spec.csi.driver if item.spec.csi else "",
           item.spec.csi.volume_handle if item.spec.csi else "",
           item.spec.host_path.path if item.spec.host_path else "",
           item.spec.host_path.type if item.spec.host_path else "", item.spec.persistent_volume_reclaim_policy), 1.0)
         for item in volumes),
    )
    yield gauge("kube_persistentvolume_capacity_bytes", "Persistentvolume capacity in bytes.", name, (
        ((item.metadata.name,), float(quantity(item.spec.capacity.get("storage", 0)))) for item in volumes))
    yield gauge(
        "kube_persistentvolume_claim_ref", "Information about the Persistent Volume Claim Reference.",
        (*name, "name", "claim_namespace"),
        (((item.metadata.name, item.spec.claim_ref.name, item.spec.claim_ref.namespace), 1.0) for item in volumes
         if item.spec.claim_ref is not None),
    )
    yield gauge("kube_persistentvolume_created", "Unix creation timestamp", name, (
        ((item.metadata.name,), item.metadata.creation_timestamp.timestamp()) for item in volumes
        if item.metadata.creation_timestamp is not None))


def _claims(claims: Sequence[PersistentVolumeClaim]) -> Iterator[Metric]:
    labels = ("namespace", "persistentvolumeclaim")

    def key(claim: PersistentVolumeClaim) -> tuple[str, str]:
        return claim.metadata.namespace, claim.metadata.name

    yield gauge(
        "kube_persistentvolumeclaim_info", "Information about persistent volume claim.",
        (*labels, "storageclass", "volumename", "volumemode"),
        (((*key(item), item.class_name or "<none>", item.spec.volume_name, item.spec.volume_mode), 1.0)
         for item in claims),
    )
    yield gauge(
        "kube_persistentvolumeclaim_status_phase", "The phase the persistent volume claim is currently in.",
        (*labels, "phase"),
        (((*key(item), phase), float(item.status.phase == phase)) for item in claims for phase in CLAIM_PHASES),
    )
    yield gauge(
        "kube_persistentvolumeclaim_resource_requests_storage_bytes", "The capacity of storage requested by the "
        "persistent volume claim.", labels,
        ((key(item), float(quantity(item.spec.resources.requests.get("storage", 0)))) for item in claims),
    )
    yield gauge(
        "kube_persistentvolumeclaim_access_mode", "The access mode(s) specified by the persistent volume claim.",
        (*labels, "access_mode"),
        (((*key(item), mode), 1.0) for item in claims for mode in item.spec.access_modes),
    )
    yield gauge("kube_persistentvolumeclaim_created", "Unix creation timestamp", labels, (
        (key(item), item.metadata.creation_timestamp.timestamp()) for item in claims
        if item.metadata.creation_timestamp is not None))
