"""Which PersistentVolume serves a claim: the smallest that has what is asked for.

Source: kubernetes component-helpers/storage/volume/helpers.go FindMatchingVolume,
pkg/controller/volume/persistentvolume/pv_controller.go checkVolumeSatisfyClaim, pkg/volume/util GetDefaultClass.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from testbed.api.core_v1 import Node
from testbed.api.meta import quantity
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim, StorageClass
from testbed.core.node_affinity import term_selects


def best_match(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], *, node: Node | None = None,
    only_promised: bool = False, taken: frozenset[str] = frozenset(),
) -> PersistentVolume | None:
    """
    Args:
        node: it must be usable there.
        only_promised: only one whose claimRef names the claim; the rest is left to the scheduler.
        taken: names of volumes that other claims of the same pod get.
    """
    chosen: PersistentVolume | None = None
    for volume in volumes:
        if volume.metadata.name in taken or volume.spec.volume_mode != claim.spec.volume_mode:
            continue
        if node is not None and not reaches(volume, node):
            continue
        if volume.is_for(claim):
            if capacity_of(volume) >= requested_of(claim):
                return volume
            continue
        if only_promised or not _is_free(volume) or unsatisfied(volume, claim) or not _selected(volume, claim):
            continue
        if chosen is None or _rank(volume) < _rank(chosen):
            chosen = volume
    return chosen


def _is_free(volume: PersistentVolume) -> bool:
    return volume.spec.claim_ref is None and not volume.metadata.deleting and volume.status.phase == "Available"


def _selected(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return claim.spec.selector is None or claim.spec.selector.matches(volume.metadata.labels)


def _rank(volume: PersistentVolume) -> tuple[int, Decimal, str]:
    """Fewest access modes first, then the smallest."""
    return len(volume.spec.access_modes), capacity_of(volume), volume.metadata.name


def unsatisfied(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why the volume may not serve the claim, in upstream's words, or ``""``."""
    if capacity_of(volume) < requested_of(claim):
        return "requested PV is too small"
    if volume.class_name != claim.class_name:
        return "storageClassName does not match"
    if volume.spec.volume_mode != claim.spec.volume_mode:
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def reaches(volume: PersistentVolume, node: Node) -> bool:
    """Whether the volume can be used on the node. One without nodeAffinity can be used on all."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return True
    return any(term_selects(term, node) for term in affinity.required.node_selector_terms)


def capacity_of(volume: PersistentVolume) -> Decimal:
    return quantity(volume.spec.capacity.get("storage", 0))


def requested_of(claim: PersistentVolumeClaim) -> Decimal:
    return quantity(claim.spec.resources.requests.get("storage", 0))


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The newest of several; of one age the first by name."""
    found = sorted((item for item in classes if item.is_default), key=lambda item: item.metadata.name)
    return max(found, key=lambda item: item.metadata.creation_timestamp.timestamp()
               if item.metadata.creation_timestamp else 0.0, default=None)
