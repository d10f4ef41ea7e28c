"""The journal of a run: what was begun, before it is done, on disk at once.

Whoever finds a journal whose state is still ``running`` and no runner can undo from it: the fault objects are named
before they are created. On a disk that takes nothing more, none is created; what is only told (a phase, an end) is left
out then, since it must not keep a run from its undo.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.api.run_journal import writer
from testbed.errors import EnvironmentProblem


class Journal:
    """``journal.json`` in the folder of the run; every change replaces the file whole.

    Raises: EnvironmentProblem (made, ``fault``, ``created``) when it cannot be written.
    """

    def __init__(self, folder: Path, run_id: str, name: str, seed: int) -> None:
        self.folder = folder
        self._value: dict[str, Any] = {
            "runId": run_id, "experiment": name, "seed": seed, **writer(), "state": "running",
            "startedAt": _now(), "created": [], "faults": [], "entries": [],
        }
        self._write()

    def note(self, what: str, **details: Any) -> None:
        self._value["entries"].append({"at": _now(), "what": what, **details})
        self._tell()

    def fault(self, api_version: str, kind: str, namespace: str, name: str, step: str) -> None:
        """A fault object that is about to be created."""
        self._value["faults"].append(
            {"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name, "step": step})
        self._write()

    def undone(self, name: str) -> None:
        for fault in self._value["faults"]:
            if fault["name"] == name:
                fault["undoneAt"] = _now()
        self._tell()

    def created(self, kind: str, namespace: str, name: str) -> None:
        """An object of the workload that was not there before."""
        self._value["created"].append({"kind": kind, "namespace": namespace, "name": name})
        self._write()

    def finish(self, verdict: str, exit_code: int) -> None:
        self._value |= {"state": "finished", "endedAt": _now(), "verdict": verdict, "exitCode": exit_code}
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(EnvironmentProblem):
            self._write()

    def _write(self) -> None:
        path = self.folder / "journal.json"
        temporary = path.with_suffix(".json.new")
        try:
            with temporary.open("w") as stream:
                json.dump(self._value, stream, indent=1, default=str)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat()
