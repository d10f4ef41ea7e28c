"""Objects by kind, namespace and name; one monotonically growing resourceVersion; watch.

Every write is one SQLite transaction in WAL mode, committed before the call returns: it survives SIGKILL of the
process at any moment (``synchronous=NORMAL`` gives up the last writes only when the *machine* loses power). Reads
come from memory. All calls are synchronous and belong to one thread. What objects mean is the registry's affair.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from testbed.api.measures import Histogram
from testbed.errors import AlreadyExists, Conflict, EnvironmentProblem, Gone, NotFound
from testbed.store.changes import Change, Stored, Subscription

Json = dict[str, Any]

HISTORY_PER_KIND = 1024
PENDING_PER_WATCH = 4096
WRITES_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 1);
"""


class _Kind:
    """Everything of one kind: current objects, recent changes, who watches."""

    def __init__(self, start_revision: int, history: int) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self.history: deque[Change] = deque()
        self.history_limit = history
        self.complete_after = start_revision  # changes after this revision are all in ``history``
        self.subscriptions: list[Subscription] = []

    def record(self, change: Change) -> None:
        self.history.append(change)
        if len(self.history) > self.history_limit:
            self.complete_after = self.history.popleft().revision
        for subscription in tuple(self.subscriptions):
            subscription.offer(change)


