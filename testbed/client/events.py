"""Events: what a component tells about an object, as Kubernetes' own Event objects.

Recording never blocks and never fails its caller: events wait in a bounded queue that one task writes out. A repeated
event is counted up on the stored one, as upstream does, and keeps the time of its newest occurrence (``lastTimestamp``
and the annotation ``testbed.io/monotonic-ns``), from which recovery timelines are made. ``eventTime`` stays that of the
first, from which kubectl counts ("x4 over 2m"). Source: kubernetes client-go tools/record/{event.go,events_cache.go}.

What is told is a line of the process's own log too, with whom it is about: what happens to a pod is read there from a
fault to the recovery, also while nobody can write Events.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.clock import WallClock
from testbed.api.log_lines import REASON
from testbed.api.process_logs import about
from testbed.api.repeats import Repeats, and_more
from testbed.api.resources import EVENTS
from testbed.client.event_body import event_body
from testbed.client.protocol import Client, Json
from testbed.errors import AlreadyExists, ApiError, ApiUnavailable, Conflict, NotFound

MAX_PENDING = 1000
MAX_REMEMBERED = 2000
RETRY_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pending:
    key: tuple[str, ...]
    namespace: str
    body: Json
    at: datetime
    monotonic_ns: int


class EventRecorder:
    """``component``: who tells (``kubelet``, ``deployment-controller``); ``host``: its node, where it has one."""

    def __init__(
        self, client: Client, component: str, clock: WallClock, *, host: str = "",
        random: random_module.Random | None = None,
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._pending: deque[_Pending] = deque()
        self._known: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()  # key → name, count
        self._task: asyncio.Task[None] | None = None
        self._random = random or random_module.Random(0)
        self._log = logging.getLogger(component)
        self._repeats = Repeats()
        self.dropped = 0

    def event(
        self, obj: Mapping[str, Any], type: str, reason: str, message: str, *, monotonic_ns: int | None = None,
        field_path: str = "", annotations: Mapping[str, str] | None = None, whom: Mapping[str, str] | None = None,
    ) -> None:
        """Tells about ``obj`` (JSON with kind, apiVersion and metadata).

        ``type``: Normal or Warning. ``monotonic_ns``: CLOCK_MONOTONIC of what is told (default now). ``field_path``:
        the part that is meant, as ``spec.containers{web}``. ``whom``: who else it is about (``log_lines``), for the
        log and as ``related``: the pod that a controller made, the container that died.
        """
        loop = asyncio.get_running_loop()
        now = self._clock.now()
        at_ns = monotonic_ns if monotonic_ns is not None else int(loop.time() * 1e9)
        if len(self._pending) >= MAX_PENDING:
            self._pending.popleft()
            self.dropped += 1
        event = self._build(obj, reason, message, type, field_path, now, at_ns, annotations or {}, whom or {})
        self._pending.append(event)
        self._write_down(obj, event, loop.time(), whom or {})
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._write_all(), name=f"events of {self._component}")

    def _write_down(self, obj: Mapping[str, Any], event: _Pending, now_s: float, whom: Mapping[str, str]) -> None:
        """What is Normal is a change, each a line of its own; a Warning may be the same for hours."""
        body, grave = event.body, event.body["type"] == "Warning"
        left_out = self._repeats.due((*event.key, *whom.values()), now_s) if grave else 0
        if left_out is None:
            return
        self._log.log(logging.WARNING if grave else logging.INFO, "%s: %s%s", body["reason"], body["message"],
                      and_more(left_out), extra=about(obj, event.monotonic_ns, **{REASON: body["reason"], **whom}))

    def _build(
        self, obj: Mapping[str, Any], reason: str, message: str, kind: str, field_path: str, now: datetime, at_ns: int,
        annotations: Mapping[str, str], whom: Mapping[str, str],
    ) -> _Pending:
        body = event_body(obj, kind, reason, message, name=f"{obj['metadata']['name']}.{at_ns:x}",
                          component=self._component, host=self._host, at=now, monotonic_ns=at_ns,
                          field_path=field_path, annotations=annotations, whom=whom)
        involved, namespace = body["involvedObject"], body["metadata"]["namespace"]
        key = (involved.get("uid", ""), involved["name"], namespace, involved["kind"], field_path, reason, message,
               kind)
        return _Pending(key, namespace, body, now, at_ns)

    # --- writing

    async def flush(self) -> None:
        """Waits until everything told so far was written or given up."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Gives up what was not written yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write_all(self) -> None:
        while self._pending:
            event = self._pending.popleft()
            try:
                await self._write(event)
            except ApiUnavailable:
                self._pending.appendleft(event)
                while len(self._pending) > MAX_PENDING:
                    self._pending.popleft()
                    self.dropped += 1
                await asyncio.sleep(RETRY_S)
            except ApiError as error:  # its namespace may be gone; an event is worth no more than one attempt
                _log.info("event %s of %s was refused: %s", event.body["reason"], event.body["involvedObject"]["name"],
                          error.message)

    async def _write(self, event: _Pending) -> None:
        known = self._known.get(event.key)
        if known is not None:
            name, count = known
            patch = {"count": count + 1, "lastTimestamp": event.body["lastTimestamp"],
                     "metadata": {"annotations": event.body["metadata"]["annotations"]}}
            try:
                await self._client.patch(EVENTS, name, patch, event.namespace)
                self._remember(event.key, name, count + 1)
                return
            except (NotFound, Conflict):
                del self._known[event.key]
        try:
            created = await self._client.create(EVENTS, event.body, event.namespace)
        except AlreadyExists:
            created = await self._told_already(event) or await self._create_beside(event)
        self._remember(event.key, created["metadata"]["name"], 1)

    async def _told_already(self, event: _Pending) -> Json | None:
        """The stored event of that name when it is this one: written, but the answer was lost."""
        try:
            stored = await self._client.get(EVENTS, event.body["metadata"]["name"], event.namespace)
        except NotFound:
            return None
        told = ("involvedObject", "reason", "message", "type", "source")
        return stored if all(stored.get(field) == event.body[field] for field in told) else None

    async def _create_beside(self, event: _Pending) -> Json:
        """Two events of one object in one tick of the clock: the second gets a name of its own."""
        name = f"{event.body['metadata']['name']}.{self._random.getrandbits(24):x}"
        body = dict(event.body, metadata={**event.body["metadata"], "name": name})
        return await self._client.create(EVENTS, body, event.namespace)

    def _remember(self, key: tuple[str, ...], name: str, count: int) -> None:
        self._known[key] = (name, count)
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
