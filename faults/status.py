"""A fault object's status from its ledger entries, in Chaos Mesh's form. Pure.

Source: chaos-mesh api/v1alpha1/status.go. Ours beside it: events carry ``monotonicNs``, one of type ``Started`` is
written just before the act, conditions have a ``message``, and records tell the target's ``node``, ``podUID`` and
``containerID``, while the injection is in effect its ``deadlineNs``, and ``oneShot`` of what nothing has to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faults.ledger import Entry, Phase
from faults.protocol import Json, Target

_MOST_PAST = 20  # records of former targets that are kept


def condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Json:
    found: Json = {"type": kind, "status": "True" if holds else "False"}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def status(
    entries: Sequence[Entry], *, desired: str, paused: bool, problem: tuple[str, str] | None, time_over: bool
) -> Json:
    """Args: problem: reason and message of why nothing could be selected or injected."""
    reason, message = problem or ("", "")
    failed = next((entry for entry in entries if entry.spent and not entry.injected_count), None)
    if failed is not None and not problem:
        reason, message = "NotInEffect", _last_failure(failed)
    in_effect = [entry for entry in entries if entry.phase is Phase.INJECTED]
    taken_back = all(entry.spent and entry.injected_count for entry in entries)  # by a person, by hand
    recovered = bool(entries) and not any(entry.active for entry in entries) and (
        desired == "Stop" or time_over or taken_back)
    conditions = [
        condition("Selected", bool(entries), "" if entries else reason, "" if entries else message),
        condition("AllInjected", bool(entries) and len(in_effect) == len(entries), reason, message),
        condition("AllRecovered", recovered or (not entries and desired == "Stop")),
        condition("Paused", paused),
    ]
    return {
        "conditions": conditions,
        "experiment": {"desiredPhase": desired, "containerRecords": [
            record for entry in entries for record in (*entry.past, _record(entry))]},
    }


def moved(entry: Entry, target: Target) -> Entry:
    """The same injection, to be made into another target; what it did to the one before stays in the status."""
    past = (*entry.past, _record(entry)) if entry.injected_count else entry.past
    return replace(entry, target=target, phase=Phase.CHOSEN, plan={}, attempts=0, retry_ns=0, spent=False,
                   injected_count=0, recovered_count=0, events=(), past=past[-_MOST_PAST:])


def preview(targets: Sequence[Json]) -> Json:
    """Of a dry run: what would be hit, and nothing of it is."""
    told = f"a dry run: {len(targets)} would be hit"
    conditions = [condition("Selected", True, "DryRun", told), condition("AllInjected", False, "DryRun", told),
                  condition("AllRecovered", True), condition("Paused", False)]
    return {"conditions": conditions, "experiment": {"desiredPhase": "Stop", "containerRecords": list(targets)}}


def planned(target: Target, container_id: str = "") -> Json:
    """A record of a target that is only looked at."""
    return {"id": target.id, "selectorKey": target.key, "phase": "Not Injected", "injectedCount": 0,
            "recoveredCount": 0, "events": [], **_identity(target, container_id)}


def _identity(target: Target, container_id: str = "") -> Json:
    told = {"node": target.node, "podUID": target.uid, "containerID": container_id}
    return {key: value for key, value in told.items() if value}


def _record(entry: Entry) -> Json:
    in_effect = entry.phase in (Phase.INJECTED, Phase.UNDOING)
    return {
        "id": entry.target.id, "selectorKey": entry.target.key, "phase": "Injected" if in_effect else "Not Injected",
        "injectedCount": entry.injected_count, "recoveredCount": entry.recovered_count, "events": list(entry.events),
        **_identity(entry.target, str(entry.plan.get("container_id") or "")),
        **({"deadlineNs": entry.deadline_ns} if in_effect and entry.deadline_ns else {}),
        **({} if entry.deadline_ns else {"oneShot": True}),
    }


def _last_failure(entry: Entry) -> str:
    return next((str(event.get("message", "")) for event in reversed(entry.events) if event["type"] == "Failed"), "")
