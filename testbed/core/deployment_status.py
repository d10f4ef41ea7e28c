"""The status of a Deployment: counts, and the conditions that ``kubectl rollout status`` waits for.

Source: kubernetes pkg/controller/deployment/{sync,progress}.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from testbed.api.meta import parse_time
from testbed.core.conditions import find, with_condition, without
from testbed.core.deployment_state import DeploymentState, ReplicaSetState

Json = dict[str, Any]
Conditions = tuple[Json, ...]

NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def paused_conditions(deployment: DeploymentState, now: datetime) -> Conditions:
    """Progressing turns Unknown on pause and on resume, so that the deadline starts anew; a missed one stays told."""
    conditions = tuple(deployment.status.get("conditions") or ())
    current = find(conditions, "Progressing")
    reason = current.get("reason") if current is not None else None
    if not deployment.has_deadline or reason == TIMED_OUT:
        return conditions
    if deployment.paused and reason != PAUSED:
        return _progressing(conditions, "Unknown", PAUSED, "Deployment is paused", now)
    if not deployment.paused and reason == PAUSED:
        return _progressing(conditions, "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    return conditions


def next_status(
    deployment: DeploymentState, sets: Sequence[ReplicaSetState], new: ReplicaSetState | None, now: datetime, *,
    progress: bool, created: bool, found: str | None, patch: Mapping[str, Any],
) -> Json:
    """The whole new status.

    Args:
        progress: judge progress and its deadline (not while paused, scaling or deleting).
        created: the new ReplicaSet is made by this very step.
        found: the name of the new ReplicaSet that was already there.
        patch: fields that this step adds (collisionCount).
    """
    status = _counts(deployment, sets, new)
    if (collisions := patch.get("collisionCount", deployment.status.get("collisionCount"))) is not None:
        status["collisionCount"] = collisions
    conditions: Conditions = tuple(deployment.status.get("conditions") or ())
    enough = status["availableReplicas"] >= deployment.replicas - _unavailable(deployment)
    conditions = with_condition(
        conditions, "Available", "True" if enough else "False",
        "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if enough else 'does not have'} minimum availability.", now, update_time=True,
    )
    if deployment.has_deadline and not deployment.deleting:
        current = find(conditions, "Progressing")
        if created and new is not None:
            conditions = _progressing(
                conditions, "True", "NewReplicaSetCreated", f'Created new replica set "{new.name}"', now
            )
        elif found is not None and current is None:
            conditions = _progressing(conditions, "True", "FoundNewReplicaSet", f'Found new replica set "{found}"', now)
    if progress:
        conditions = _judged(deployment, status, conditions, new, now)
        conditions = _with_failure(conditions, sets, new, now)
    status["conditions"] = list(conditions)
    return status


def progress_wait_s(deployment: DeploymentState, status: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds until the progress deadline must be looked at, None when there is nothing to wait for."""
    current = find(status.get("conditions") or (), "Progressing")
    if not deployment.has_deadline or current is None or deployment.complete(status):
        return None
    if current.get("reason") in (TIMED_OUT, NEW_AVAILABLE):
        return None
    return max((_deadline(deployment, current) - now).total_seconds(), 0.0) + 1.0


def _counts(deployment: DeploymentState, sets: Sequence[ReplicaSetState], new: ReplicaSetState | None) -> Json:
    available = sum(item.status_available for item in sets)
    return {
        "observedGeneration": deployment.generation,
        "replicas": sum(item.status_replicas for item in sets),
        "updatedReplicas": new.status_replicas if new is not None else 0,
        "readyReplicas": sum(item.ready for item in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(sum(item.replicas for item in sets) - available, 0),
    }


def _judged(
    deployment: DeploymentState, status: Json, conditions: Conditions, new: ReplicaSetState | None, now: datetime
) -> Conditions:
    """Complete, progressing, or out of time."""
    if not deployment.has_deadline:
        return without(conditions, "Progressing")
    before = find(deployment.status.get("conditions") or (), "Progressing")
    current = find(conditions, "Progressing")
    settled = before is not None and before.get("reason") == NEW_AVAILABLE
    if settled and status["replicas"] == status["updatedReplicas"] and current == before:
        return conditions
    name = f'ReplicaSet "{new.name}"' if new is not None else f'Deployment "{deployment.name}"'
    if deployment.complete(status):
        return _progressing(conditions, "True", NEW_AVAILABLE, f"{name} has successfully progressed.", now)
    if _has_progressed(deployment.status, status):
        # Taken out first, so that its update time, from which the deadline runs, is new; its transition time stays.
        fresh = _progressing(without(conditions, "Progressing"), "True", "ReplicaSetUpdated",
                             f"{name} is progressing.", now)
        if current is not None and current.get("status") == "True" and current.get("lastTransitionTime"):
            fresh[-1]["lastTransitionTime"] = current["lastTransitionTime"]
        return fresh
    if current is not None and _timed_out(deployment, current, now):
        return _progressing(conditions, "False", TIMED_OUT, f"{name} has timed out progressing.", now)
    return conditions


def _has_progressed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    def of(status: Mapping[str, Any], field: str) -> int:
        return int(status.get(field) or 0)

    return (
        of(new, "updatedReplicas") > of(old, "updatedReplicas")
        or of(new, "replicas") - of(new, "updatedReplicas") < of(old, "replicas") - of(old, "updatedReplicas")
        or of(new, "readyReplicas") > of(old, "readyReplicas")
        or of(new, "availableReplicas") > of(old, "availableReplicas")
    )


def _timed_out(deployment: DeploymentState, progressing: Mapping[str, Any], now: datetime) -> bool:
    """A rollout that was complete cannot time out any more, one that has timed out stays so."""
    if progressing.get("reason") == NEW_AVAILABLE:
        return False
    return progressing.get("reason") == TIMED_OUT or now > _deadline(deployment, progressing)


def _deadline(deployment: DeploymentState, progressing: Mapping[str, Any]) -> datetime:
    since = progressing.get("lastUpdateTime") or progressing.get("lastTransitionTime") or "1970-01-01T00:00:00Z"
    return parse_time(since) + timedelta(seconds=deployment.progress_deadline_s)


def _with_failure(
    conditions: Conditions, sets: Sequence[ReplicaSetState], new: ReplicaSetState | None, now: datetime
) -> Conditions:
    """ReplicaFailure is taken over from the new ReplicaSet, else from any other."""
    failures = [item.failure for item in ([new] if new is not None else []) + list(sets) if item.failure is not None]
    if not failures:
        return without(conditions, "ReplicaFailure")
    first = failures[0]
    return with_condition(
        conditions, "ReplicaFailure", str(first.get("status", "True")), str(first.get("reason", "")),
        str(first.get("message", "")), now, update_time=True,
    )


def _unavailable(deployment: DeploymentState) -> int:
    return deployment.fenceposts.unavailable


def _progressing(conditions: Conditions, status: str, reason: str, message: str, now: datetime) -> Conditions:
    return with_condition(conditions, "Progressing", status, reason, message, now, update_time=True)
