"""Changes as a client sees them: with its selectors, as ADDED, MODIFIED and DELETED.

An object that comes to match is ADDED, one that ceases to match is DELETED (its last matching state with the revision
of the change). Source: kubernetes apiserver pkg/storage/cacher/cacher.go (convertToWatchEvent).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from testbed.server.selectors import Predicate
from testbed.store import Change, Stored, Subscription


class WatchStream:
    """``initial`` are sent as ADDED first. ``shown``: the form in which objects leave, None as they are."""

    def __init__(
        self, subscription: Subscription, selector: Predicate | None, initial: Iterable[Stored] = (),
        shown: Callable[[Stored], Stored] | None = None,
    ) -> None:
        self._subscription = subscription
        self._shown = shown
        self._selector = selector
        self._initial = [("ADDED", stored) for stored in initial]

    async def next(self) -> list[tuple[str, Stored]]:
        """Waits for events that match; empty only when the stream has ended.

        Raises: Gone when the client fell too far behind.
        """
        events = await self._next()
        shown = self._shown
        return events if shown is None else [(kind, shown(stored)) for kind, stored in events]

    async def _next(self) -> list[tuple[str, Stored]]:
        if self._initial:
            events, self._initial = self._initial, []
            return events
        while True:
            changes = await self._subscription.next()
            if not changes:
                return []
            events = [event for event in map(self._event, changes) if event is not None]
            if events:
                return events

    def close(self) -> None:
        self._subscription.close()

    def _event(self, change: Change) -> tuple[str, Stored] | None:
        selector = self._selector
        if selector is None:
            return change.type, change.stored
        before = change.previous is not None and selector(change.previous.value)
        if change.type == "DELETED":
            return (change.type, change.stored) if before else None
        after = selector(change.stored.value)
        if after:
            return ("MODIFIED" if before else "ADDED"), change.stored
        return ("DELETED", _as_of(change)) if before else None


def _as_of(change: Change) -> Stored:
    """The state before the change, with the revision of the change."""
    assert change.previous is not None
    value = change.previous.fresh()
    value["metadata"]["resourceVersion"] = str(change.revision)
    stored = change.stored
    return Stored(stored.namespace, stored.name, stored.revision, json.dumps(value, separators=(",", ":")), value)
