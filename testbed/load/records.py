"""What the pulse writes and how it is read, also while it is being written.

One text line per request, in the order in which requests *ended*:
``index,stream,due_ns,sent_ns,done_ns,outcome,status,backend``; times are CLOCK_MONOTONIC, 0 means never. Lines that
start with ``#`` hold JSON: ``{"kind": "start"}`` first, ``{"kind": "tick"}`` about once a second (CPU used so far,
requests in flight), ``{"kind": "stages"}`` when held stages begin, ``{"kind": "end"}`` last. A file without an end
belongs to a pulse that still runs or was killed; a half line at its end is not read yet. Standard library only: the
pulse itself imports this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from testbed.errors import InvalidInput

FRESH = "fresh"  # a new connection for each request
KEEP = "keep"  # connections are kept and used again


class Outcome(StrEnum):
    """How a request ended. Everything but OK is a failure as the client sees it."""

    OK = "ok"
    STATUS = "status"  # an answer with a status that was not expected
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"  # the connection ended before the answer was whole
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"  # no answer within the pulse's own patience
    MALFORMED = "malformed"  # not HTTP
    UNSENT = "unsent"  # its time came, and too many were in flight (or no socket could be had)
    UNANSWERED = "unanswered"  # still in flight when the pulse was told to stop


@dataclass(frozen=True, slots=True)
class Record:
    """One request: when it was due, left, and ended."""

    index: int
    stream: str
    due_ns: int
    sent_ns: int
    done_ns: int
    outcome: Outcome
    status: int = 0
    backend: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK

    @property
    def latency_s(self) -> float:
        """From the *due* time; infinite where no answer came."""
        return (self.done_ns - self.due_ns) / 1e9 if self.done_ns else float("inf")

    @property
    def lateness_s(self) -> float:
        """How much later than due it left: the prober's own error."""
        return (self.sent_ns - self.due_ns) / 1e9 if self.sent_ns else 0.0

    def line(self) -> str:
        return (f"{self.index},{self.stream},{self.due_ns},{self.sent_ns},{self.done_ns},{self.outcome.value},"
                f"{self.status},{self.backend}\n")


def parse_line(line: str) -> Record:
    """Raises: ValueError when the line is not a record."""
    index, stream, due, sent, done, outcome, status, backend = line.rstrip("\n").split(",", 7)
    return Record(int(index), stream, int(due), int(sent), int(done), Outcome(outcome), int(status), backend)


@dataclass
class PulseData:
    """All that a pulse has written so far. ``records`` in the order in which requests ended."""

    start: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    stages_ns: int = 0  # when stages that were held began; 0: none were, or not yet

    @property
    def rate(self) -> float:
        return float(self.start.get("rate", 0.0))

    def stream(self, name: str = FRESH) -> list[Record]:
        """Records of one stream by due time."""
        return sorted((record for record in self.records if record.stream == name), key=lambda record: record.due_ns)


class Follower:
    """Reads a pulse's file as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._broken: InvalidInput | None = None
        self.data = PulseData()

    def poll(self, most_bytes: int = -1) -> Sequence[Record]:
        """Reads what is new, at most so much of it; returns the new records. No file yet is nothing new.

        Raises: InvalidInput when the file is not a pulse's, at this look and every later one.
        """
        if self._broken is not None:
            raise self._broken
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                block = stream.read(most_bytes)
        except FileNotFoundError:
            return ()
        whole = block.rfind(b"\n") + 1
        self._offset += whole
        try:
            fresh = self._take(block[:whole].decode("utf-8", "replace").splitlines())
        except InvalidInput as error:
            self._broken = error
            raise
        self.data.records.extend(fresh)
        return fresh

    def _take(self, lines: Iterable[str]) -> list[Record]:
        records: list[Record] = []
        for line in lines:
            try:
                if line.startswith("#"):
                    self._note(json.loads(line[1:]))
                elif line:
                    records.append(parse_line(line))
            except (ValueError, TypeError) as error:
                raise InvalidInput(f"{self._path} is not a pulse's file: {line[:80]!r}: {error}") from error
        return records

    def _note(self, value: dict[str, Any]) -> None:
        if value.get("kind") == "start":
            self.data.start = value
        elif value.get("kind") == "end":
            self.data.end = value
        elif value.get("kind") == "stages":
            self.data.stages_ns = int(value["at_ns"])
        else:
            self.data.ticks.append(value)


def read(path: Path) -> PulseData:
    """All of a pulse's file.

    Raises: InvalidInput when it is missing or not a pulse's.
    """
    if not path.exists():
        raise InvalidInput(f"there is no pulse file {path}")
    follower = Follower(path)
    follower.poll()
    return follower.data
