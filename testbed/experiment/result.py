"""The one value that a run leaves behind, from which every report is made.

It says what was measured and why the verdict is what it is; how it looks is `testbed.report`'s. All moments are seconds
since the start of their run, on one monotonic clock; all durations are seconds. ``None`` means *not seen*, never zero.
The JSON form (camelCase, ``result.json``) is versioned and its schema is published by ``result_schema()``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

SCHEMA_VERSION: Final = "testbed.io/result/v1alpha1"


class Value(BaseModel):
    """A frozen value with camelCase JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, defer_build=True,
        ser_json_inf_nan="null",
    )

    def to_json(self) -> dict[str, Any]:
        # Through text: there, what is not a number becomes null, which JSON has; NaN it has not.
        value: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return value

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises: pydantic.ValidationError (a ValueError) when it is not this value."""
        return cls.model_validate(value)


class Verdict(StrEnum):
    """What came of it. ``EXIT_CODES`` gives the exit code of each."""

    PASSED = "passed"
    OBJECTIVE_MISSED = "objective missed"
    STEADY_STATE_NOT_MET = "steady state not met before the fault"
    NO_EFFECT = "fault did not take effect"
    NOT_REGAINED = "steady state not regained"
    UNDO_FAILED = "undo failed"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted: users were hurt more than the budget allows"
    ENVIRONMENT = "environment"
    BUG = "a bug of ours"
    INTERRUPTED = "interrupted"


EXIT_CODES: dict[Verdict, int] = {
    Verdict.PASSED: 0, Verdict.OBJECTIVE_MISSED: 1, Verdict.ENVIRONMENT: 4, Verdict.STEADY_STATE_NOT_MET: 5,
    Verdict.NO_EFFECT: 6, Verdict.NOT_REGAINED: 7, Verdict.UNDO_FAILED: 8, Verdict.INCONCLUSIVE: 9,
    Verdict.ABORTED: 10, Verdict.BUG: 70, Verdict.INTERRUPTED: 130,
}


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


class ObjectiveResult(Value):
    """One objective as written, and what was measured. ``met`` None: it could not be judged, ``note`` says why."""

    text: str
    met: bool | None
    measured: float | None = None
    limit: float = 0.0
    unit: Literal["s", "", "ratio"] = ""
    note: str = ""


class Marks(Value):
    """When each thing was first true. ``latency_normal``: from then on latency stays in the band of before."""

    injected: float | None = None
    detected: float | None = None
    isolated: float | None = None
    acted: float | None = None
    running: float | None = None
    ready: float | None = None
    in_rotation: float | None = None
    restored: float | None = None
    undone: float | None = None
    stalled: float | None = None  # a rollout that gave up: progressDeadlineSeconds are over
    first_failed: float | None = None
    last_failed: float | None = None
    latency_normal: float | None = None

    def get(self, name: str) -> float | None:
        value = getattr(self, name)
        return None if value is None else float(value)


class Gap(Value):
    """One stretch of a path, from one mark to the next, and the setting or act that cost the time, in words."""

    path: Literal["isolation", "repair"]
    start_mark: str
    end_mark: str
    start_s: float
    end_s: float
    cause: str = ""

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Outage(Value):
    """From the due time of the first request that failed to the first normal answer received after it.

    The true edges lie within ``uncertainty_s`` (one request interval) of these.
    """

    start_s: float
    end_s: float
    failed: int = 0
    slow: int = 0  # answered, but slower than the normal band
    uncertainty_s: float = 0.0
    ended: bool = True  # False: still out when the run ended; ``end_s`` is then the end of the run

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Requests(Value):
    """Arrivals of the pulse: ``due`` = ``ok`` + ``late`` + ``failed``, and ``failed`` holds ``unsent``.

    ``late``: a right answer, but after the deadline.
    """

    due: int = 0
    ok: int = 0
    failed: int = 0
    late: int = 0
    unsent: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)  # e.g. {"200": 990, "refused": 6, "timeout": 4}

    @property
    def failed_ratio(self) -> float | None:
        return self.failed / self.due if self.due else None


class Latency(Value):
    """Seconds from due time to answer, of answered requests."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class TimelineEvent(Value):
    """Something worth a mark on the time axis."""

    at_s: float
    kind: str  # the Event's reason, or "step", "phase", "steady-state"
    object: str = ""
    message: str = ""
    level: Literal["normal", "warning"] = "normal"


