"""Watches a cluster during one run and turns all that arrives into evidence, each with the moment of its arrival.

It only looks. What cannot be seen for a while (a broken watch) is listed again; what vanished meanwhile is gone, and
what changed meanwhile is known no better than to the length of the silence. Where the platform can ask the container
engine, what that tells is evidence too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from testbed.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, NODES, PODS, ResourceType
from testbed.client.informer import key_of
from testbed.client.protocol import Client
from testbed.errors import ApiError, EnvironmentProblem, TestbedError
from testbed.experiment.alert_events import is_alert, last_told
from testbed.experiment.injections_told import dated, injections_seen, steps_told
from testbed.experiment.observations import EngineSeen, Evidence, InjectionSeen
from testbed.experiment.sightings import deployment_seen, endpoints_seen, event_seen, node_seen, pod_seen

Json = dict[str, Any]
RELIST_PAUSE_S = 0.2


@dataclass(frozen=True)
class Arrival:
    """``kind``: ADDED, MODIFIED, DELETED, or LISTED for what was there from the beginning. ``late_s``: of a relist, the
    silence before it."""

    at: float
    kind: str
    late_s: float = 0.0


@dataclass(frozen=True)
class Watched:
    """One kind that is watched; ``take`` notes what arrived."""

    resource: ResourceType
    namespace: str | None
    take: Callable[[Arrival, Json], None]


class Observer:
    """Evidence of one run. ``start_ns``: CLOCK_MONOTONIC of its start, from which all moments count.

    ``engine_events``: given that moment, gives what the container engine tells; None where none can be asked.
    """

    def __init__(
        self, client: Client, namespace: str, fault_kinds: Sequence[ResourceType],
        engine_events: Callable[[int], AsyncIterator[EngineSeen]] | None = None,
    ) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.start_ns = int(self._loop.time() * 1e9)
        self.evidence = Evidence(engine_asked=engine_events is not None)
        self._engine_events = engine_events
        self.faults: dict[str, Json] = {}  # by name
        self._first_seen: dict[str, float] = {}  # fault objects
        self._told: dict[str, dict[tuple[str, str], float]] = {}  # when a fault's status first said so
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listed: list[asyncio.Event] = []
        self._away_since: dict[str, float] = {}  # kinds that cannot be listed now
        self.blind = ""  # why something is not watched any more; "" while all is
        self._watched = [
            Watched(PODS, namespace, self._pod), Watched(NODES, None, self._node),
            Watched(ENDPOINT_SLICES, namespace, self._endpoints), Watched(DEPLOYMENTS, namespace, self._deployment),
            Watched(EVENTS, None, self._event), *(Watched(kind, namespace, self._fault) for kind in fault_kinds),
        ]

    def now(self) -> float:
        """Seconds since the start of the run."""
        return self._loop.time() - self.start_ns / 1e9

    @property
    def away_s(self) -> float:
        """For how long the API has given no answer until now."""
        return self.now() - min(self._away_since.values()) if self._away_since else 0.0

    async def start(self, timeout_s: float = 20.0) -> None:
        """Begins to watch; returns when everything was listed once. Raises: EnvironmentProblem."""
        for watched in self._watched:
            listed = asyncio.Event()
            self._listed.append(listed)
            self._watch(watched.resource.plural, self._follow(watched, listed))
        if self._engine_events is not None:
            self._watch("the engine's events", self._hear(self._engine_events))
        await self.wait(lambda: bool(self.blind) or all(listed.is_set() for listed in self._listed), timeout_s)
        waiting = [watched.resource.plural for watched, listed in zip(self._watched, self._listed, strict=True)
                   if not listed.is_set()]
        if self.blind or waiting:
            raise EnvironmentProblem(self.blind or f"the cluster's API does not list {', '.join(waiting)}",
                                     hint="see: testbed status")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self, holds: Callable[[], bool], timeout_s: float, *, look_every_s: float = 0.25) -> bool:
        """Waits until ``holds``, asked again at each change and every ``look_every_s``. False when the time is over."""
        until = self._loop.time() + timeout_s
        while not holds():
            left = until - self._loop.time()
            if left <= 0:
                return False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, look_every_s))
        return True

    def injections(self, fault: str, created: float | None = None) -> tuple[InjectionSeen, ...]:
        """The records of one fault object by its name; () when it has none yet. ``created``: when it was about to be
        made; when it was first seen where that is not known."""
        arrived = self._told.get(fault, {})
        since = self._first_seen.get(fault, 0.0) if created is None else created
        found = dated(injections_seen(self.faults.get(fault, {}), self.start_ns), arrived, since)
        for item in found:
            if item.within_s and item.began is not None:
                self.evidence.bounded[item.began] = item.within_s
        return found

    # --- following

    def _watch(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(self._or_tell(what, work), name=what))

    async def _or_tell(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """What nobody watches any more must not be taken for what did not happen."""
        try:
            await work
        except Exception as error:
            why = error.message if isinstance(error, TestbedError) else repr(error)
            self.blind = self.blind or f"{what} cannot be watched any more: {why}"
            self._changed.set()

    async def _follow(self, watched: Watched, listed: asyncio.Event) -> None:
        known: dict[str, Json] = {}
        contact = self.now()  # when the API last told something, or said that it has no more to tell
        away_since: float | None = None
        while True:
            try:
                answer = await self._client.list(watched.resource, watched.namespace)
                self._relisted(watched, known, answer.items, None if not listed.is_set() else self.now() - contact)
                if away_since is not None:
                    self.evidence.away.append((away_since, self.now()))
                    away_since = None
                self._away_since.pop(watched.resource.plural, None)
                listed.set()
                self._changed.set()
                contact = self.now()
                events = self._client.watch(watched.resource, watched.namespace,
                                            resource_version=answer.resource_version)
                async for event in events:
                    contact = self.now()
                    if event.type == "BOOKMARK":
                        continue
                    uid = str(event.object["metadata"].get("uid", key_of(event.object)))
                    if event.type == "DELETED":
                        known.pop(uid, None)
                    else:
                        known[uid] = event.object
                    self._take(watched, event.object, Arrival(contact, event.type))
                contact = self.now()
            except ApiError as error:
                if error.code in (404, 410):
                    contact = self.now()
                elif error.code == 429 or error.code >= 500:
                    # The API is away, or cannot tell now: what it knows is unknown until it can be listed again.
                    away_since = self.now() if away_since is None else away_since
                    self._away_since.setdefault(watched.resource.plural, away_since)
                else:
                    raise
            await asyncio.sleep(RELIST_PAUSE_S)

    def _relisted(
        self, watched: Watched, known: dict[str, Json], items: Sequence[Json], silence_s: float | None
    ) -> None:
        """``silence_s``: how long nothing was told before; None for the first list."""
        current = {str(item["metadata"].get("uid", key_of(item))): item for item in items}
        late_s = silence_s or 0.0
        for uid in list(known):
            if uid not in current:
                self._take(watched, known.pop(uid), Arrival(self.now(), "DELETED", late_s))
        for uid, item in current.items():
            if silence_s is None or known.get(uid) != item:
                kind = "LISTED" if silence_s is None else "ADDED" if uid not in known else "MODIFIED"
                self._take(watched, item, Arrival(self.now(), kind, late_s))
        known.clear()
        known.update(current)

    def _take(self, watched: Watched, obj: Json, arrival: Arrival) -> None:
        watched.take(arrival, obj)
        self._changed.set()

    async def _hear(self, engine_events: Callable[[int], AsyncIterator[EngineSeen]]) -> None:
        async for seen in engine_events(self.start_ns):
            self.evidence.engine.append(seen)
            self._changed.set()

    # --- noting

    def _pod(self, arrival: Arrival, obj: Json) -> None:
        self.evidence.pod_json[str(obj["metadata"].get("uid", ""))] = obj
        seen = pod_seen(arrival.at, obj, gone=arrival.kind == "DELETED", created=arrival.kind == "ADDED")
        self.evidence.pods.append(replace(seen, late_s=arrival.late_s))

    def _node(self, arrival: Arrival, obj: Json) -> None:
        seen = node_seen(arrival.at, obj, gone=arrival.kind == "DELETED")
        self.evidence.nodes.append(replace(seen, late_s=arrival.late_s))

    def _endpoints(self, arrival: Arrival, obj: Json) -> None:
        seen = endpoints_seen(arrival.at, obj, gone=arrival.kind == "DELETED")
        self.evidence.endpoints.append(replace(seen, late_s=arrival.late_s))

    def _deployment(self, arrival: Arrival, obj: Json) -> None:
        if arrival.kind == "DELETED":
            self.evidence.deployment_json.pop(key_of(obj), None)
            return
        self.evidence.deployment_json[key_of(obj)] = obj
        self.evidence.deployments_then[key_of(obj), int(obj["metadata"].get("generation") or 0)] = obj
        self.evidence.deployments.append(replace(deployment_seen(arrival.at, obj), late_s=arrival.late_s))

    def _event(self, arrival: Arrival, obj: Json) -> None:
        if is_alert(obj):
            told = (moment for moment in (last_told(obj), self.evidence.alert_told) if moment is not None)
            self.evidence.alert_told = max(told, default=None)
            if arrival.kind == "MODIFIED":
                return  # an alert that is told again has not fired again
        if arrival.kind in ("ADDED", "MODIFIED"):  # what was told before the run is none of ours
            seen = replace(event_seen(arrival.at, obj, self.start_ns), late_s=arrival.late_s)
            # What a relist brought says nothing of how late a watch is.
            self.evidence.events.append(replace(seen, lag_s=None) if arrival.late_s else seen)

    def _fault(self, arrival: Arrival, obj: Json) -> None:
        name = str(obj["metadata"]["name"])
        self._first_seen.setdefault(name, arrival.at)
        told = self._told.setdefault(name, {})
        for step in steps_told(obj):
            told.setdefault(step, arrival.at)
        if arrival.kind == "DELETED":
            # Its records stay: they are the evidence. That it is gone is noted beside them.
            self.faults[name] = {**obj, "gone": True}
        else:
            self.faults[name] = obj
