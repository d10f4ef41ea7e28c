"""What becomes of a claim and of a volume at one look: bound, waiting, to be provisioned, lost; released, given back.

A claim and a volume are bound when both name each other; the volume does so first (``claimRef``), so that two claims
never get one volume. Annotations remember what the binder did itself, because only that may it undo.

Leaves to its loop: writing, and choosing whose agent provisions or removes.

Source: kubernetes pkg/controller/volume/persistentvolume/pv_controller.go syncClaim, syncVolume, reclaimVolume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.api.core_v1 import Pod
from testbed.api.storage_v1 import (
    BOUND_BY_CONTROLLER,
    DRIVER,
    PROVISIONED_BY,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from testbed.core.reasons import Note
from testbed.core.volume_matching import best_match, unsatisfied

_PROVISIONING = ("Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
                 "administrator. If volume creation is delayed, please verify that the provisioner is running and "
                 "correctly registered.")


@dataclass(frozen=True)
class ClaimPlan:
    """``bind``: name of the volume to bind to (again, where it is bound already). ``provision``: by whom."""

    phase: str
    bind: str = ""
    provision: str = ""
    note: Note | None = None


@dataclass(frozen=True)
class VolumePlan:
    """``unbind``: take the claimRef back. ``remove``: its data and the volume itself are to go."""

    phase: str
    message: str = ""
    reason: str = ""
    unbind: bool = False
    remove: bool = False
    note: Note | None = None


def plan_claim(
    claim: PersistentVolumeClaim, volumes: Mapping[str, PersistentVolume], classes: Mapping[str, StorageClass],
    pods: list[Pod],
) -> ClaimPlan:
    """
    Args:
        volumes: all, by name.
        pods: those that use the claim.
    """
    if claim.bind_completed:
        return _plan_bound(claim, volumes)
    if claim.spec.volume_name:
        return _plan_wished(claim, volumes)
    storage = classes.get(claim.class_name)
    waits = storage is not None and storage.waits
    volume = best_match(claim, volumes.values(), only_promised=waits)
    if volume is not None:
        return ClaimPlan("Pending", bind=volume.metadata.name)
    if waits and not claim.selected_node:
        return ClaimPlan("Pending", note=_waits_for(pods))
    if not claim.class_name:
        return ClaimPlan("Pending", note=Note(
            "FailedBinding", "no persistent volumes available for this claim and no storage class is set"))
    if storage is None:
        text = f'storageclass.storage.k8s.io "{claim.class_name}" not found'
        return ClaimPlan("Pending", note=Note("ProvisioningFailed", text, "Warning"))
    return ClaimPlan("Pending", provision=storage.provisioner,
                     note=Note("ExternalProvisioning", _PROVISIONING.format(storage.provisioner)))


def _waits_for(pods: list[Pod]) -> Note:
    waiting = sorted(pod.metadata.name for pod in pods if pod.active and not pod.spec.node_name)
    if waiting:
        return Note("WaitForPodScheduled", f"waiting for pod {waiting[0]} to be scheduled")
    return Note("WaitForFirstConsumer", "waiting for first consumer to be created before binding")


def _plan_bound(claim: PersistentVolumeClaim, volumes: Mapping[str, PersistentVolume]) -> ClaimPlan:
    volume = volumes.get(claim.spec.volume_name)
    if not claim.spec.volume_name:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return ClaimPlan("Lost", note=Note("ClaimLost", text, "Warning"))
    if volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return ClaimPlan("Lost", note=Note("ClaimLost", text, "Warning"))
    reference = volume.spec.claim_ref
    if reference is None or reference.uid == claim.metadata.uid:
        return ClaimPlan("Bound", bind=volume.metadata.name)
    text = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimPlan("Lost", note=Note("ClaimMisbound", text, "Warning"))


def _plan_wished(claim: PersistentVolumeClaim, volumes: Mapping[str, PersistentVolume]) -> ClaimPlan:
    """The user named the volume, or the binder did and was interrupted."""
    volume = volumes.get(claim.spec.volume_name)
    if volume is None:
        return ClaimPlan("Pending")
    if volume.spec.claim_ref is None:
        wrong = unsatisfied(volume, claim)
        if wrong:
            text = f'Cannot bind to requested volume "{volume.metadata.name}": {wrong}'
            return ClaimPlan("Pending", note=Note("VolumeMismatch", text, "Warning"))
        return ClaimPlan("Pending", bind=volume.metadata.name)
    if volume.is_for(claim):
        return ClaimPlan("Pending", bind=volume.metadata.name)
    text = f'volume "{volume.metadata.name}" already bound to a different claim.'
    return ClaimPlan("Pending", note=Note("FailedBinding", text, "Warning"))


def plan_volume(volume: PersistentVolume, claim: PersistentVolumeClaim | None) -> VolumePlan:
    """``claim``: that of the name in claimRef, None when the API has none."""
    reference = volume.spec.claim_ref
    if reference is None or not reference.uid:
        return VolumePlan("Available")
    if claim is None or claim.metadata.uid != reference.uid:
        return _reclaim(volume)
    if claim.spec.volume_name == volume.metadata.name:
        return VolumePlan("Bound")
    if not claim.spec.volume_name:  # the claim comes next: its look finishes the binding
        return VolumePlan(volume.status.phase or "Available")
    policy = volume.spec.persistent_volume_reclaim_policy
    if PROVISIONED_BY in volume.metadata.annotations and policy == "Delete":
        return _reclaim(volume)
    return VolumePlan("Available", unbind=BOUND_BY_CONTROLLER in volume.metadata.annotations)


def _reclaim(volume: PersistentVolume) -> VolumePlan:
    """Its claim is gone. Whatever cannot be done is said and left to a person."""
    policy = volume.spec.persistent_volume_reclaim_policy
    if policy == "Retain":
        return VolumePlan("Released")
    if policy == "Delete" and volume.engine_volume:
        return VolumePlan("Released", remove=True)
    if policy == "Recycle":
        text = "No recycler plugin found for the volume!"
        return VolumePlan("Failed", text, "VolumeFailedRecycle", note=Note("VolumeFailedRecycle", text, "Warning"))
    text = (f'error getting deleter volume plugin for volume "{volume.metadata.name}": only volumes of driver {DRIVER} '
            "are deleted here; use the reclaim policy Retain and remove the data yourself")
    return VolumePlan("Failed", text, "VolumeFailedDelete", note=Note("VolumeFailedDelete", text, "Warning"))
