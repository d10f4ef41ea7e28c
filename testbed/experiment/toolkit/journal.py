"""The journal of a run in Chaos Toolkit's own form, on disk before each activity begins.

Who finds one whose ``status`` is null knows how far a killed run came: the last activity without an ``end`` was being
done. What the record means is ``outcome.py``'s.
"""

from __future__ import annotations

import copy
import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.errors import EnvironmentProblem
from testbed.experiment.toolkit.configuration import hidden
from testbed.experiment.toolkit.values import Json

FILE = "chaostoolkit-journal.json"


class ToolkitJournal:
    """``value`` is the journal; ``write`` brings it to every file of ``paths``, whole."""

    def __init__(self, paths: Iterable[Path], experiment: Json) -> None:
        self._paths = tuple(paths)
        said = copy.deepcopy(experiment)
        if "secrets" in said:
            said["secrets"] = hidden(said["secrets"])
        self.value: Json = {
            "chaoslib-version": f"testbed {__version__}", "platform": platform.platform(), "node": platform.node(),
            "experiment": said, "start": now(), "status": None, "deviated": False,
            "steady_states": {"before": None, "after": None, "during": []}, "run": [], "rollbacks": [],
        }
        self.write()

    def write(self) -> None:
        """Raises: EnvironmentProblem when a file cannot be written."""
        text = json.dumps(self.value, indent=2, ensure_ascii=False, default=plain, skipkeys=True)
        for path in self._paths:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.new")
                with temporary.open("w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(path)
            except OSError as error:
                raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error

    def end(self, status: str, deviated: bool) -> None:
        """To be written then. ``status``: completed, failed, aborted or interrupted."""
        end = now()
        began = datetime.fromisoformat(self.value["start"])
        self.value |= {"status": status, "deviated": deviated, "end": end,
                       "duration": (datetime.fromisoformat(end) - began).total_seconds()}


def now() -> str:
    return datetime.now(UTC).isoformat()


def plain(value: Any) -> Any:
    """What a python activity returned that JSON has no form for."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    return str(value)
