"""Taking faults back: by the API and the chaos daemon while they live, by the ledger whatever lives.

A fault object is deleted, which makes the daemon undo it first. What the daemon does not take up within a moment,
because it or the API is dead, is undone here, by the ledger, on the engine and the machine themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from faults.ledger import Entry, Phase
from faults.undoing import known, undo, why_not
from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.api.resources import ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import ApiError, InvalidInput, NotFound

__all__ = ["known", "take_back"]

UNDO_FAILED = 8
_TAKEN_UP_S = 2.0
_WITHIN_S = 60.0
_LOOK_S = 0.05

Found = tuple[ResourceType, dict[str, Any]]


def take_back(name: str, wanted: tuple[str, ...]) -> int:
    """Undoes the fault objects of these names, or all. Returns: 0, or 8 when something is still in effect.

    Raises: InvalidInput for a name that nothing has, when another is near; EnvironmentProblem.
    """
    instance = load_instance(instance_directory(name))
    api, objects = _objects(name)
    entries = known(instance)
    _refuse_misspelt(wanted, {obj["metadata"]["name"] for _, obj in objects} | {entry.name for entry in entries})
    meant = [(resource, obj) for resource, obj in objects if _meant(obj["metadata"]["name"], wanted, obj)]
    concerned = {obj["metadata"]["uid"] for _, obj in meant} | {
        entry.uid for entry in entries if entry.active and (not wanted or entry.name in wanted)}
    if not concerned:
        printing.say("nothing of it is in effect" if wanted else "nothing is in effect")
        return 0
    if api is not None:
        _delete(api, meant)
        _wait_for_daemon(instance, concerned)
    left = [entry for entry in known(instance) if entry.active and entry.uid in concerned]
    after = asyncio.run(undo(instance, left)) if left else []
    failed = [entry for entry in after if entry.active]
    for entry in failed:
        printing.say(f"error: {entry.name}: {entry.target.id} could not be undone: {why_not(entry)}")
    if api is not None and not failed:
        _release(api, meant)
    for told in sorted({obj["metadata"]["name"] for _, obj in meant} | {entry.name for entry in after}
                       - {entry.name for entry in failed}):
        printing.out(f"{told} undone")
    return UNDO_FAILED if failed else 0


def _meant(name: str, wanted: tuple[str, ...], obj: dict[str, Any]) -> bool:
    if wanted:
        return name in wanted
    conditions = {item["type"]: item["status"] for item in (obj.get("status") or {}).get("conditions") or ()}
    return conditions.get("AllRecovered") != "True"


def _objects(name: str) -> tuple[Api | None, list[Found]]:
    """All fault objects; no API when it does not answer."""
    from testbed.cli.faults import fault_kinds

    try:
        api = connect(name)
        return api, [(resource, obj) for resource in fault_kinds(api)
                     for obj in api.json("GET", resource.path())["items"]]
    except ApiError:
        return None, []


def _refuse_misspelt(wanted: tuple[str, ...], present: set[str]) -> None:
    """A fault that was undone before is no mistake; a name that is nearly another's is."""
    from testbed.cli.main import did_you_mean

    for name in wanted:
        if name not in present and (near := did_you_mean(name, sorted(present))):
            raise InvalidInput(f"there is no fault object {name!r}", hint=near)


def _delete(api: Api, meant: list[Found]) -> None:
    for resource, obj in meant:
        with contextlib.suppress(NotFound):
            api.request("DELETE", resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"]))


def _wait_for_daemon(instance: Instance, concerned: set[str]) -> None:
    """Returns when nothing is in effect, or nobody has taken it up, or its time is over."""
    began = time.monotonic()
    while time.monotonic() - began < _WITHIN_S:
        left = [entry for entry in known(instance) if entry.active and entry.uid in concerned]
        if not left or (time.monotonic() - began > _TAKEN_UP_S and not any(map(_taken_up, left))):
            return
        time.sleep(_LOOK_S)


def _taken_up(entry: Entry) -> bool:
    return entry.phase is Phase.UNDOING and entry.attempts == 0


def _release(api: Api, meant: list[Found]) -> None:
    """Nothing holds up an object whose injections are undone, although the daemon is dead."""
    for resource, obj in meant:
        path = resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
        with contextlib.suppress(ApiError):
            api.request("PATCH", path, body={"metadata": {"finalizers": None}},
                        content_type="application/merge-patch+json")
