"""The journal of injections: what was done to whom, how it is undone, and when it must be, on disk before it is
done.

SQLite with ``synchronous=FULL``, readable by its owner only. The chaos daemon writes, and the process that undoes
in its place (``--undo``). Times are CLOCK_MONOTONIC, which counts from the boot: a row of an earlier boot describes
a world that is gone.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from faults.protocol import Json, Target
from testbed.errors import EnvironmentProblem


class Phase(StrEnum):
    """Where an injection is. From PREPARED on the target may be damaged; from UNDONE on it is not."""

    CHOSEN = "chosen"  # the target was selected; nothing is known of it yet
    PREPARED = "prepared"  # the plan is written; the act may or may not have been done
    INJECTED = "injected"  # verified to be in effect
    UNDOING = "undoing"
    UNDONE = "undone"  # verified; or it never took effect and nothing is left of it


ACTIVE = (Phase.PREPARED, Phase.INJECTED, Phase.UNDOING)


@dataclass(frozen=True)
class Entry:
    """One injection: one fault object, one target.

    Attributes:
        deadline_ns: CLOCK_MONOTONIC by which it is undone; 0: it cannot be undone and need not be.
        attempts: times that injecting failed since the last success.
        holder: identity of its holder process: pid and start ticks.
        retry_ns: CLOCK_MONOTONIC before which it is not tried again.
        spent: injecting failed for good, or the target is gone; it is not tried again.
        events: Chaos Mesh's events, with ``monotonicNs``.
        past: records of targets that it has left to follow others (following.py).
    """

    id: str
    uid: str
    kind: str
    namespace: str
    name: str
    injector: str
    target: Target
    phase: Phase = Phase.CHOSEN
    plan: Json = field(default_factory=dict)
    deadline_ns: int = 0
    attempts: int = 0
    retry_ns: int = 0
    injected_count: int = 0
    recovered_count: int = 0
    holder: tuple[int, int] = (0, 0)
    spent: bool = False
    events: tuple[Json, ...] = ()
    past: tuple[Json, ...] = ()

    @property
    def active(self) -> bool:
        """Something may have to be undone (a kill that was done has nothing that could be)."""
        return self.phase in ACTIVE and (self.deadline_ns > 0 or self.phase is Phase.PREPARED)

    def noted(self, event: Json) -> Entry:
        """With one more event; only the last twenty are kept."""
        return replace(self, events=(*self.events, event)[-20:])


_SCHEMA = """
CREATE TABLE IF NOT EXISTS injections (
  id TEXT PRIMARY KEY, uid TEXT NOT NULL, phase TEXT NOT NULL, boot TEXT NOT NULL, value TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS of_fault ON injections (uid);
"""


class Ledger:
    """Synchronous: a row is on disk when the call returns."""

    def __init__(self, path: Path | str) -> None:
        """``path``: a file, or ``:memory:`` in the simulator. Raises: EnvironmentProblem."""
        self._boot = boot_id()
        try:
            if str(path) != ":memory:":
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._database.execute("DELETE FROM injections WHERE boot != ?", (self._boot,))
        except (sqlite3.Error, OSError) as error:
            raise EnvironmentProblem(f"the ledger {path} cannot be used: {error}") from error

    def write(self, *entries: Entry) -> None:
        """Inserts or replaces, all or none."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(
                "INSERT INTO injections VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET phase = excluded.phase, "
                "value = excluded.value",
                [(entry.id, entry.uid, entry.phase.value, self._boot, _to_text(entry)) for entry in entries],
            )
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def of(self, uid: str) -> tuple[Entry, ...]:
        """All injections of a fault object, in the order of selection."""
        return self._read("SELECT value FROM injections WHERE uid = ? ORDER BY id", (uid,))

    def get(self, entry_id: str) -> Entry | None:
        return next(iter(self._read("SELECT value FROM injections WHERE id = ?", (entry_id,))), None)

    def all(self) -> tuple[Entry, ...]:
        return self._read("SELECT value FROM injections ORDER BY id", ())

    def active(self) -> tuple[Entry, ...]:
        """All injections of all faults that may be in effect."""
        return tuple(entry for entry in self.all() if entry.active)

    def forget(self, uid: str) -> None:
        """Drops a fault whose object is gone and whose injections are undone."""
        self._database.execute("DELETE FROM injections WHERE uid = ?", (uid,))

    def uids(self) -> tuple[str, ...]:
        return tuple(row[0] for row in self._database.execute("SELECT DISTINCT uid FROM injections ORDER BY uid"))

    def close(self) -> None:
        self._database.close()

    def _read(self, query: str, values: Iterable[Any]) -> tuple[Entry, ...]:
        return tuple(_from_text(row[0]) for row in self._database.execute(query, tuple(values)))


def boot_id() -> str:
    """Names this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _to_text(entry: Entry) -> str:
    value = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
    value["target"] = {name: getattr(entry.target, name) for name in Target.__dataclass_fields__}
    return json.dumps(value)


def _from_text(text: str) -> Entry:
    value = json.loads(text)
    value["target"] = Target(**value["target"])
    value["phase"] = Phase(value["phase"])
    value["holder"] = tuple(value["holder"])
    value["events"] = tuple(value["events"])
    value["past"] = tuple(value.get("past") or ())
    return Entry(**value)
