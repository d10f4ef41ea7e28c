"""What the control plane knows of one kind of object: the informer's objects as typed views, with indexes.

Two things are added to what the informer tells. What a controller has just written is known at once (``wrote``), so
that it never acts on a state older than its own last act (kubernetes: client-go tools/cache MutationCache; what
expectations are for). And an object never travels back in time: older versions, and what was deleted, are not
believed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from testbed.api.meta import Resource
from testbed.api.resources import ResourceType
from testbed.client.informer import Informer, key_of
from testbed.errors import InvalidInput

log = logging.getLogger(__name__)


Json = dict[str, Any]
V = TypeVar("V", bound=Resource)
Handler = Callable[[Json | None, Json | None], None]  # old, new; None: not there

UNCONFIRMED_S = 30.0  # a write of ours that the informer has not shown by then is not believed any longer
TOMBSTONES = 4096


def version_of(json: Mapping[str, Any]) -> int:
    """The resourceVersion as a number, -1 when it is none."""
    text = str(json["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else -1


class Cache(Generic[V]):
    """``indexes``: by name, a function that gives an object's value."""

    def __init__(
        self, resource: ResourceType, view: type[V], indexes: Mapping[str, Callable[[Json], str]] | None = None
    ) -> None:
        self.resource = resource
        self._view = view
        self._objects: dict[str, Json] = {}
        self._views: dict[str, V] = {}
        self._index_of = dict(indexes or {})
        self._indexed: dict[str, dict[str, dict[str, None]]] = {name: {} for name in self._index_of}
        self._deleted: dict[str, int] = {}
        self._unconfirmed: dict[str, asyncio.TimerHandle] = {}
        self._handlers: list[Handler] = []
        self.informer: Informer | None = None

    def on_change(self, handler: Handler) -> None:
        self._handlers.append(handler)

    def json(self, key: str) -> Json | None:
        """The object as the API has it. Not to be changed in place."""
        return self._objects.get(key)

    def get(self, key: str) -> V | None:
        json = self._objects.get(key)
        if json is None:
            return None
        view = self._views.get(key)
        if view is None:
            try:
                view = self._view.of(json)
            except InvalidInput as error:
                log.warning("%s %s cannot be read and is left alone: %s", self.resource.kind, key, error)
                return None
            self._views[key] = view
        return view

    def keys(self) -> list[str]:
        return list(self._objects)

    def values(self) -> list[V]:
        return [view for key in list(self._objects) if (view := self.get(key)) is not None]

    def keys_by(self, index: str, value: str) -> list[str]:
        return list(self._indexed[index].get(value, ()))

    def by(self, index: str, value: str) -> list[V]:
        return [view for key in self.keys_by(index, value) if (view := self.get(key)) is not None]

    @property
    def connected(self) -> bool:
        """Whether what we show is what is: the informer follows the API right now."""
        return self.informer is None or self.informer.connected

    # --- what happens

    def heard(self, old: Json | None, new: Json | None) -> None:
        """The informer's ``on_change``."""
        if new is not None:
            self.told(new)
        elif old is not None:
            self.told_deleted(old)

    def told(self, json: Json) -> None:
        """The informer has this object now."""
        key = key_of(json)
        known = self._objects.get(key)
        if known is None or version_of(json) >= version_of(known):
            self._confirm(key)
        self._put(key, json)

    def told_deleted(self, json: Json) -> None:
        """The informer has seen it go (``json``: its last state)."""
        key = key_of(json)
        known = self._objects.get(key)
        if known is not None and known["metadata"].get("uid") != json["metadata"].get("uid") \
                and version_of(known) > version_of(json):
            return  # its successor of the same name, which we wrote, is already here
        self._confirm(key)
        self._bury(key, version_of(json))

    def wrote(self, json: Json) -> None:
        """The API answered a write of ours with this object."""
        key = key_of(json)
        known = self._objects.get(key)
        if known is not None and version_of(known) >= version_of(json):
            return
        if not self._put(key, json):
            return
        self._confirm(key)
        self._unconfirmed[key] = asyncio.get_running_loop().call_later(
            UNCONFIRMED_S, self._doubt, key, version_of(json)
        )

    def close(self) -> None:
        for timer in self._unconfirmed.values():
            timer.cancel()
        self._unconfirmed.clear()

    def _put(self, key: str, json: Json) -> bool:
        old, version = self._objects.get(key), version_of(json)
        if old is not None and 0 <= version < version_of(old):
            return False
        if 0 <= version <= self._deleted.get(key, -1):
            return False
        if old is not None and 0 <= version == version_of(old):
            return False
        self._objects[key] = json
        self._views.pop(key, None)
        self._reindex(key, old, json)
        self._tell(old, json)
        return True

    def _bury(self, key: str, version: int) -> None:
        old = self._objects.pop(key, None)
        self._views.pop(key, None)
        self._deleted[key] = max(version, self._deleted.pop(key, -1), version_of(old) if old is not None else -1)
        if len(self._deleted) > TOMBSTONES:
            self._deleted.pop(next(iter(self._deleted)))
        if old is not None:
            self._reindex(key, old, None)
            self._tell(old, None)

    def _doubt(self, key: str, version: int) -> None:
        self._unconfirmed.pop(key, None)
        known = self._objects.get(key)
        if known is not None and version_of(known) == version:
            self._bury(key, version)

    def _confirm(self, key: str) -> None:
        timer = self._unconfirmed.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _reindex(self, key: str, old: Json | None, new: Json | None) -> None:
        for name, value_of in self._index_of.items():
            index = self._indexed[name]
            before = value_of(old) if old is not None else None
            after = value_of(new) if new is not None else None
            if before == after:
                continue
            if before is not None:
                index[before].pop(key, None)
                if not index[before]:
                    del index[before]
            if after is not None:
                index.setdefault(after, {})[key] = None

    def _tell(self, old: Json | None, new: Json | None) -> None:
        for handler in self._handlers:
            handler(old, new)
