"""All runs of one command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from testbed.experiment.result.comparison import Comparison
from testbed.experiment.result.run import RunResult
from testbed.experiment.result.statistics import ObjectiveResult, Statistic
from testbed.experiment.result.timeline import Disruption
from testbed.experiment.result.value import Value
from testbed.experiment.result.verdict import Verdict

SCHEMA_VERSION: Final = "testbed.io/result/v1alpha1"


class Environment(Value):
    """Where it was measured; figures of another machine are not comparable."""

    testbed_version: str = ""
    platform: str = "testbed"
    cluster: str = ""
    nodes: int = 0
    api_version: str = ""
    engine: str = ""
    kernel: str = ""
    python: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    load_average: float | None = None


class Result(Value):
    """All runs of one command.

    Attributes:
        artefacts: file names in the run's folder.
        spec_hash: of what was run; results of different ones are not compared (`testbed.experiment.fingerprint`).
        comparison: with the baseline that the run was given.
    """

    schema_version: Literal["testbed.io/result/v1alpha1"] = SCHEMA_VERSION
    command: Literal["experiment", "load", "inject"] = "experiment"
    run_id: str
    name: str
    file: str = ""
    seed: int = 0
    jitter: bool = True
    profile: str = ""
    started_at: datetime
    ended_at: datetime
    environment: Environment = Field(default_factory=Environment)
    verdict: Verdict
    exit_code: int
    reason: str = ""
    objectives: tuple[ObjectiveResult, ...] = ()
    runs: tuple[RunResult, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    artefacts: dict[str, str] = Field(default_factory=dict)
    spec_hash: str = ""
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()

    @property
    def trusted_runs(self) -> tuple[RunResult, ...]:
        return tuple(run for run in self.runs if run.trusted)

    def disruption_names(self) -> tuple[str, ...]:
        """In the order in which they first appear."""
        return tuple(dict.fromkeys(item.name for run in self.runs for item in run.disruptions))

    def disruptions(self, name: str) -> Iterator[Disruption]:
        for run in self.trusted_runs:
            found = run.disruption(name)
            if found is not None:
                yield found


def result_schema() -> dict[str, Any]:
    """The published JSON schema of ``result.json``."""
    schema = Result.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "testbed result", **schema}
