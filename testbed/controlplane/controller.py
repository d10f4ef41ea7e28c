"""What every controller is: keys from a queue, one function that looks at one key, retries, and a measure of it all.

A controller's look reads the caches as a level, asks core, carries the plan out. It may fail with any ``ApiError``:
the key comes again later and the look starts anew from what is then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.api.clock import WallClock
from testbed.api.measures import Histogram
from testbed.api.resources import ResourceType
from testbed.client.events import EventRecorder
from testbed.client.protocol import Client
from testbed.controlplane.caches import Caches
from testbed.controlplane.owners import owner_uids
from testbed.controlplane.queue import WorkQueue
from testbed.controlplane.usage import NoUsage, UsageSource
from testbed.core.profile import Profile
from testbed.core.reasons import Note
from testbed.errors import ApiError, ApiUnavailable, Conflict, NotFound

log = logging.getLogger(__name__)

Json = dict[str, Any]
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # as upstream's generated names


@dataclass(frozen=True)
class Tools:
    """What all controllers share."""

    client: Client
    caches: Caches
    profile: Profile
    clock: WallClock
    random: random.Random
    usage: UsageSource = field(default_factory=NoUsage)

    def recorder(self, component: str) -> EventRecorder:
        return EventRecorder(self.client, component, self.clock, random=self.random)

    def suffix(self) -> str:
        """Five random characters for a new object's name."""
        return "".join(self.random.choice(NAME_ALPHABET) for _ in range(5))

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str) -> Json:
        """Creates what has a name chosen by us. When the answer is lost, it is looked up before anyone tries again.

        Raises: ApiError as the client's ``create``.
        """
        try:
            made = await self.client.create(resource, obj, namespace)
        except ApiUnavailable:
            made = await self.client.get(resource, obj["metadata"]["name"], namespace)
            ours = owner_uids(obj)
            if ours and owner_uids(made) != ours:
                raise
        self.caches.wrote(resource, made)
        return made

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        made = await self.client.update(resource, obj, subresource=subresource)
        self.caches.wrote(resource, made)
        return made


class Controller(ABC):
    """``name`` is the label of its metrics and the component of its events.

    ``deference``: turns of the event loop that it lets others go first. One change of a pod wakes many controllers;
    where requests go must be written, and on its way to the gateway, before anybody counts replicas.
    """

    name: str
    workers: int = 2
    deference: int = 8

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.client, self.caches, self.profile, self.clock = tools.client, tools.caches, tools.profile, tools.clock
        self.queue = WorkQueue()
        self.looks = Histogram(BUCKETS_S)  # how long they took
        self.failures = 0
        self.recorder = tools.recorder(self.name)

    @abstractmethod
    async def reconcile(self, key: str) -> float | None:
        """Looks at ``key``. Returns seconds until it wants to look again by itself, or None.

        Raises: ApiError; the key is then retried with back-off.
        """

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()
            await self.recorder.close()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = await self.queue.get()
            for _ in range(self.deference):
                await asyncio.sleep(0)
            start_s = loop.time()
            try:
                again_s = await self.reconcile(key)
            except (Conflict, NotFound) as error:  # what we saw is not what is: look again
                log.debug("%s: %s changed meanwhile: %s", self.name, key, error)
                self.queue.retry(key)
            except ApiError as error:
                self.failures += 1
                log.warning("%s: %s failed and is retried: %s", self.name, key, error)
                self.queue.retry(key)
            except Exception:
                self.failures += 1
                log.exception("%s: a bug of ours while looking at %s; it is retried", self.name, key)
                self.queue.retry(key)
            else:
                self.queue.forget(key)
                if again_s is not None:
                    self.queue.add_after(key, again_s)
            finally:
                self.looks.observe(loop.time() - start_s)
                self.queue.done(key)

    def tell(self, obj: Mapping[str, Any], note: Note, whom: Mapping[str, str] | None = None) -> None:
        """An Event about ``obj``. ``whom``: who else, for the log (``EventRecorder.event``)."""
        self.recorder.event(obj, note.type, note.reason, note.message, whom=whom)


def deep_copy(json: Any) -> Any:
    """A copy that may be changed (cheaper than copy.deepcopy, which handles more than JSON)."""
    if isinstance(json, dict):
        return {key: deep_copy(item) for key, item in json.items()}
    if isinstance(json, list):
        return [deep_copy(item) for item in json]
    return json
