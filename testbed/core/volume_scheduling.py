"""What a pod's claims mean for its placement: whether it may be placed at all, where, and what must be bound first.

Decides by claims, volumes and classes as they are. A pod with claims that wait for their first consumer gets a node in
thought; its volumes are promised or asked for there; it is placed once all are bound.

Leaves to its loop: writing the promises and the choice of the node on the claims.

Source: kubernetes pkg/scheduler/framework/plugins/{volumebinding,volumerestrictions}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testbed.api.core_v1 import Node, Pod
from testbed.api.storage_v1 import NO_PROVISIONER, ONE_POD, PersistentVolume, PersistentVolumeClaim, StorageClass
from testbed.core.scheduling_filters import Refusal
from testbed.core.volume_matching import best_match, reaches

_CONFLICT = Refusal(("node(s) had volume node affinity conflict",))
_NONE_LEFT = Refusal(("node(s) didn't find available persistent volumes to bind",))


@dataclass(frozen=True)
class Storage:
    """All of it, by key."""

    claims: Mapping[str, PersistentVolumeClaim]
    volumes: Mapping[str, PersistentVolume]
    classes: Mapping[str, StorageClass]


@dataclass(frozen=True)
class Promise:
    """What is to be done for one claim before the pod is placed: ``volume`` gets it, or one is made (``""``)."""

    claim: PersistentVolumeClaim
    volume: str = ""


@dataclass(frozen=True)
class VolumeNeeds:
    """``blocked``: why the pod fits nowhere, in upstream's words. ``pending``: what is being bound or made already.
    ``open``: claims that wait for this pod."""

    storage: Storage
    blocked: str = ""
    bound: tuple[PersistentVolume, ...] = ()
    pending: tuple[PersistentVolumeClaim, ...] = ()
    open: tuple[PersistentVolumeClaim, ...] = ()

    def refused(self, node: Node) -> Refusal | None:
        """By what concerns the pod's volumes. None: it fits."""
        if not all(reaches(volume, node) for volume in self.bound):
            return _CONFLICT
        return _NONE_LEFT if self.open and self.promises(node) is None else None

    def promises(self, node: Node) -> tuple[Promise, ...] | None:
        """What every open claim would get there. None: something is missing."""
        found: list[Promise] = []
        for claim in self.open:
            taken = frozenset(item.volume for item in found)
            volume = best_match(claim, self.storage.volumes.values(), node=node, taken=taken)
            storage = self.storage.classes.get(claim.class_name)
            if volume is not None:
                found.append(Promise(claim, volume.metadata.name))
            elif storage is not None and storage.provisioner != NO_PROVISIONER:
                found.append(Promise(claim))
            else:
                return None
        return tuple(found)


def needs(pod: Pod, storage: Storage, others: Iterable[Pod] = ()) -> VolumeNeeds:
    """``others``: pods that have a node."""
    bound: list[PersistentVolume] = []
    pending: list[PersistentVolumeClaim] = []
    waiting: list[PersistentVolumeClaim] = []
    for name in claim_names(pod):
        claim = storage.claims.get(f"{pod.metadata.namespace}/{name}")
        blocked = _blocked(name, claim, pod, others)
        if blocked or claim is None:
            return VolumeNeeds(storage, blocked)
        if claim.bound:
            volume = storage.volumes.get(claim.spec.volume_name)
            if volume is None:
                text = f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
                return VolumeNeeds(storage, f'{text} "{claim.spec.volume_name}"')
            bound.append(volume)
            continue
        offered = storage.classes.get(claim.class_name)
        if claim.spec.volume_name or offered is None or not offered.waits:
            return VolumeNeeds(storage, "pod has unbound immediate PersistentVolumeClaims")
        if claim.selected_node or any(volume.is_for(claim) for volume in storage.volumes.values()):
            pending.append(claim)
        else:
            waiting.append(claim)
    return VolumeNeeds(storage, "", tuple(bound), tuple(pending), tuple(waiting))


def _blocked(name: str, claim: PersistentVolumeClaim | None, pod: Pod, others: Iterable[Pod]) -> str:
    if claim is None:
        return f'persistentvolumeclaim "{name}" not found'
    if claim.status.phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    if claim.metadata.deleting:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ONE_POD in claim.spec.access_modes and any(
        other.metadata.namespace == pod.metadata.namespace and name in claim_names(other)
        and other.metadata.uid != pod.metadata.uid and not other.terminal for other in others
    ):
        return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    return ""


def claim_names(pod: Pod) -> tuple[str, ...]:
    """Names of the claims that a pod's volumes name, each once."""
    named = (volume.persistent_volume_claim.claim_name for volume in pod.spec.volumes
             if volume.persistent_volume_claim is not None)
    return tuple(dict.fromkeys(named))
