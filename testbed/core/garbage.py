"""What happens to objects whose owners are gone or are going.

Decides: for an object with owners, whether it lives, loses references, or is deleted; for an object in deletion with
one of the two finalizers, what its dependents get and when the finalizer goes. Leaves to its loop: looking owners up
*in the API* before they count as absent: a cache that lags would otherwise kill.

Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go attemptToDeleteItem,
processDeletingDependentsItem, orphanDependents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from testbed.api.meta import ObjectMeta

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Owner(StrEnum):
    """SOLID lives; DANGLING is gone; WAITING is in foreground deletion and waits for this dependent."""

    SOLID = "solid"
    DANGLING = "dangling"
    WAITING = "waiting"


@dataclass(frozen=True)
class DependentPlan:
    """``delete`` with ``propagation``, or drop the references to ``forget`` (UIDs), or neither."""

    delete: bool
    propagation: str
    forget: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class OwnerPlan:
    """Of an object in deletion: dependents to delete or to orphan (UIDs), and the finalizer to take off, if any."""

    delete: tuple[str, ...] = ()
    orphan: tuple[str, ...] = ()
    remove_finalizer: str = ""
    reason: str = ""


def owner_state(owner: ObjectMeta | None, uid: str, *, blocks: bool) -> Owner:
    """What a reference with ``uid`` is worth. ``owner``: the object of that name now, None when there is none."""
    if owner is None or owner.uid != uid:
        return Owner.DANGLING
    if owner.deleting and FOREGROUND in owner.finalizers and blocks:
        return Owner.WAITING
    return Owner.SOLID


def plan_dependent(dependent: ObjectMeta, owners: Mapping[str, Owner], *, has_dependents: bool) -> DependentPlan:
    """One living owner is enough to live; then only useless references go.

    Args:
        owners: state of each owner by UID.
        has_dependents: whether others name this object as their owner.
    """
    if dependent.deleting or not dependent.owner_references:
        return DependentPlan(False, "", (), "nothing to judge")
    gone = tuple(uid for uid, state in owners.items() if state is not Owner.SOLID)
    if len(gone) < len(owners):
        return DependentPlan(False, "", gone, "an owner lives")
    if Owner.WAITING in owners.values() and has_dependents:
        return DependentPlan(True, "Foreground", (), "its owner waits in foreground deletion")
    if ORPHAN in dependent.finalizers:
        return DependentPlan(True, "Orphan", (), "its owners are gone")
    if FOREGROUND in dependent.finalizers:
        return DependentPlan(True, "Foreground", (), "its owners are gone")
    return DependentPlan(True, "Background", (), "its owners are gone")


def plan_owner(owner: ObjectMeta, dependents: Sequence[ObjectMeta]) -> OwnerPlan:
    """``dependents``: all objects that name ``owner`` (by UID)."""
    if not owner.deleting:
        return OwnerPlan(reason="not in deletion")
    if ORPHAN in owner.finalizers:
        if dependents:
            return OwnerPlan(orphan=tuple(item.uid for item in dependents), reason="dependents are let go")
        return OwnerPlan(remove_finalizer=ORPHAN, reason="no dependents are left")
    if FOREGROUND in owner.finalizers:
        if not any(_blocks(item, owner.uid) for item in dependents):
            return OwnerPlan(remove_finalizer=FOREGROUND, reason="no dependent blocks the deletion any more")
        waiting = tuple(item.uid for item in dependents if not item.deleting)
        return OwnerPlan(delete=waiting, reason="dependents go first")
    return OwnerPlan(reason="no finalizer of ours")


def _blocks(dependent: ObjectMeta, uid: str) -> bool:
    return any(item.uid == uid and item.block_owner_deletion for item in dependent.owner_references)
