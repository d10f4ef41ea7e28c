"""The chaos daemon: a worker for each fault object, fed by informers; starts where a killed one left off.

It decides nothing about healing and the healer knows nothing of it. Killed, it loses nothing: the ledger says what
is in effect, holders end what is due, and the next daemon takes both over.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Mapping, Sequence
from dataclasses import replace

from faults.abilities import Abilities, Everything
from faults.crd import definitions, schedule_definition
from faults.holders import Holders, NoHolders
from faults.injection import Surgeon
from faults.ledger import Entry, Ledger
from faults.node_engines import NodeEngines, NoNodeEngines
from faults.protocol import Json, Site, Tools
from faults.registry import Registry
from faults.schedule_keeper import ScheduleKeeper
from faults.told import fault_id, whom
from faults.worker import Worker
from testbed.api.clock import WallClock
from testbed.api.process_logs import about
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS, NODES, PODS
from testbed.client.events import EventRecorder
from testbed.client.informer import Informer
from testbed.client.protocol import Client
from testbed.errors import AlreadyExists, ApiError
from testbed.machines.protocol import MachineRoom
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

log = logging.getLogger("chaos")

_AGAIN_S = 0.5


class ChaosDaemon:
    """Runs until it is cancelled. Cancelling undoes nothing: a restart is not the end of an experiment."""

    def __init__(
        self, client: Client, engine: Engine, host: Host, room: MachineRoom, ledger: Ledger,
        clock: WallClock, random: randomness.Random, *, site: Site, holders: Holders | None = None,
        abilities: Abilities | None = None, node_engines: NodeEngines | None = None,
    ) -> None:
        self._tools = Tools(client, engine, host, room, site, node_engines or NoNodeEngines())
        self._ledger, self._random, self._abilities = ledger, random, abilities or Everything()
        self._recorder = EventRecorder(client, "chaos-daemon", clock, random=random)
        self._registry = Registry()
        self._surgeon = Surgeon(self._tools, ledger, holders or NoHolders(), self._registry, clock)
        self._workers: dict[str, Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._informers: dict[str, Informer] = {}
        self._schedules: ScheduleKeeper | None = None
        self._clock = clock

    async def run(self) -> None:
        self._resume()
        await self._register()
        for resource in self._registry.kinds():
            self._informers[resource.kind] = Informer(self._tools.client, resource, on_change=self._look,
                                                      random=self._random)
        for resource in (PODS, NODES):
            self._informers[resource.kind] = Informer(self._tools.client, resource, on_change=self._wake_all,
                                                      random=self._random)
        faults = {resource.kind: self._informers[resource.kind] for resource in self._registry.kinds()}
        self._schedules = ScheduleKeeper(self._tools.client, self._registry, faults, self._recorder, self._clock,
                                         self._random)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._schedules.run())
                for informer in self._informers.values():
                    group.create_task(informer.run())
                    group.create_task(self._wake_when_synced(informer))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._recorder.close()

    async def undo(self, only: str = "") -> bool:
        """Undoes what is in effect, by the ledger alone (one entry, or all); whether nothing is left."""
        entries = [entry for entry in self._ledger.active() if entry.id == only or not only]
        return not any(entry.active for entry in await self.take_back(entries))

    async def take_back(self, entries: Sequence[Entry], *, by_hand: bool = False) -> list[Entry]:
        """The entries as they stand afterwards; what is still ``active`` could not be taken back, and its last event
        says why. ``by_hand``: they are not injected again, although their fault object may still want them."""

        def tell(reason: str, message: str, at_ns: int, *, warning: bool, entry: Entry | None) -> None:
            log.info("%s: %s", reason, message, extra=about(None, at_ns, **(whom(entry) if entry else {})))

        if by_hand:
            entries = [replace(entry, spent=True) for entry in entries]
            self._ledger.write(*entries)
        return list(await asyncio.gather(*(self._surgeon.recover(entry, tell) for entry in entries)))

    async def _wake_when_synced(self, informer: Informer) -> None:
        """From now on an object that is not in the cache is gone."""
        await informer.synced.wait()
        self._wake_all(None, None)

    # --- starting

    def _resume(self) -> None:
        """Workers for all that the ledger knows: their deadlines count from now on, API or not."""
        for uid in self._ledger.uids():
            first = self._ledger.of(uid)[0]
            self._start(first.kind, first.namespace, first.name, uid)

    async def _register(self) -> None:
        """Creates or renews the fault kinds' definitions; waits for the API as long as it takes."""
        faults = self._registry.faults()
        for definition in (*definitions(faults), schedule_definition(faults)):
            while True:
                try:
                    await self._register_one(definition)
                    break
                except ApiError as error:
                    log.info("the API does not take %s yet: %s", definition["metadata"]["name"], error)
                    await asyncio.sleep(_AGAIN_S)

    async def _register_one(self, definition: Json) -> None:
        client, name = self._tools.client, definition["metadata"]["name"]
        try:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        except AlreadyExists:
            present = await client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
            if present.get("spec", {}).get("versions") != definition["spec"]["versions"]:
                await client.patch(CUSTOM_RESOURCE_DEFINITIONS, name, {"spec": definition["spec"]})

    # --- workers

    def _look(self, old: Json | None, new: Json | None) -> None:
        """A fault object changed: its worker is woken; a newcomer gets one."""
        if self._schedules is not None:
            self._schedules.wake()
        for obj in (old, new):
            if obj is None:
                continue
            metadata = obj["metadata"]
            worker = self._workers.get(metadata["uid"])
            if worker is not None:
                worker.wake()
            elif obj is new:
                self._start(obj["kind"], metadata["namespace"], metadata["name"], metadata["uid"])

    def _wake_all(self, old: Json | None, new: Json | None) -> None:
        """Pods and nodes matter to objects that have found no target yet."""
        for worker in self._workers.values():
            worker.wake()

    def _start(self, kind: str, namespace: str, name: str, uid: str) -> None:
        resource = next((one for one in self._registry.kinds() if one.kind == kind), None)
        if resource is None:  # of a plug-in that is not installed any more
            log.error("%s %s/%s: no fault serves this kind", kind, namespace, name,
                      extra=about(**fault_id(kind, namespace, name)))
            return
        worker = Worker(resource, namespace, name, uid, world=self, tools=self._tools, ledger=self._ledger,
                        surgeon=self._surgeon, registry=self._registry, recorder=self._recorder,
                        abilities=self._abilities)
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run(), name=f"{kind} {namespace}/{name}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(uid, done))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._workers.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("worker of %s ended: %r", task.get_name(), task.exception(), exc_info=task.exception())

    # --- what workers see (worker.World)

    def fault(self, kind: str, namespace: str, name: str, uid: str) -> Json | None | bool:
        informer = self._informers.get(kind)
        if informer is None or not informer.synced.is_set():
            return None
        found = informer.items.get(f"{namespace}/{name}")
        return found if found is not None and found["metadata"].get("uid") == uid else False

    def pods(self) -> Sequence[Json]:
        return self._all("Pod")

    def nodes(self) -> Sequence[Json]:
        return self._all("Node")

    def pods_known(self) -> bool:
        informer = self._informers.get("Pod")
        return informer is not None and informer.synced.is_set()

    def _all(self, kind: str) -> Sequence[Json]:
        informer = self._informers.get(kind)
        items: Mapping[str, Json] = informer.items if informer is not None else {}
        return list(items.values())
