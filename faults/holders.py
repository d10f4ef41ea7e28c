"""Starts, finds again and ends holders (holder.py). A holder is known by pid and start ticks, never by a bare pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from faults.protocol import Act


class Holders(Protocol):
    """Keeps one holder per injection."""

    def start(self, entry_id: str, deadline_ns: int, acts: Sequence[Act]) -> tuple[int, int]:
        """Returns pid and start ticks; (0, 0) when there is nothing to hold."""
        ...

    def end(self, entry_id: str, holder: tuple[int, int]) -> None:
        """Ends it without an undo. Harmless when it has ended."""
        ...


class NoHolders:
    """For the simulator, whose world has no processes."""

    def start(self, entry_id: str, deadline_ns: int, acts: Sequence[Act]) -> tuple[int, int]:
        return (0, 0)

    def end(self, entry_id: str, holder: tuple[int, int]) -> None:
        return


class ProcessHolders:
    """Holders as detached processes; their files lie in ``<instance>/holders``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "holders"
        self._log = directory / "logs" / "holders.log"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, entry_id: str, deadline_ns: int, acts: Sequence[Act]) -> tuple[int, int]:
        self._reap()
        if not acts:
            return (0, 0)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._log.parent.mkdir(mode=0o700, exist_ok=True)
        file = self._file(entry_id)
        self._write(file, {"id": entry_id, "deadline_ns": deadline_ns, "acts": list(acts)})
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-I", "-m", "faults.holder", str(file)], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log, start_new_session=True, cwd="/",
            )
        self._children.append(child)
        return (child.pid, start_ticks(child.pid))

    def end(self, entry_id: str, holder: tuple[int, int]) -> None:
        if alive(holder) and holder[0] != os.getpid():  # it may be the holder itself that undid it
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder[0], signal.SIGTERM)
        self._file(entry_id).unlink(missing_ok=True)
        self._reap()

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _file(self, entry_id: str) -> Path:
        return self._directory / f"{entry_id}.json"

    @staticmethod
    def _write(file: Path, value: dict[str, object]) -> None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(stream.fileno())


def start_ticks(pid: int) -> int:
    """Field 22 of ``/proc/<pid>/stat``; 0 when there is no such process, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def alive(holder: tuple[int, int]) -> bool:
    return holder[0] > 1 and holder[1] > 0 and start_ticks(holder[0]) == holder[1]
