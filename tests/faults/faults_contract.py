"""The contract that every registered fault keeps, and the grounds on which it is tried: the simulation and Docker.

``keeps_the_contract`` is the one body: world before, inject ``fault.example``, verified effect, undo, world as before.
A ground says how the world looks (``snapshot``) and what of it is damaged just now (``left``).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from faults.ledger import Entry, Phase
from faults.protocol import SELECTED, Fault
from faults.registry import Registry
from testbed.api.resources import ResourceType
from testbed.errors import ApiError, NotFound, TestbedError

Json = dict[str, Any]
Snapshot = Mapping[str, Any]

REGISTRY = Registry()
NAMES = REGISTRY.names()
APP = "web"
VOLUME = "/data"


class Ground(Protocol):
    """A cluster with a Deployment ``web`` of two pods with a volume, and its Service.

    ``engine_node``: a node with a container engine of its own, for faults that are for such; empty: there is none.
    """

    engine_node: str

    async def create(self, resource: ResourceType, obj: Json) -> None: ...

    async def get(self, resource: ResourceType, name: str) -> Json:
        """Raises: ApiError."""
        ...

    async def delete(self, resource: ResourceType, name: str) -> None: ...

    async def undo_all(self) -> None:
        """By hand and by the ledger alone, as ``testbed faults undo --all``."""
        ...

    def entries(self) -> Sequence[Entry]:
        """What the ledger has."""
        ...

    async def until(self, what: str, condition: Callable[[], Awaitable[Any]], within_s: float = 60.0) -> Any: ...

    async def settle(self) -> None:
        """Waits until the cluster is as its objects want it."""
        ...

    async def snapshot(self) -> Snapshot: ...

    async def left(self) -> list[str]:
        """What of faults is in effect, or was made for them and is still there."""
        ...


def workload(replicas: int = 2) -> tuple[Json, Json]:
    """The Deployment and its Service. Its liveness probe is patient: a restart would hide what a fault leaves."""
    container = {
        "name": "web", "image": "sample:v1", "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "DRAIN_S", "value": "0"}],
        "volumeMounts": [{"name": "data", "mountPath": VOLUME}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5, "failureThreshold": 30},
    }
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": APP},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": APP}}, "template": {
            "metadata": {"labels": {"app": APP}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container],
                     "volumes": [{"name": "data", "emptyDir": {}}]}}},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": APP},
               "spec": {"selector": {"app": APP}, "ports": [{"port": 80, "targetPort": "http"}]}}
    return deployment, service


def object_of(fault: Fault, name: str, duration: str, engine_node: str = "") -> Json:
    """``fault.example`` as a user would write it."""
    spec = copy.deepcopy(fault.example)
    if fault.action:
        spec["action"] = fault.action
    if fault.level != "cluster":
        where = {"nodes": [engine_node]} if engine_node else {"labelSelectors": {"app": APP}}
        spec = {"mode": "one", "selector": where, **spec}
    if fault.level == "container":
        spec.setdefault("containerNames", [APP])
    if fault.reversible:
        spec["duration"] = duration
    return {"apiVersion": fault.kind.api_version, "kind": fault.kind.kind, "metadata": {"name": name}, "spec": spec}


def condition(obj: Json, kind: str) -> str:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((str(item["status"]) for item in found if item["type"] == kind), "")


def told(obj: Json) -> str:
    """What its conditions and events say, for a person."""
    status = obj.get("status") or {}
    records = (status.get("experiment") or {}).get("containerRecords") or ()
    events = [event.get("message", event["type"]) for record in records for event in record.get("events") or ()]
    return f"{status.get('conditions')} {events}"


async def injected(ground: Ground, fault: Fault, name: str, within_s: float = 30.0) -> Json:
    """The object, once it is in effect. Raises: AssertionError with its own words when it says that it is not."""

    async def concluded() -> Json | None:
        try:
            obj = await ground.get(fault.kind, name)
        except ApiError:  # it may be the API that was taken away; the ledger knows
            return from_ledger(ground.entries())
        if condition(obj, "Selected") == "False":
            raise AssertionError(told(obj))
        return obj if condition(obj, "AllInjected") in ("True", "False") and finished(obj) else None

    obj: Json = await ground.until(f"{fault.name} to be in effect", concluded, within_s)
    assert condition(obj, "AllInjected") == "True", told(obj)
    return obj


def from_ledger(entries: Sequence[Entry]) -> Json | None:
    """The status that will be told once somebody can be told; None: not all of it is in effect."""
    if not entries or any(entry.phase is not Phase.INJECTED for entry in entries):
        return None
    records = [{"selectorKey": entry.target.key, "phase": "Injected", "events": list(entry.events)}
               for entry in entries]
    return {"status": {"conditions": [{"type": "AllInjected", "status": "True"}],
                       "experiment": {"containerRecords": records}}}


def finished(obj: Json) -> bool:
    """Whether its injections have succeeded, or been given up."""
    records = (obj["status"].get("experiment") or {}).get("containerRecords") or ()
    events = [record.get("events") or [{}] for record in records]
    return condition(obj, "AllInjected") == "True" or any(
        sum(event.get("type") == "Failed" for event in one) >= 3 for one in events)


async def removed(ground: Ground, fault: Fault, name: str, within_s: float = 60.0) -> None:
    """Deletes the object, which undoes it; returns when it is gone. Where the API itself was taken away, that is taken
    back first."""

    async def gone() -> bool:
        try:
            await ground.get(fault.kind, name)
        except NotFound:
            return True
        except ApiError:
            return False
        return False

    async def asked() -> bool:
        try:
            await ground.delete(fault.kind, name)
        except NotFound:
            return True
        except ApiError:
            await ground.undo_all()
            return False
        return True

    await ground.until(f"the deletion of {name} to be taken", asked, within_s)
    await ground.until(f"{name} to be undone and gone", gone, within_s)


async def keeps_the_contract(ground: Ground, fault: Fault, name: str, *, duration: str = "2m") -> None:
    """The one body: what is done is seen, told with evidence, and gone without a trace when it is undone."""
    before, left = await ground.snapshot(), await ground.left()
    assert not left, left
    await ground.create(fault.kind, object_of(fault, name, duration, ground.engine_node))
    obj = await injected(ground, fault, name)
    records = obj["status"]["experiment"]["containerRecords"]
    chosen = [record for record in records if record["selectorKey"] == SELECTED]
    assert len(chosen) == 1, told(obj)
    assert all(record["phase"] == "Injected" for record in records), told(obj)
    for record in records:
        succeeded = [event for event in record["events"] if event["type"] == "Succeeded"]
        assert succeeded, record["events"]
        assert succeeded[-1].get("message"), f"no evidence: {record['events']}"
    if fault.reversible:
        assert await ground.left(), "nothing is in effect"
    await removed(ground, fault, name)
    await is_as(ground, before)


async def is_as(ground: Ground, before: Snapshot) -> None:
    """Nothing is left, and once healed the world is as it was. Raises: AssertionError that says what differs."""

    async def same() -> bool:
        return not await ground.left() and await ground.snapshot() == before

    await ground.settle()
    with contextlib.suppress(AssertionError, TestbedError):
        await ground.until("the world to be as it was", same, 10)
    left, after = await ground.left(), await ground.snapshot()
    assert not left, left
    changed = {key: difference(before[key], after[key]) for key in before if after[key] != before[key]}
    assert not changed, changed


def difference(before: Any, after: Any) -> str:
    if isinstance(before, dict):  # Counters too
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return "; ".join(f"{key}: {before.get(key)} before, {after.get(key)} after" for key in keys)
    return f"{before} before, {after} after"
