"""What the store hands out: stored objects, changes of them, and subscriptions to changes.

A ``Stored`` keeps the JSON text that was written; its parsed form is shared by all readers and must not be changed by
them. A subscription has a bound: a reader that falls too far behind is told ``Gone`` and lists again, it never makes
the writer wait.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.errors import Gone

Json = dict[str, Any]


class Stored:
    """One version of one object."""

    __slots__ = ("_value", "name", "namespace", "revision", "text")

    def __init__(self, namespace: str, name: str, revision: int, text: str, value: Json | None = None) -> None:
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self.text = text
        self._value = value

    @property
    def value(self) -> Json:
        """The parsed object. Shared: read it, never change it (``fresh`` gives one to change)."""
        if self._value is None:
            self._value = json.loads(self.text)
        return self._value

    def fresh(self) -> Json:
        """A parsed object of one's own."""
        value: Json = json.loads(self.text)
        return value

    def forget_value(self) -> None:
        """Drops the parsed form, which is much larger than the text; history keeps thousands of these."""
        self._value = None


@dataclass(frozen=True, slots=True)
class Change:
    """``type``: ADDED, MODIFIED, DELETED. A deleted object is its last state with the deletion's resourceVersion."""

    type: str
    stored: Stored
    previous: Stored | None

    @property
    def revision(self) -> int:
        return self.stored.revision


class Subscription:
    """Changes of one kind, in order, as they are written."""

    def __init__(self, namespace: str | None, limit: int, closed: Callable[[Subscription], None]) -> None:
        self._namespace = namespace
        self._limit = limit
        self._closed = closed
        self._pending: deque[Change] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._overflowed = False
        self._ended = False

    def offer(self, change: Change) -> None:
        """Called by the store inside a write; never waits."""
        if self._ended or self._overflowed or self._namespace not in (None, change.stored.namespace):
            return
        if len(self._pending) >= self._limit:
            self._overflowed = True
            self._pending.clear()
        else:
            self._pending.append(change)
        self._wake()

    def take(self) -> list[Change]:
        """Everything that has arrived since the last call, without waiting.

        Raises: Gone when this reader fell behind by more than its limit.
        """
        if self._overflowed:
            raise Gone("the watch fell too far behind; list again")
        pending = list(self._pending)
        self._pending.clear()
        return pending

    async def next(self) -> list[Change]:
        """Waits for changes; empty only when the subscription was closed.

        Raises: Gone when this reader fell behind by more than its limit.
        """
        while not self._pending and not self._overflowed and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._closed(self)
            self._wake()

    @property
    def closed(self) -> bool:
        return self._ended

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
