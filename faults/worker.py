"""One fault object's life: asks the lifecycle for the next step, does it, publishes status, sleeps until something
changes.

Each object has a worker of its own, so that one slow verification holds up nobody else. A worker also lives for
objects that only the ledger knows: their deadlines are kept while the API cannot be asked.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from faults import lifecycle, refusals, selection
from faults.crd import FINALIZER, PAUSE
from faults.injection import Surgeon
from faults.ledger import Entry, Ledger
from faults.lifecycle import Act, Fault, Step
from faults.protocol import SELECTED, Json, Refused, Target, Tools
from faults.registry import Registry, fault_name
from faults.status import status
from testbed.api.resources import ResourceType
from testbed.client.events import EventRecorder
from testbed.errors import ApiError, NotFound, TestbedError

log = logging.getLogger("chaos")

_AGAIN_S = 0.5  # after a call to the API that failed


class World(Protocol):
    """What the informers know."""

    def fault(self, kind: str, namespace: str, name: str, uid: str) -> Json | None | bool:
        """The object; False: it is gone; None: not known (yet)."""
        ...

    def pods(self) -> Sequence[Json]: ...

    def nodes(self) -> Sequence[Json]: ...


class Worker:
    """The life of one fault object, by uid."""

    def __init__(
        self, resource: ResourceType, namespace: str, name: str, uid: str, *, world: World, tools: Tools,
        ledger: Ledger, surgeon: Surgeon, registry: Registry, recorder: EventRecorder, random: randomness.Random,
    ) -> None:
        self.kind, self.namespace, self.name, self.uid = resource.kind, namespace, name, uid
        self._resource = resource
        self._world, self._tools, self._ledger, self._surgeon = world, tools, ledger, surgeon
        self._registry, self._recorder, self._random = registry, recorder, random
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
            except (ApiError, TestbedError) as error:
                log.warning("%s %s/%s: %s", self.kind, self.namespace, self.name, error)
                until_s = loop.time() + _AGAIN_S
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
            step = lifecycle.next_step(fault, entries, self._now_ns())
            if step.act is Act.FORGET:
                self._ledger.forget(self.uid)
                return None
            if step.act is Act.WAIT:
                await self._publish(found, fault, entries)
                return step
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
            return self._select(found)
        elif step.act is Act.INJECT:
            tell = self._teller(found)
            await asyncio.gather(*(self._surgeon.inject(entry, found["spec"], tell) for entry in step.entries))
        return True

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

    # --- selecting

    def _select(self, found: Json) -> bool:
        spec = found["spec"]
        try:
            fault = self._registry.get(fault_name(found))
            targets = [target for key, part in fault.selections(spec).items()
                       for target in self._targets(found, fault.level, key, part)]
        except Refused as error:
            self._note_problem(found, ("Refused", str(error)))
            return False
        if not any(target.key == SELECTED for target in targets):
            self._note_problem(found, ("NoTarget", "the selector matches nothing that runs"))
            return False
        self._note_problem(found, None)
        deadline_ns = self._now_ns() + int(refusals.duration_s(spec) * 1e9) if fault.reversible else 0
        self._ledger.write(*(
            Entry(f"{self.uid}-{index:04d}", self.uid, self.kind, self.namespace, self.name, fault.name, target,
                  deadline_ns=deadline_ns)
            for index, target in enumerate(targets)))
        return True

    def _targets(self, found: Json, level: str, key: str, part: Mapping[str, Any]) -> list[Target]:
        """Raises: Refused."""
        if level == "cluster":
            return [Target(key=key)]
        selector, mode, value = part.get("selector") or {}, part.get("mode", ""), str(part.get("value") or "")
        pods, nodes = self._world.pods(), self._world.nodes()
        if level == "node":
            names = selection.choose(selection.matching_nodes(selector, self.namespace, pods, nodes), mode, value,
                                     self._random)
            if names:
                refusals.check_nodes(names, [node["metadata"]["name"] for node in nodes],
                                     found["metadata"].get("annotations") or {})
            return [Target(node=name, key=key) for name in names]
        chosen = selection.choose(selection.matching_pods(selector, self.namespace, pods, nodes), mode, value,
                                  self._random)
        if level == "pod":
            return [replace(selection.pod_target(pod), key=key) for pod in chosen]
        names = part.get("containerNames") or []
        return [replace(target, key=key) for pod in chosen for target in selection.containers_of(pod, names)]

    # --- telling

    def _note_problem(self, found: Json, problem: tuple[str, str] | None) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            log.info("%s %s/%s: %s: %s", self.kind, self.namespace, self.name, *problem)
            self._teller(found)(problem[0], problem[1], self._now_ns(), True)

    def _teller(self, found: Json | None) -> Callable[[str, str, int, bool], None]:
        about = found or {"apiVersion": self._resource.api_version, "kind": self.kind,
                          "metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid}}

        def tell(reason: str, message: str, at_ns: int, warning: bool) -> None:
            log.info("%s %s: %s: %s", self.kind, self.name, reason, message)
            self._recorder.event(about, "Warning" if warning else "Normal", reason, message, monotonic_ns=at_ns)

        return tell

    async def _publish(self, found: Json | None | bool, fault: Fault, entries: Sequence[Entry]) -> None:
        """Writes the status when it has changed. Raises: ApiError."""
        if not isinstance(found, dict):
            return
        now_ns = self._now_ns()
        value = status(entries, desired=lifecycle.wanted(fault, entries, now_ns), paused=fault.paused,
                       problem=self._problem, time_over=lifecycle.time_is_over(entries, now_ns))
        if value == self._published or value == found.get("status"):
            return
        try:
            self._newest = await self._tools.client.patch(
                self._resource, self.name, {"status": value}, self.namespace, subresource="status")
        except NotFound:
            return
        self._published = value

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

