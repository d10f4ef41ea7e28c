"""Keeps Schedules: makes and takes away fault objects as ``schedules`` plans it, one pass at a time for all of them.

What it makes are fault objects like any other: the workers inject them. Killed, it goes on from the status.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Mapping, Sequence
from typing import Any

from faults import schedules
from faults.crd import body_key
from faults.kinds import SCHEDULE
from faults.protocol import Json
from faults.registry import Registry
from faults.told import fault_id
from testbed.api.clock import WallClock
from testbed.api.process_logs import about
from testbed.api.resources import ResourceType
from testbed.client.events import EventRecorder
from testbed.client.informer import Informer
from testbed.client.protocol import Client
from testbed.errors import AlreadyExists, ApiError, NotFound

log = logging.getLogger("chaos")

_LONGEST_WAIT_S = 30.0  # the wall clock may jump
_AGAIN_S = 0.5
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class ScheduleKeeper:
    """``faults``: informers of the fault kinds, by kind."""

    def __init__(
        self, client: Client, registry: Registry, faults: Mapping[str, Informer], recorder: EventRecorder,
        clock: WallClock, random: randomness.Random,
    ) -> None:
        self._client, self._registry, self._faults = client, registry, faults
        self._recorder, self._clock, self._random = recorder, clock, random
        self._wake = asyncio.Event()
        self._told: dict[str, tuple[str, str]] = {}
        self._informer = Informer(client, SCHEDULE, on_change=lambda old, new: self._wake.set(), random=random)

    def wake(self) -> None:
        """A fault object has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run())
            group.create_task(self._keep())

    async def _keep(self) -> None:
        await self._informer.synced.wait()
        for informer in self._faults.values():
            await informer.synced.wait()
        while True:
            self._wake.clear()
            wait_s = _LONGEST_WAIT_S
            for item in list(self._informer.items.values()):
                try:
                    wait_s = min(wait_s, await self._look(item))
                except ApiError as error:
                    log.warning("Schedule %s: %s", item["metadata"]["name"], error, extra=about(**_id(item)))
                    wait_s = min(wait_s, _AGAIN_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self, item: Json) -> float:
        """One pass over one Schedule. Returns: seconds until it must be looked at again. Raises: ApiError."""
        metadata, spec = item["metadata"], item["spec"]
        wrong = schedules.mistakes(item, self._registry)
        if wrong:
            self._tell(item, "Refused", "; ".join(map(str, wrong)))
            return _LONGEST_WAIT_S
        kind = self._faults_kind(spec["type"])
        children = self._children(kind, metadata)
        planned = schedules.plan(item, children, self._clock.now())
        for reason, message in planned.notes:
            self._tell(item, reason, message)
        made = list(planned.status["active"])
        if planned.status != (item.get("status") or {}):  # first the time, so that a crash makes none twice
            await self._publish(item, planned.status)
        if planned.start is not None:
            made.append(schedules.reference(await self._make(item, kind)))
            await self._publish(item, {**planned.status, "active": made})
        for name in planned.delete:
            await self._delete(kind, name, metadata["namespace"])
        return min(_LONGEST_WAIT_S, planned.wait_s) if planned.wait_s is not None else _LONGEST_WAIT_S

    def _faults_kind(self, name: str) -> ResourceType:
        return next(kind for kind in self._registry.kinds() if kind.kind == name)

    def _children(self, kind: ResourceType, metadata: Mapping[str, Any]) -> Sequence[Json]:
        return [child for child in self._faults[kind.kind].items.values()
                if any(owner.get("uid") == metadata["uid"] for owner in child["metadata"].get("ownerReferences") or ())]

    async def _make(self, item: Json, kind: ResourceType) -> Json:
        body = item["spec"][body_key(kind.kind)]
        while True:
            word = "".join(self._random.choice(_LETTERS) for _ in range(5))
            child = schedules.child_of(item, kind.api_version, word, body)
            try:
                made: Json = await self._client.create(kind, child, item["metadata"]["namespace"])
            except AlreadyExists:
                continue
            self._tell(item, "Spawned", f"created {kind.kind} {made['metadata']['name']}", warning=False)
            return made

    async def _delete(self, kind: ResourceType, name: str, namespace: str) -> None:
        try:
            await self._client.delete(kind, name, namespace)
        except NotFound:
            return

    async def _publish(self, item: Json, status: Json) -> None:
        metadata = item["metadata"]
        try:
            newest = await self._client.patch(SCHEDULE, metadata["name"], {"status": status}, metadata["namespace"],
                                              subresource="status")
        except NotFound:
            return
        self._informer.items[f"{metadata['namespace']}/{metadata['name']}"] = newest

    def _tell(self, item: Json, reason: str, message: str, *, warning: bool = True) -> None:
        uid = item["metadata"]["uid"]
        if self._told.get(uid) == (reason, message):
            return
        self._told[uid] = (reason, message)
        self._recorder.event(item, "Warning" if warning else "Normal", reason, message, whom=_id(item))


def _id(item: Json) -> dict[str, str]:
    return fault_id("Schedule", item["metadata"]["namespace"], item["metadata"]["name"])
