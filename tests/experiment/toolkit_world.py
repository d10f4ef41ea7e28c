"""Small Chaos Toolkit experiments, built in a few words and run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.experiment.result import Result
from testbed.experiment.toolkit.journal import FILE
from testbed.experiment.toolkit.loading import load_toolkit
from testbed.experiment.toolkit.running import ToolkitRun
from testbed.experiment.toolkit.values import Options

Json = dict[str, Any]


def python(module: str, func: str, **arguments: Any) -> Json:
    return {"type": "python", "module": module, "func": func, "arguments": arguments}


def process(path: str, *arguments: str, **more: Any) -> Json:
    return {"type": "process", "path": path, "arguments": list(arguments), **more}


def probe(name: str, provider: Json, **more: Any) -> Json:
    return {"type": "probe", "name": name, "provider": provider, **more}


def action(name: str, provider: Json, **more: Any) -> Json:
    return {"type": "action", "name": name, "provider": provider, **more}


def exists(path: Path, **more: Any) -> Json:
    """The hypothesis that a file is there."""
    return {"title": "the file is there", "probes": [
        probe("there", python("os.path", "exists", path=str(path)), tolerance=True)], **more}


def experiment(*, hypothesis: Json | None = None, method: list[Json] | None = None,
               rollbacks: list[Json] | None = None, **more: Any) -> Json:
    found: Json = {"title": "small", "description": "an experiment of the tests", "method": method or [],
                   "rollbacks": rollbacks or [], **more}
    return found | ({"steady-state-hypothesis": hypothesis} if hypothesis else {})


def write(folder: Path, value: Json, name: str = "experiment.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(value, indent=1))
    return file


class Ran:
    """A run that is over. ``said``: what it told."""

    def __init__(self, job: ToolkitRun, result: Result, said: list[str]) -> None:
        self.result, self.said = result, said
        self.journal: Json = json.loads((job.folder / FILE).read_text())
        self.run: list[Json] = self.journal["run"]
        self.rollbacks: list[Json] = self.journal["rollbacks"]

    @property
    def ended(self) -> tuple[int, str, bool]:
        """(exit code, status, deviated)."""
        return self.result.exit_code, self.journal["status"], self.journal["deviated"]


async def run(folder: Path, value: Json, **options: Any) -> Ran:
    wanted = Options(**options)
    said: list[str] = []
    job = ToolkitRun(load_toolkit(write(folder, value), wanted), wanted, folder / "runs", said.append)
    return Ran(job, await job.run(), said)
