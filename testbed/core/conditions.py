"""Conditions of a status, as JSON: setting one keeps the time of its last change.

Source: kubernetes pkg/controller/deployment/util/deployment_util.go SetDeploymentCondition and its twins. Conditions
stay JSON here because they are written back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time

Json = dict[str, Any]


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    return next((item for item in conditions if item.get("type") == kind), None)


def without(conditions: Iterable[Mapping[str, Any]], kind: str) -> tuple[Json, ...]:
    return tuple(dict(item) for item in conditions if item.get("type") != kind)


def with_condition(
    conditions: Iterable[Mapping[str, Any]], kind: str, status: str, reason: str, message: str, now: datetime,
    *, update_time: bool = False,
) -> tuple[Json, ...]:
    """``conditions`` with ``kind`` set. Same status and reason: nothing changes. Same status: its transition time
    is kept. ``update_time``: the condition also carries ``lastUpdateTime`` (Deployments do).
    """
    conditions = tuple(conditions)
    current = find(conditions, kind)
    if current is not None and current.get("status") == status and current.get("reason") == reason:
        return tuple(dict(item) for item in conditions)
    moment = format_time(now)
    fresh: Json = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}
    if current is not None and current.get("status") == status and current.get("lastTransitionTime"):
        fresh["lastTransitionTime"] = current["lastTransitionTime"]
    if update_time:
        fresh["lastUpdateTime"] = moment
    return (*without(conditions, kind), fresh)
