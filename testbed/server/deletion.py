"""When a delete removes an object, and when it only marks it. Pure: the registry carries it out.

Sources: kubernetes apiserver pkg/registry/rest/delete.go (BeforeDelete), pkg/registry/generic/registry/store.go
(finalizers), pkg/registry/core/pod/strategy.go (CheckGracefulDelete).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from testbed.api.meta import format_time, parse_time
from testbed.errors import BadRequest, Conflict
from testbed.server.fields import checked

Json = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
PROPAGATIONS = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class DeleteOptions:
    """``grace_s``: None is the kind's own. ``propagation``: "" is Background, of Jobs Orphan."""

    grace_s: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class Deletion:
    """What a delete does: ``remove`` the object now, or store ``marked`` (None: nothing changes)."""

    remove: bool
    marked: Json | None = None


def options_of(body: Any, query: dict[str, str]) -> DeleteOptions:
    """DeleteOptions from a DELETE's body and URL; the body wins.

    Raises: BadRequest when a value is wrong.
    """
    body = checked("DeleteOptions", body)
    grace = body.get("gracePeriodSeconds")
    if grace is None and query.get("gracePeriodSeconds"):
        try:
            grace = int(query["gracePeriodSeconds"])
        except ValueError:
            raise BadRequest("gracePeriodSeconds is not a number") from None
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if body.get("orphanDependents"):
        propagation = ORPHAN.capitalize()
    if propagation and propagation not in PROPAGATIONS:
        raise BadRequest(f"propagationPolicy {propagation!r} is none of {', '.join(PROPAGATIONS)}")
    conditions = body.get("preconditions") or {}
    dry_run = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    return DeleteOptions(grace, propagation, conditions.get("uid") or "", conditions.get("resourceVersion") or "",
                         "All" in dry_run)


def check_preconditions(obj: Json, options: DeleteOptions, what: str) -> None:
    """Raises: Conflict when the object is not the one that was meant."""
    metadata = obj["metadata"]
    if options.uid and options.uid != metadata.get("uid"):
        raise Conflict(f"Operation cannot be fulfilled on {what}: the UID in the precondition ({options.uid}) does "
                       "not match "
                       f"the UID in record ({metadata.get('uid')}). The object might have been deleted and then "
                       "recreated")
    if options.resource_version and options.resource_version != metadata.get("resourceVersion"):
        raise Conflict(f"Operation cannot be fulfilled on {what}: the ResourceVersion in the precondition "
                       f"({options.resource_version}) does not match the ResourceVersion in record "
                       f"({metadata.get('resourceVersion')}). The object might have been modified")


def pod_grace_s(obj: Json, asked_s: int | None) -> int:
    """Seconds until a pod's object may go: 0 removes it at once."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    grace = asked_s if asked_s is not None else int(spec.get("terminationGracePeriodSeconds", 30))
    if grace < 0:
        grace = 1
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    return grace


def plan_deletion(obj: Json, options: DeleteOptions, now: datetime, *, graceful: bool, held: bool = False) -> Deletion:
    """``obj`` is one's own copy. ``graceful``: a pod, which its node must stop first. ``held``: something beside
    finalizers (a namespace's content) keeps it."""
    metadata = obj["metadata"]
    before = dict(metadata)
    _set_propagation(metadata, options.propagation or _own_propagation(obj))
    if graceful:
        grace = pod_grace_s(obj, options.grace_s)
        if grace > 0:
            return _mark_gracefully(obj, before, grace, options.grace_s, now)
    metadata.setdefault("deletionTimestamp", format_time(now))
    metadata["deletionGracePeriodSeconds"] = 0
    if not metadata.get("finalizers") and not held:
        return Deletion(remove=True)
    return Deletion(remove=False, marked=None if metadata == before else obj)


def _own_propagation(obj: Json) -> str:
    """What a delete that says nothing means: Jobs leave their pods behind, all others take them along (kubernetes:
    pkg/registry/batch/job/strategy.go DefaultGarbageCollectionPolicy). kubectl and our clients always say."""
    is_job = obj.get("kind") == "Job" and str(obj.get("apiVersion", "")).startswith("batch/")
    return "Orphan" if is_job and not obj["metadata"].get("deletionTimestamp") else ""


def _mark_gracefully(obj: Json, before: Json, grace: int, asked: int | None, now: datetime) -> Deletion:
    metadata = obj["metadata"]
    marked_at = metadata.get("deletionTimestamp")
    if marked_at is None:
        metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
    else:
        current = int(metadata.get("deletionGracePeriodSeconds") or 0)
        if asked is not None and grace < current:  # a second delete may only shorten
            metadata["deletionTimestamp"] = format_time(parse_time(marked_at) + timedelta(seconds=grace - current))
            metadata["deletionGracePeriodSeconds"] = grace
    return Deletion(remove=False, marked=None if metadata == before else obj)


def _set_propagation(metadata: Json, propagation: str) -> None:
    finalizers = [item for item in metadata.get("finalizers") or () if item not in (FOREGROUND, ORPHAN)
                  or not propagation]
    if propagation == "Foreground":
        finalizers.append(FOREGROUND)
    elif propagation == "Orphan":
        finalizers.append(ORPHAN)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def is_released(obj: Json) -> bool:
    """Whether an update of a marked object leaves nothing that keeps it."""
    metadata = obj["metadata"]
    return bool(metadata.get("deletionTimestamp")) and not metadata.get("finalizers") and not metadata.get(
        "deletionGracePeriodSeconds")
