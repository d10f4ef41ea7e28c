"""The results file: one line for each repetition that can be trusted, appended as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.experiment.result import Environment, RunResult, Series, VariantResult


@dataclass(frozen=True)
class Record:
    """One repetition of one comparison on one platform."""

    comparison: str
    platform: str
    timing: tuple[tuple[str, str], ...]
    environment: Environment
    run: RunResult


def lean(run: RunResult) -> RunResult:
    """What the tables are made of: marks, outages and counts, without samples, events and who saw what."""
    disruptions = tuple(item.model_copy(update={
        "gaps": (), "sightings": (), "clients": None, "detector": None, "cascade": (), "notes": ()})
        for item in run.disruptions)
    return run.model_copy(update={
        "disruptions": disruptions, "series": Series(), "events": (), "clients": None, "detector": None, "targets": (),
        "generator": (), "steady_states": (), "notes": ()})


class Records:
    """``file``: is made when it is not there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def append(self, comparison: str, variant: VariantResult) -> None:
        """A variant's repetitions that can be trusted: the others say nothing about its platform."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            for run in variant.result.trusted_runs:
                stream.write(json.dumps({
                    "comparison": comparison, "platform": variant.platform, "timing": variant.timing,
                    "environment": variant.result.environment.to_json(), "run": lean(run).to_json()}) + "\n")

    def read(self) -> Iterator[Record]:
        """Every whole line. Raises: ValueError for one that is not a record of this version."""
        if not self._file.exists():
            return
        for line in self._file.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may have been broken off
                value: dict[str, Any] = json.loads(line)
                yield Record(value["comparison"], value["platform"],
                             tuple((what, said) for what, said in value["timing"]),
                             Environment.from_json(value["environment"]), RunResult.from_json(value["run"]))

    def count(self, comparison: str, platform: str) -> int:
        """Repetitions that are recorded."""
        return sum(1 for item in self.read() if (item.comparison, item.platform) == (comparison, platform))
