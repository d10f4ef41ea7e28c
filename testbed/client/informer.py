"""A cache of one kind that keeps itself up to date: list, watch, and list again when the watch breaks.

Levels, not edges: ``on_change`` wakes a loop up, the cache says what is. After a broken connection the cache keeps
its last content (what cannot be seen is unknown, not gone) until the next list succeeds. Source of the pattern:
kubernetes client-go tools/cache/reflector.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random as random_module
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from testbed.api.resources import ResourceType
from testbed.client.protocol import Client, Json, WatchEvent
from testbed.errors import ApiError, Gone

OnChange = Callable[[Json | None, Json | None], None]

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0

_log = logging.getLogger(__name__)


class Informer:
    """``items``: key (``namespace/name`` or ``name``) → JSON. Read them, never change them.

    ``on_change(old, new)`` is called for each difference; ``old`` is None when an object appears, ``new`` when it is
    gone. It must not raise and not wait. ``synced`` is set once the first list is in the cache.
    """

    def __init__(
        self, client: Client, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "", on_change: OnChange | None = None, random: random_module.Random | None = None,
    ) -> None:
        self.items: dict[str, Json] = {}
        self.synced = asyncio.Event()
        self.connected = False
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._listeners: list[OnChange] = [on_change] if on_change else []
        self._random = random or random_module.Random(0)
        self._version = ""

    def subscribe(self, on_change: OnChange) -> None:
        """One more listener; it hears of the objects already in the cache at once."""
        self._listeners.append(on_change)
        for item in self.items.values():
            on_change(None, item)

    def get(self, key: str) -> Json | None:
        return self.items.get(key)

    async def run(self) -> None:
        """Runs until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                failures = 0
                await self._follow()
            except Gone:
                self._version = ""
            except ApiError as error:
                if not self.connected:
                    failures += 1
                self.connected = False
                self._version = ""
                _log.info("informer of %s: %s", self._resource.group_resource, error.message)
                await asyncio.sleep(self._backoff_s(failures))

    def _backoff_s(self, failures: int) -> float:
        upper: float = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures, 10))
        return upper * (0.5 + 0.5 * self._random.random())

    async def _list(self) -> None:
        listing = await self._client.list(self._resource, self._namespace, label_selector=self._label_selector,
                                          field_selector=self._field_selector)
        fresh = {key_of(item): item for item in listing.items}
        before, self.items = self.items, fresh
        self._version = listing.resource_version
        self.connected = True
        for key, old in before.items():
            new = fresh.get(key)
            if new is None:
                self._tell(old, None)
            elif _uid(old) != _uid(new):  # deleted and made again while nobody looked
                self._tell(old, None)
                self._tell(None, new)
            elif old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"]:
                self._tell(old, new)
        for key, new in fresh.items():
            if key not in before:
                self._tell(None, new)
        self.synced.set()

    async def _follow(self) -> None:
        stream: AsyncIterator[WatchEvent] = self._client.watch(
            self._resource, self._namespace, resource_version=self._version, label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        async with contextlib.aclosing(stream) as events:  # type: ignore[type-var]
            async for event in events:
                self.connected = True
                self._version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        key = key_of(event.object)
        old = self.items.get(key)
        if event.type == "DELETED":
            self.items.pop(key, None)
            self._tell(old or event.object, None)
            return
        self.items[key] = event.object
        if old is not None and _uid(old) != _uid(event.object):
            self._tell(old, None)
            old = None
        self._tell(old, event.object)

    def _tell(self, old: Json | None, new: Json | None) -> None:
        for listener in self._listeners:
            listener(old, new)


def key_of(obj: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` of what is cluster-wide."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("uid", ""))
