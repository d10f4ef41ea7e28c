"""When a Schedule makes its next fault object, which ones it takes away, and what its status says. Pure.

Chaos Mesh's (api/v1alpha1/schedule_types.go, controllers/schedule): cron with optional seconds or ``@every 5s``; policy
``Forbid`` (default) makes none while an earlier one is in effect, ``Allow`` does; ``historyLimit`` (1) ended ones are
kept; a time that was missed by more than ``startingDeadlineSeconds`` is left out. Of several missed times only the
last counts. The pause annotation stops it. What is made and watched is left to ``schedule_keeper``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from faults.crd import PAUSE, body_key
from faults.protocol import Json
from faults.registry import Registry
from testbed.api.cron import Schedule, parse
from testbed.api.fault_objects import records_of
from testbed.api.meta import format_time, parse_time
from testbed.errors import Mistake

DEFAULT_HISTORY = 1
MANY_MISSED = 100
MAX_NAME = 57  # Chaos Mesh's: a random word is put behind it
MANAGED_BY = "managed-by"  # label on what it made: its name


@dataclass(frozen=True)
class SchedulePlan:
    """``start``: the scheduled time for which a fault object is made now. ``delete``: names of ended ones that are
    too many. ``wait_s``: until the next look; None: only a change matters. ``notes``: (reason, message) to be told."""

    start: datetime | None
    delete: tuple[str, ...]
    wait_s: float | None
    status: Json
    notes: tuple[tuple[str, str], ...] = ()


def mistakes(schedule_object: Mapping[str, Any], registry: Registry) -> tuple[Mistake, ...]:
    """What is wrong beyond the schema: with the Schedule itself, and with the fault that it is to make."""
    spec, name = schedule_object["spec"], schedule_object["metadata"]["name"]
    found = []
    try:
        parse(str(spec["schedule"]), seconds_allowed=True)
    except ValueError as error:
        found.append(Mistake(str(error), "spec.schedule"))
    if len(name) > MAX_NAME:
        found.append(Mistake(f"must be no more than {MAX_NAME} characters", "metadata.name"))
    wanted = body_key(spec["type"])
    others = {body_key(kind.kind) for kind in registry.kinds()} - {wanted}
    found += [Mistake(f"is for another type than {spec['type']}", f"spec.{key}") for key in sorted(others & set(spec))]
    if not spec.get(wanted):
        return (*found, Mistake(f"is required when type is {spec['type']}", f"spec.{wanted}"))
    inner = registry.mistakes({"kind": spec["type"], "spec": spec[wanted]})
    return (*found, *(replace(one, field=one.field.replace("spec.", f"spec.{wanted}.", 1)) for one in inner))


def plan(schedule_object: Mapping[str, Any], children: Sequence[Json], now: datetime) -> SchedulePlan:
    """``schedule_object``: without mistakes. ``children``: what it made, whatever their state."""
    metadata, spec = schedule_object["metadata"], schedule_object["spec"]
    status = dict(schedule_object.get("status") or {})
    running = [child for child in children if not has_ended(child)]
    status["active"] = [reference(child) for child in sorted(running, key=_by_age)]
    delete = _beyond_history(children, int(spec.get("historyLimit") or DEFAULT_HISTORY))
    if metadata.get("deletionTimestamp") or (metadata.get("annotations") or {}).get(PAUSE) == "true":
        return SchedulePlan(None, delete, None, status)
    cron = parse(spec["schedule"], seconds_allowed=True)
    following = cron.next_after(now)
    wait_s = max(0.0, (following - now).total_seconds()) if following is not None else None
    scheduled, notes = _due(cron, schedule_object, now)
    if scheduled is None:
        return SchedulePlan(None, delete, wait_s, status, notes)
    status["time"] = format_time(scheduled)
    if running and spec.get("concurrencyPolicy", "Forbid") != "Allow":
        told = ("Forbid", f"{running[0]['metadata']['name']} is still in effect")
        return SchedulePlan(None, delete, wait_s, status, (*notes, told))
    return SchedulePlan(scheduled, delete, wait_s, status, notes)


def _due(
    cron: Schedule, schedule_object: Mapping[str, Any], now: datetime
) -> tuple[datetime | None, tuple[tuple[str, str], ...]]:
    """The latest time that has come and was not seen to yet."""
    metadata, spec = schedule_object["metadata"], schedule_object["spec"]
    last = (schedule_object.get("status") or {}).get("time") or metadata.get("creationTimestamp")
    earliest = parse_time(str(last)) if last else now
    scheduled, missed = cron.last_before(now, earliest)
    if scheduled is None:
        return None, ()
    notes: tuple[tuple[str, str], ...] = ()
    if missed > MANY_MISSED:
        notes = (("MissedSchedule", f"{missed} times were missed; the last of them counts"),)
    deadline_s = spec.get("startingDeadlineSeconds")
    if deadline_s is not None and scheduled + timedelta(seconds=int(deadline_s)) < now:
        return None, (*notes, ("MissedSchedule", f"missed the time {format_time(scheduled)}"))
    return scheduled, notes


def has_ended(child: Mapping[str, Any]) -> bool:
    """It was refused, it is taken back, or it was done and nothing of it can be taken back."""
    status = child.get("status") or {}
    held = {item["type"]: item["status"] for item in status.get("conditions") or ()}
    if held.get("AllRecovered") == "True" or held.get("Selected") == "False":
        return True
    records = records_of(child)
    return bool(records) and held.get("AllInjected") == "True" and all(record.get("oneShot") for record in records)


def _beyond_history(children: Sequence[Json], limit: int) -> tuple[str, ...]:
    ended = sorted((child for child in children
                    if has_ended(child) and not child["metadata"].get("deletionTimestamp")), key=_by_age)
    return tuple(str(child["metadata"]["name"]) for child in ended[: max(0, len(ended) - limit)])


def _by_age(child: Mapping[str, Any]) -> tuple[str, str]:
    metadata = child["metadata"]
    return str(metadata.get("creationTimestamp") or ""), str(metadata["name"])


def reference(child: Mapping[str, Any]) -> Json:
    metadata = child["metadata"]
    return {"apiVersion": child["apiVersion"], "kind": child["kind"], "name": metadata["name"],
            "namespace": metadata.get("namespace", ""), "uid": metadata.get("uid", "")}


def child_of(schedule_object: Mapping[str, Any], api_version: str, word: str, body: Mapping[str, Any]) -> Json:
    """The fault object that it makes. ``word``: random, behind its name."""
    metadata = schedule_object["metadata"]
    owner = {"apiVersion": schedule_object["apiVersion"], "kind": schedule_object["kind"], "name": metadata["name"],
             "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}
    told = {key: value for key, value in (metadata.get("annotations") or {}).items()
            if key.startswith("testbed.io/")}
    return {
        "apiVersion": api_version, "kind": schedule_object["spec"]["type"],
        "metadata": {"name": f"{metadata['name']}-{word}", "namespace": metadata["namespace"],
                     "labels": {MANAGED_BY: metadata["name"]}, "annotations": told, "ownerReferences": [owner]},
        "spec": dict(body),
    }
