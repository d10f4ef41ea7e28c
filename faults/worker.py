"""One fault object's life: asks the lifecycle for the next step, does it, publishes status, sleeps until something
changes.

Each object has a worker of its own, so that one slow verification holds up nobody else. A worker also lives for
objects that only the ledger knows: their deadlines are kept while the API cannot be asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faults import dry_run, lifecycle
from faults.abilities import Abilities
from faults.aiming import Aimer, Followed, World
from faults.crd import FINALIZER, PAUSE
from faults.injection import Surgeon
from faults.ledger import Entry, Ledger, Phase
from faults.lifecycle import Act, Fault, Step
from faults.protocol import Json, Tools
from faults.registry import Registry
from faults.status import status
from faults.told import Tell, fault_id, whom
from testbed.api.process_logs import about
from testbed.api.resources import ResourceType
from testbed.client.events import EventRecorder
from testbed.errors import ApiError, NotFound, TestbedError

log = logging.getLogger("chaos")

_AGAIN_S = 0.5  # after a call to the API that failed
_LOOK_S = 1.0  # between two looks whether a container that an injection stands on has ended


class Worker:
    """The life of one fault object, by uid."""

    def __init__(
        self, resource: ResourceType, namespace: str, name: str, uid: str, *, world: World, tools: Tools,
        ledger: Ledger, surgeon: Surgeon, registry: Registry, recorder: EventRecorder, abilities: Abilities,
    ) -> None:
        self.kind, self.namespace, self.name, self.uid = resource.kind, namespace, name, uid
        self._id = fault_id(resource.kind, namespace, name)
        self._resource = resource
        self._world, self._tools, self._ledger, self._surgeon = world, tools, ledger, surgeon
        self._registry, self._recorder = registry, recorder
        self._aim = Aimer(uid, world, tools, ledger, registry, abilities)
        self._wake = asyncio.Event()
        self._newest: Json | None = None  # the object as our own last write returned it
        self._problem: tuple[str, str] | None = None
        self._published: Json | None = None

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Returns when the object is gone and nothing of it is in effect."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            try:
                step = await self._step()
                if step is None:
                    return
                until_s = step.until_ns / 1e9 if step.until_ns else None
            except TimeoutError:  # a write that got no answer: meanwhile an undo has become due, which comes first
                continue
            except (ApiError, TestbedError) as error:
                log.warning("%s %s/%s: %s", self.kind, self.namespace, self.name, error, extra=about(**self._id))
                until_s = min(loop.time() + _AGAIN_S, self._next_due_s() or loop.time() + _AGAIN_S)
            await self._sleep(until_s)

    async def _sleep(self, until_s: float | None) -> None:
        try:
            async with asyncio.timeout_at(until_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # --- one round

    async def _step(self) -> Step | None:
        """Steps until there is nothing to do but wait. None: this life is over."""
        while True:
            found = self._object()
            entries = self._ledger.of(self.uid)
            fault = self._as_fault(found, entries)
            if isinstance(found, dict) and dry_run.asked_for(found) and not entries and not fault.finalized:
                await self._preview(found, fault)
                return Step(Act.WAIT)
            followed = await self._follow(found, fault, entries)
            if followed.moved or await self._fell(found, entries):
                continue
            step = lifecycle.next_step(fault, entries, self._now_ns(), followed.lost)
            if step.act is Act.FORGET:
                self._ledger.forget(self.uid)
                return None
            if step.act is Act.WAIT:
                await self._publish(found, fault, entries)
                return self._looking_again(step, entries)
            if not await self._do(step, found):
                await self._publish(self._object(), fault, self._ledger.of(self.uid))
                return Step(Act.WAIT)
            if step.act in (Act.INJECT, Act.RECOVER):
                after = self._ledger.of(self.uid)
                await self._publish(found, fault, after)

    async def _do(self, step: Step, found: Json | None | bool) -> bool:
        """Does one step; whether it led anywhere."""
        if step.act is Act.RECOVER:
            tell = self._teller(found if isinstance(found, dict) else None)
            await asyncio.gather(*(self._surgeon.recover(entry, tell) for entry in step.entries))
            return True
        if not isinstance(found, dict):
            return False
        if step.act is Act.FINALIZE:
            await self._set_finalizers(found, [*(found["metadata"].get("finalizers") or ()), FINALIZER])
        elif step.act is Act.RELEASE:
            await self._set_finalizers(
                found, [name for name in found["metadata"].get("finalizers") or () if name != FINALIZER])
        elif step.act is Act.SELECT:
            return await self._select(found)
        elif step.act is Act.INJECT:
            tell = self._teller(found)
            await asyncio.gather(*(
                self._surgeon.inject(entry, found["spec"], tell, self._still_wanted) for entry in step.entries))
        return True

    def _still_wanted(self) -> bool:
        entries = self._ledger.of(self.uid)
        return lifecycle.wanted(self._as_fault(self._object(), entries), entries, self._now_ns()) == "Run"

    def _object(self) -> Json | None | bool:
        """The newest that is known: a watch may lag behind our own writes."""
        known = self._world.fault(self.kind, self.namespace, self.name, self.uid)
        newest = self._newest
        if isinstance(known, dict) and newest is not None and _version(newest) > _version(known):
            return newest
        return known

    def _as_fault(self, found: Json | None | bool, entries: Sequence[Entry]) -> Fault:
        if not isinstance(found, dict):
            return Fault(present=found)
        metadata = found["metadata"]
        wrong = () if entries else self._registry.mistakes(found)
        if wrong:
            self._note_problem(found, ("Refused", "; ".join(map(str, wrong))))
        return Fault(
            present=True, deleting=bool(metadata.get("deletionTimestamp")),
            paused=(metadata.get("annotations") or {}).get(PAUSE) == "true",
            finalized=FINALIZER in (metadata.get("finalizers") or ()),
            refused=bool(wrong),
        )

    # --- aiming

    async def _select(self, found: Json) -> bool:
        problem = await self._aim.select(found)
        self._note_problem(found, problem)
        return problem is None

    async def _preview(self, found: Json, state: Fault) -> None:
        """Tells whom it would hit, and does nothing. Raises: ApiError."""
        records: list[Json] = []
        problem = self._problem
        if not state.refused:
            records, problem = await self._aim.look(found)
            self._note_problem(found, problem)
        await self._write_status(found, dry_run.told(records, problem))

    async def _follow(self, found: Json | None | bool, state: Fault, entries: Sequence[Entry]) -> Followed:
        if not isinstance(found, dict) or lifecycle.wanted(state, entries, self._now_ns()) == "Stop":
            return Followed()
        followed = await self._aim.follow(found, entries)
        if followed.problem or followed.moved:
            self._note_problem(found, followed.problem)
        return followed

    async def _fell(self, found: Json | None | bool, entries: Sequence[Entry]) -> bool:
        """Whether a container that an injection stands on has ended: then it is begun anew, as after a restart."""
        fallen = []
        for entry, container in self._grounds(entries):
            if await self._aim.has_ended(container):
                fallen.append(entry)
        tell = self._teller(found if isinstance(found, dict) else None)
        for entry in fallen:
            tell("Failed", f"{entry.injector} on {entry.target.id}: the container that held it has ended; once more",
                 self._now_ns(), warning=True, entry=entry)
        if fallen:
            self._ledger.write(*(replace(entry, phase=Phase.PREPARED) for entry in fallen))
        return bool(fallen)

    def _grounds(self, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """Injections in effect that stand on a container, and which."""
        pairs = [(entry, self._registry.get(entry.injector).stands_on(entry.plan)) for entry in entries
                 if entry.phase is Phase.INJECTED]
        return [(entry, container) for entry, container in pairs if container]

    def _looking_again(self, step: Step, entries: Sequence[Entry]) -> Step:
        """Nobody tells when such a container ends: it is looked for."""
        if not self._grounds(entries):
            return step
        look_ns = self._now_ns() + int(_LOOK_S * 1e9)
        return replace(step, until_ns=min(look_ns, step.until_ns or look_ns))

    # --- telling

    def _note_problem(self, found: Json, problem: tuple[str, str] | None) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            self._teller(found)(problem[0], problem[1], self._now_ns(), warning=True, entry=None)

    def _teller(self, found: Json | None) -> Tell:
        obj = found or {"apiVersion": self._resource.api_version, "kind": self.kind,
                        "metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid}}

        def tell(reason: str, message: str, at_ns: int, *, warning: bool, entry: Entry | None) -> None:
            self._recorder.event(obj, "Warning" if warning else "Normal", reason, message, monotonic_ns=at_ns,
                                 whom=self._id if entry is None else whom(entry))

        return tell

    async def _publish(self, found: Json | None | bool, fault: Fault, entries: Sequence[Entry]) -> None:
        """Writes the status when it has changed. Raises: ApiError; TimeoutError when an undo has become due."""
        if not isinstance(found, dict):
            return
        now_ns = self._now_ns()
        value = status(entries, desired=lifecycle.wanted(fault, entries, now_ns), paused=fault.paused,
                       problem=self._problem, time_over=lifecycle.time_is_over(entries, now_ns))
        await self._write_status(found, value)

    async def _write_status(self, found: Json, value: Json) -> None:
        if value == self._published or value == found.get("status"):
            return
        try:
            async with asyncio.timeout_at(self._next_due_s()):
                self._newest = await self._tools.client.patch(
                    self._resource, self.name, {"status": value}, self.namespace, subresource="status")
        except NotFound:
            return
        self._published = value

    def _next_due_s(self) -> float | None:
        """When the next undo is due, in loop time: no silent API (a fault may be what silences it) holds that up."""
        now_ns = self._now_ns()
        due = [moment for entry in self._ledger.of(self.uid) if entry.active
               for moment in (entry.deadline_ns, entry.retry_ns) if moment > now_ns]
        return min(due) / 1e9 if due else None

    async def _set_finalizers(self, found: Json, finalizers: list[str]) -> None:
        """Raises: ApiError; Conflict when the object has changed since it was read: the next round reads it again."""
        metadata: dict[str, Any] = {"finalizers": finalizers, "uid": self.uid}
        if found["metadata"].get("resourceVersion"):
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            self._newest = await self._tools.client.patch(
                self._resource, self.name, {"metadata": metadata}, self.namespace)
        except NotFound:
            self._newest = None

    def _now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)


def _version(obj: Json) -> int:
    text = str(obj["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0