class Store:
    """``kind`` is any string, ours are ``pods``, ``deployments.apps``. ``writes``: how long transactions took, in
    seconds. ``stopwatch``: seconds, for that alone."""

    def __init__(
        self, path: Path | str = ":memory:", *, history: int = HISTORY_PER_KIND,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Raises: EnvironmentProblem when the database cannot be opened or read."""
        self._history, self._stopwatch = history, stopwatch
        self.writes = Histogram(WRITES_S)
        try:
            self._db = sqlite3.connect(str(path), isolation_level=None)
            if str(path) != ":memory:":
                Path(path).chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-512")  # KiB; reads come from our own cache
            self._db.executescript(_SCHEMA)
            self._revision: int = self._db.execute("SELECT revision FROM counter").fetchone()[0]
            self._kinds: dict[str, _Kind] = {}
            self._load()
        except (sqlite3.Error, OSError) as error:
            raise EnvironmentProblem(f"the cluster's database {path} cannot be opened: {error}",
                                     hint="take the cluster down and up again: testbed down, testbed up") from error

    def _load(self) -> None:
        for kind, namespace, name, revision, value in self._db.execute("SELECT * FROM objects"):
            self._kind(kind).objects[(namespace, name)] = Stored(namespace, name, revision, value)

    def _kind(self, kind: str) -> _Kind:
        state = self._kinds.get(kind)
        if state is None:
            state = self._kinds[kind] = _Kind(self._revision, self._history)
        return state

    # --- reading

    @property
    def revision(self) -> int:
        """Of the last write."""
        return self._revision

    def get(self, kind: str, namespace: str, name: str) -> Stored | None:
        return self._kind(kind).objects.get((namespace, name))

    def list(self, kind: str, namespace: str | None = None) -> list[Stored]:
        """Sorted by namespace and name, as etcd's keys are. ``None`` is all namespaces."""
        objects = self._kind(kind).objects
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def count(self, kind: str) -> int:
        return len(self._kind(kind).objects)

    def kinds(self) -> Iterable[str]:
        return tuple(self._kinds)

    @property
    def size_bytes(self) -> int:
        """Of the database, without what is still in its write-ahead log."""
        pages, page_bytes = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages) * int(page_bytes)

    # --- writing

    def create(self, kind: str, namespace: str, name: str, value: Json) -> Stored:
        """Stores a new object; ``metadata.resourceVersion`` is set. ``value`` is kept: hand over one of its own.

        Raises: AlreadyExists.
        """
        if (namespace, name) in self._kind(kind).objects:
            raise AlreadyExists(f'{kind} "{name}" already exists')
        return self._write(kind, namespace, name, value, None)

    def update(self, kind: str, namespace: str, name: str, value: Json, *, expected: int | None = None) -> Stored:
        """Raises: NotFound; Conflict when the object is no longer at revision ``expected``."""
        previous = self._require(kind, namespace, name, expected)
        return self._write(kind, namespace, name, value, previous)

    def delete(self, kind: str, namespace: str, name: str, *, expected: int | None = None) -> Stored:
        """Returns the last state, with the revision of its deletion.

        Raises: NotFound; Conflict when the object is no longer at revision ``expected``.
        """
        previous = self._require(kind, namespace, name, expected)
        revision = self._revision + 1
        with self._transaction(revision):
            self._db.execute("DELETE FROM objects WHERE kind=? AND namespace=? AND name=?", (kind, namespace, name))
        final = previous.fresh()
        final.setdefault("metadata", {})["resourceVersion"] = str(revision)
        stored = Stored(namespace, name, revision, _dump(final), final)
        state = self._kind(kind)
        del state.objects[(namespace, name)]
        self._announce(state, Change("DELETED", stored, previous))
        return stored

    def _require(self, kind: str, namespace: str, name: str, expected: int | None) -> Stored:
        previous = self._kind(kind).objects.get((namespace, name))
        if previous is None:
            raise NotFound(f'{kind} "{name}" not found')
        if expected is not None and previous.revision != expected:
            raise Conflict(f'{kind} "{name}": the object has been modified; please apply your changes to the latest '
                           "version and try again")
        return previous

    def _write(self, kind: str, namespace: str, name: str, value: Json, previous: Stored | None) -> Stored:
        revision = self._revision + 1
        value.setdefault("metadata", {})["resourceVersion"] = str(revision)
        text = _dump(value)
        with self._transaction(revision):
            self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                             (kind, namespace, name, revision, text))
        stored = Stored(namespace, name, revision, text, value)
        state = self._kind(kind)
        state.objects[(namespace, name)] = stored
        self._announce(state, Change("MODIFIED" if previous else "ADDED", stored, previous))
        return stored

    def _transaction(self, revision: int) -> _Transaction:
        return _Transaction(self, self._db, revision, self._stopwatch)

    def _committed(self, revision: int, took_s: float) -> None:
        self._revision = revision
        self.writes.observe(took_s)

    def _announce(self, state: _Kind, change: Change) -> None:
        state.record(change)
        if change.previous is not None:
            change.previous.forget_value()
        if change.type == "DELETED":
            change.stored.forget_value()

    # --- watching

    def watch(self, kind: str, namespace: str | None = None, *, since: int | None = None,
              limit: int = PENDING_PER_WATCH) -> Subscription:
        """Changes after revision ``since`` (default: from now on).

        Raises: Gone when that revision is too old, or from a database that is no more.
        """
        state = self._kind(kind)
        replay: list[Change] = []
        if since is not None:
            if since < state.complete_after or since > self._revision:
                raise Gone(f"too old resource version: {since} ({state.complete_after})")
            replay = [change for change in state.history if change.revision > since]
        subscription = Subscription(namespace, max(limit, len(replay)), state.subscriptions.remove)
        for change in replay:
            subscription.offer(change)
        state.subscriptions.append(subscription)
        return subscription

    def end_watches(self) -> None:
        for state in self._kinds.values():
            for subscription in tuple(state.subscriptions):
                subscription.close()

    def close(self) -> None:
        """Ends all watches and closes the database."""
        self.end_watches()
        self._db.close()


class _Transaction:
    """One write and the new counter, committed together or not at all."""

    def __init__(
        self, store: Store, db: sqlite3.Connection, revision: int, stopwatch: Callable[[], float],
    ) -> None:
        self._store, self._db, self._revision, self._stopwatch = store, db, revision, stopwatch

    def __enter__(self) -> None:
        self._began_s = self._stopwatch()
        self._execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise EnvironmentProblem(f"the cluster's database cannot be written: {error}",
                                         hint="is the disk full?") from error
            return
        self._execute("UPDATE counter SET revision=?", self._revision)
        self._execute("COMMIT")
        self._store._committed(self._revision, self._stopwatch() - self._began_s)

    def _execute(self, statement: str, *values: int) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise EnvironmentProblem(f"the cluster's database cannot be written: {error}",
                                     hint="is the disk full?") from error


def _dump(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII: a lone surrogate must not break SQLite
