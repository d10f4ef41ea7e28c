"""Storage: PersistentVolumes and their claims (core v1), StorageClasses and VolumeAttachments (storage.k8s.io/v1)."""

from __future__ import annotations

from pydantic import Field

from testbed.api.base import View
from testbed.api.core_v1 import NodeSelector, ObjectReference
from testbed.api.meta import LabelSelector, Resource
from testbed.api.quota_v1 import Quantities

PROVISIONER = "testbed.io/engine-volume"  # of StorageClasses: makes volumes of the container engine
DRIVER = "engine-volume.testbed.io"  # of PersistentVolumes' ``csi`` source: a volume of the container engine
NO_PROVISIONER = "kubernetes.io/no-provisioner"

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"  # on claims and volumes: the class, before it was a field
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
VOLUME_NODE = "testbed.io/volume-node"  # on a volume: whose agent removes it from the engine

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
PROVISIONER_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"

ONE_NODE, ONE_POD, READ_MANY, WRITE_MANY = (
    "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany",
)
ACCESS_MODES = (ONE_NODE, READ_MANY, WRITE_MANY, ONE_POD)


class VolumeResources(View):
    requests: Quantities = Field(default_factory=dict)
    limits: Quantities = Field(default_factory=dict)


class ClaimSpec(View):
    """``storage_class_name``: None means the default class, ``""`` no class."""

    access_modes: tuple[str, ...] = ()
    resources: VolumeResources = Field(default_factory=VolumeResources)
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_mode: str = "Filesystem"
    volume_name: str = ""


class ClaimStatus(View):
    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Quantities = Field(default_factory=dict)


class PersistentVolumeClaim(Resource):
    spec: ClaimSpec = Field(default_factory=ClaimSpec)
    status: ClaimStatus = Field(default_factory=ClaimStatus)

    @property
    def class_name(self) -> str:
        """kubernetes: component-helpers/storage/volume GetPersistentVolumeClaimClass."""
        return self.metadata.annotations.get(BETA_CLASS, self.spec.storage_class_name or "")

    @property
    def bind_completed(self) -> bool:
        return BIND_COMPLETED in self.metadata.annotations

    @property
    def bound(self) -> bool:
        """Ready to be used (kubernetes: volume binding isPVCFullyBound)."""
        return bool(self.spec.volume_name) and self.bind_completed

    @property
    def reference(self) -> dict[str, str]:
        """As a volume's claimRef names it."""
        meta = self.metadata
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
                "uid": meta.uid, "resourceVersion": meta.resource_version}

    @property
    def selected_node(self) -> str:
        return self.metadata.annotations.get(SELECTED_NODE, "")


class CsiSource(View):
    driver: str = ""
    volume_handle: str = ""
    read_only: bool = False


class HostPathSource(View):
    path: str = ""
    type: str = ""


class VolumeNodeAffinity(View):
    required: NodeSelector | None = None


class VolumeSpec(View):
    capacity: Quantities = Field(default_factory=dict)
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = "Retain"
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"
    node_affinity: VolumeNodeAffinity | None = None
    csi: CsiSource | None = None
    host_path: HostPathSource | None = None


class VolumeStatus(View):
    phase: str = ""
    message: str = ""
    reason: str = ""


class PersistentVolume(Resource):
    spec: VolumeSpec = Field(default_factory=VolumeSpec)
    status: VolumeStatus = Field(default_factory=VolumeStatus)

    @property
    def class_name(self) -> str:
        return self.metadata.annotations.get(BETA_CLASS, self.spec.storage_class_name)

    @property
    def engine_volume(self) -> str:
        """Name of the engine's volume it stands for, or ``""``."""
        csi = self.spec.csi
        return csi.volume_handle if csi is not None and csi.driver == DRIVER else ""

    def is_for(self, claim: PersistentVolumeClaim) -> bool:
        """Its claimRef names this claim, or the name of it before it existed (kubernetes: IsVolumeBoundToClaim)."""
        reference, meta = self.spec.claim_ref, claim.metadata
        return reference is not None and (reference.namespace, reference.name) == (meta.namespace, meta.name) and (
            reference.uid in ("", meta.uid))


class StorageClass(Resource):
    provisioner: str = ""
    reclaim_policy: str = "Delete"
    volume_binding_mode: str = "Immediate"
    allow_volume_expansion: bool = False

    @property
    def waits(self) -> bool:
        """Binding waits for the first pod."""
        return self.volume_binding_mode == "WaitForFirstConsumer"

    @property
    def is_default(self) -> bool:
        annotations = self.metadata.annotations
        return "true" in (annotations.get(DEFAULT_CLASS), annotations.get(BETA_DEFAULT_CLASS))


class AttachmentSource(View):
    persistent_volume_name: str = ""


class AttachmentSpec(View):
    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = Field(default_factory=AttachmentSource)


class AttachmentStatus(View):
    attached: bool = False


class VolumeAttachment(Resource):
    """A node's right to use a volume."""

    spec: AttachmentSpec = Field(default_factory=AttachmentSpec)
    status: AttachmentStatus = Field(default_factory=AttachmentStatus)