class Disruption(Value):
    """One thing the cluster suffered, and how it got over it.

    Attributes:
        name: the step's name; ``uninvited-1`` where nobody here injected it.
        kind: what it was: fault, rollout, scale, apply, uninvited.
        what: in words: ``NodeChaos kill``, ``rollout of deployment/web to sample:v2``.
        targets: what was hit (``pod default/web-abc``, ``node node-2``).
        jitter_s: the random part of its moment.
        window_s: from injection to undo (or the end of the rollout), what charts shade.
    """

    name: str
    kind: Literal["fault", "rollout", "scale", "apply", "patch", "uninvited"]
    what: str = ""
    targets: tuple[str, ...] = ()
    verified: bool = True
    jitter_s: float = 0.0
    window_s: tuple[float, float] | None = None
    marks: Marks = Field(default_factory=Marks)
    gaps: tuple[Gap, ...] = ()
    outages: tuple[Outage, ...] = ()
    requests: Requests = Field(default_factory=Requests)
    restarts: int = 0
    notes: tuple[str, ...] = ()

    @property
    def detection_s(self) -> float | None:
        return self._since_injection(self.marks.detected)

    @property
    def isolation_s(self) -> float | None:
        """Injected until no new request could reach the victim."""
        return self._since_injection(self.marks.isolated)

    @property
    def repair_s(self) -> float | None:
        """Injected until the desired number was ready again."""
        return self._since_injection(self.marks.restored)

    @property
    def outage_s(self) -> float:
        return sum(outage.seconds for outage in self.outages)

    def _since_injection(self, mark: float | None) -> float | None:
        return None if mark is None or self.marks.injected is None else mark - self.marks.injected


class Phase(Value):
    name: Literal["setup", "steady", "inject", "verify", "observe", "undo", "converge", "judge"]
    start_s: float
    end_s: float


class SteadyStateResult(Value):
    """One steady-state condition, asked once before and once after."""

    when: Literal["before", "after"]
    what: str
    met: bool
    at_s: float
    waited_s: float = 0.0
    message: str = ""


class Series(Value):
    """Arrays of equal length, one bin of ``bin_s`` each; the i-th bin starts at ``start_s + i * bin_s``.

    ``due`` and ``failed`` are counts in the bin by due time; latencies are seconds; ``ready`` and ``desired`` are pods
    at the end of the bin; ``restarts`` counts container restarts in the bin.
    """

    bin_s: float = 0.1
    start_s: float = 0.0
    due: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    p50: tuple[float | None, ...] = ()
    p95: tuple[float | None, ...] = ()
    p99: tuple[float | None, ...] = ()
    ready: tuple[int | None, ...] = ()
    desired: tuple[int | None, ...] = ()
    restarts: tuple[int, ...] = ()


class LocustEntry(Value):
    name: str
    requests: int
    failures: int
    p50: float | None = None
    p95: float | None = None


class LocustResult(Value):
    """Counts of the realistic load. Its users wait for answers, so an outage hides in its percentiles."""

    users: int
    requests: int = 0
    failures: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    entries: tuple[LocustEntry, ...] = ()
    errors: dict[str, int] = Field(default_factory=dict)
    rate: tuple[float, ...] = ()  # requests per second, one value per second from the start of the run
    failures_rate: tuple[float, ...] = ()


class RunResult(Value):
    """One repetition. ``void_reason``: why its measurement cannot be trusted (then it enters no statistics)."""

    number: int
    verdict: Verdict
    reason: str = ""
    void_reason: str = ""
    started_at: datetime
    duration_s: float
    rate: float = 0.0  # requests per second that the pulse was asked for
    phases: tuple[Phase, ...] = ()
    steady_states: tuple[SteadyStateResult, ...] = ()
    disruptions: tuple[Disruption, ...] = ()
    outages: tuple[Outage, ...] = ()
    requests: Requests = Field(default_factory=Requests)
    latency: Latency = Field(default_factory=Latency)
    send_lateness_p99_s: float | None = None
    restarts: int = 0
    series: Series = Field(default_factory=Series)
    events: tuple[TimelineEvent, ...] = ()
    locust: LocustResult | None = None
    notes: tuple[str, ...] = ()

    def disruption(self, name: str) -> Disruption | None:
        return next((item for item in self.disruptions if item.name == name), None)


class Statistic(Value):
    """One quantity of one disruption over all trusted runs.

    ``p95`` is None where ``n`` does not support it. ``censored``: runs in which it did not end while we watched.
    """

    disruption: str
    quantity: str  # detection, isolation, repair, outage, failed
    unit: Literal["s", ""] = "s"
    n: int
    censored: int = 0
    median: float | None = None
    p95: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    ci_low: float | None = None  # of the median
    ci_high: float | None = None
    ci_level: float = 0.95
    values: tuple[float, ...] = ()


class Result(Value):
    """All runs of one command. ``artefacts``: file names in the run's folder."""

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
    notes: tuple[str, ...] = ()

    @property
    def trusted_runs(self) -> tuple[RunResult, ...]:
        return tuple(run for run in self.runs if not run.void_reason)

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
