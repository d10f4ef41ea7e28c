"""The logs of a cluster's own processes, merged on the clock that they share: what is written down, and what comes.

A log that was cut has its older part beside it (``machines.logs``). Which lines are shown decides ``log_about``.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from testbed.api.log_lines import LogLine, of_text
from testbed.cli.log_about import Trail
from testbed.cli.log_merging import InOrder, Newest

_NODE_PROCESSES = ("agent-", "cable-")
_OTHERS = "engine-"  # of a node's own container engine: not of ours
HOLD_S = 0.3
_LOOK_S = 0.1


def process_of(file: Path) -> str:
    """As its lines call it: ``agent/node-1`` of ``agent-node-1.log``."""
    name = file.name.partition(".log")[0]
    return name.replace("-", "/", 1) if name.startswith(_NODE_PROCESSES) else name


class Log:
    """One process's log; every look at it gives what was added since the last one."""

    def __init__(self, file: Path) -> None:
        self._file, self._process, self._offset = file, process_of(file), 0
        self._before: LogLine | None = None

    def added(self) -> Iterator[LogLine]:
        """Whole lines; the first time of the older part too."""
        last_ns = self._before.ns if self._before is not None else -1
        try:
            if self._before is None or self._file.stat().st_size < self._offset:  # it was cut
                self._offset = 0
                older = self._file.with_name(f"{self._file.name}.1")
                if older.exists():
                    yield from (line for line in self._read(older) if line.ns > last_ns)
            yield from self._read(self._file, self._offset)
        except FileNotFoundError:
            return

    def _read(self, file: Path, offset: int = 0) -> Iterator[LogLine]:
        with file.open("rb") as stream:
            stream.seek(offset)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return  # it is being written
                if file is self._file:
                    self._offset += len(raw)
                self._before = of_text(raw[:-1].decode(errors="replace"), self._process, self._before)
                yield self._before


class SystemLog:
    """Of one cluster, whose logs are in ``directory``.

    Args:
        since_ns: CLOCK_MONOTONIC; only later lines. word: whom they are to be about (``log_about``); "" is everybody.
    """

    def __init__(self, directory: Path, *, since_ns: int = 0, word: str = "") -> None:
        self._directory, self._since_ns = directory, since_ns
        self._trail = Trail(word) if word else None
        self._logs: dict[Path, Log] = {}

    def written(self, max_lines: int) -> tuple[list[LogLine], int]:
        """What is written down, in order: the newest ``max_lines``, and how many older ones there are."""
        newest: Newest[LogLine] = Newest(max_lines)
        for line in heapq.merge(*(log.added() for log in self._all()), key=lambda line: line.ns):
            if self._takes(line):
                newest.add(line.ns, line)
        return newest.in_order(), newest.left_out

    @property
    def like(self) -> list[str]:
        """Names in what was read that are nearly what it was to be about."""
        return self._trail.like if self._trail is not None else []

    async def follow(self, tell: Callable[[LogLine], None]) -> None:
        """Tells what is written from now on, until cancelled."""
        held: InOrder[LogLine] = InOrder(HOLD_S)
        loop = asyncio.get_running_loop()
        while True:
            for log in self._all():
                for line in log.added():
                    held.add(line.ns, line, loop.time())
            for line in held.due(loop.time()):
                if self._takes(line):
                    tell(line)
            await asyncio.sleep(_LOOK_S)

    def _all(self) -> list[Log]:
        for file in sorted(self._directory.glob("*.log")):
            if not file.name.startswith(_OTHERS) and file not in self._logs:
                self._logs[file] = Log(file)
        return list(self._logs.values())

    def _takes(self, line: LogLine) -> bool:
        """What came before ``since_ns`` is looked at too: it says who is meant."""
        return (self._trail is None or self._trail.takes(line)) and line.ns >= self._since_ns


def monotonic_ns_before(seconds: float) -> int:
    """CLOCK_MONOTONIC of so many seconds ago."""
    return time.monotonic_ns() - int(seconds * 1e9)
