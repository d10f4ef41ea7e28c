"""Watches a cluster during one run and turns all that arrives into evidence, each with the moment of its arrival.

It only looks. What cannot be seen for a while (a broken watch) is listed again; what vanished meanwhile is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, NODES, PODS, ResourceType
from testbed.client.protocol import Client
from testbed.errors import ApiError, ApiUnavailable, EnvironmentProblem
from testbed.experiment.observations import (
    Evidence,
    InjectionSeen,
    deployment_seen,
    endpoints_seen,
    event_seen,
    injections_seen,
    key_of,
    node_seen,
    pod_seen,
)

Json = dict[str, Any]
RELIST_PAUSE_S = 0.2


@dataclass(frozen=True)
class Watched:
    """One kind that is watched; ``take(at, object, type)`` notes what arrived."""

    resource: ResourceType
    namespace: str | None
    take: Callable[[float, Json, str], None]


class Observer:
    """Evidence of one run. ``start_ns``: CLOCK_MONOTONIC of its start, from which all moments count."""

    def __init__(self, client: Client, namespace: str, fault_kinds: Sequence[ResourceType]) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.start_ns = int(self._loop.time() * 1e9)
        self.evidence = Evidence()
        self.faults: dict[str, Json] = {}  # by name
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listed: list[asyncio.Event] = []
        self._watched = [
            Watched(PODS, namespace, self._pod), Watched(NODES, None, self._node),
            Watched(ENDPOINT_SLICES, namespace, self._endpoints), Watched(DEPLOYMENTS, namespace, self._deployment),
            Watched(EVENTS, None, self._event), *(Watched(kind, namespace, self._fault) for kind in fault_kinds),
        ]

    def now(self) -> float:
        """Seconds since the start of the run."""
        return self._loop.time() - self.start_ns / 1e9

    async def start(self, timeout_s: float = 20.0) -> None:
        """Begins to watch; returns when everything was listed once. Raises: EnvironmentProblem."""
        for watched in self._watched:
            listed = asyncio.Event()
            self._listed.append(listed)
            self._tasks.append(asyncio.create_task(self._follow(watched, listed), name=watched.resource.plural))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(listed.wait() for listed in self._listed))
        except TimeoutError:
            waiting = [task.get_name() for task, listed in zip(self._tasks, self._listed, strict=True)
                       if not listed.is_set()]
            raise EnvironmentProblem(f"the cluster's API does not list {', '.join(waiting)}",
                                     hint="see: testbed status") from None

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

    def injections(self, fault: str) -> tuple[InjectionSeen, ...]:
        """The records of one fault object by its name; () when it has none yet."""
        return injections_seen(self.faults.get(fault, {}), self.start_ns)

    # --- following

    async def _follow(self, watched: Watched, listed: asyncio.Event) -> None:
        known: dict[str, Json] = {}
        while True:
            try:
                answer = await self._client.list(watched.resource, watched.namespace)
                self._relisted(watched, known, answer.items, first=not listed.is_set())
                listed.set()
                events = self._client.watch(watched.resource, watched.namespace,
                                            resource_version=answer.resource_version)
                async for event in events:
                    if event.type == "BOOKMARK":
                        continue
                    uid = str(event.object["metadata"].get("uid", key_of(event.object)))
                    if event.type == "DELETED":
                        known.pop(uid, None)
                    else:
                        known[uid] = event.object
                    self._take(watched, event.object, event.type)
            except ApiUnavailable:
                pass  # the API is away: what it knows is unknown until it can be listed again
            except ApiError as error:
                if error.code not in (404, 410):
                    raise
            await asyncio.sleep(RELIST_PAUSE_S)

    def _relisted(self, watched: Watched, known: dict[str, Json], items: Sequence[Json], *, first: bool) -> None:
        current = {str(item["metadata"].get("uid", key_of(item))): item for item in items}
        for uid in list(known):
            if uid not in current:
                self._take(watched, known.pop(uid), "DELETED")
        for uid, item in current.items():
            if first or known.get(uid) != item:
                self._take(watched, item, "LISTED" if first else "ADDED" if uid not in known else "MODIFIED")
        known.clear()
        known.update(current)

    def _take(self, watched: Watched, obj: Json, kind: str) -> None:
        watched.take(self.now(), obj, kind)
        self._changed.set()

    # --- noting

    def _pod(self, at: float, obj: Json, kind: str) -> None:
        gone = kind == "DELETED"
        self.evidence.pod_json[str(obj["metadata"].get("uid", ""))] = obj
        self.evidence.pods.append(pod_seen(at, obj, gone=gone, created=kind == "ADDED"))

    def _node(self, at: float, obj: Json, kind: str) -> None:
        self.evidence.nodes.append(node_seen(at, obj, gone=kind == "DELETED"))

    def _endpoints(self, at: float, obj: Json, kind: str) -> None:
        self.evidence.endpoints.append(endpoints_seen(at, obj, gone=kind == "DELETED"))

    def _deployment(self, at: float, obj: Json, kind: str) -> None:
        if kind == "DELETED":
            self.evidence.deployment_json.pop(key_of(obj), None)
            return
        self.evidence.deployment_json[key_of(obj)] = obj
        self.evidence.deployments.append(deployment_seen(at, obj))

    def _event(self, at: float, obj: Json, kind: str) -> None:
        if kind in ("ADDED", "MODIFIED"):  # what was told before the run is none of ours
            self.evidence.events.append(event_seen(at, obj, self.start_ns))

    def _fault(self, at: float, obj: Json, kind: str) -> None:
        name = str(obj["metadata"]["name"])
        if kind == "DELETED":
            # Its records stay: they are the evidence. That it is gone is noted beside them.
            self.faults[name] = {**obj, "gone": True}
        else:
            self.faults[name] = obj
