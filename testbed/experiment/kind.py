"""The kind ``Experiment`` (``testbed.io/v1alpha1``): its fields, strict, and nothing else. Those of the load are in
``kind_load.py``, those of the steady state in ``kind_steady.py``.

``loading.py`` reads it from files and collects all mistakes; ``runner.py`` carries it out.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from faults.blast_radius import LIMIT, MAX_NODES, MAX_PODS, what_is_wrong
from testbed.experiment.durations import Duration, Ratio, Span
from testbed.experiment.kind_load import LoadSpec
from testbed.experiment.kind_steady import Condition
from testbed.experiment.kind_strict import NAME_PATTERN, Aim, Strict

API_VERSION = "testbed.io/v1alpha1"
KIND = "Experiment"
ACTS = ("fault", "rollout", "scale", "apply", "patch", "wait")
MARKS = ("injected", "detected", "isolated", "acted", "running", "ready", "inRotation", "restored", "undone", "stalled")


# --- cluster


class ClusterSpec(Strict):
    """The cluster that is brought up for the run where none is up."""

    nodes: int = Field(default=3, ge=1, le=50)
    profile: Literal["fast", "kubernetes"] = "fast"
    node_cpu: str = Field(default="", description="A node's CPU as a quantity; the machine's when absent.")
    node_memory: str = ""
    node_disk: str = Field(default="", description="The same for what its pods write into emptyDirs.")
    node_kind: Literal["slice", "engine"] = Field(
        default="slice", description="engine: each node has a container engine of its own (docs/engine-nodes.md).")
    zones: int = Field(default=0, ge=0, le=50, description="Over how many zones the nodes are spread; 0: none.")


# --- method


class RolloutStep(Strict):
    """Ship an image, restart, or undo the last rollout of a Deployment."""

    deployment: str
    image: str | None = None
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables that ship with the image.")
    container: str = Field(default="", description="The container to change; the first when absent.")
    restart: bool | None = None
    undo: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.one_of(("image", "restart", "undo")) != "image" and self.env:
            raise ValueError("env ships with an image: give image too")
        return self


class ScaleStep(Strict):
    deployment: str
    replicas: int = Field(ge=0, le=500)


class PatchStep(Strict):
    """Change one object by a merge patch (RFC 7386), e.g. a Service's selector or an Ingress's annotation."""

    kind: str
    name: str
    merge: dict[str, Any] = Field(min_length=1)


class Step(Strict):
    """One act, started ``at`` a time after the method began or ``after`` a mark of an earlier step."""

    name: str = Field(pattern=NAME_PATTERN)
    at: Duration | None = None
    after: str | None = Field(default=None, description="<step> or <step>.<mark>; a bare step means its restored.")
    fault: dict[str, Any] | None = Field(default=None, description="A Chaos Mesh object or one of testbed.io.")
    rollout: RolloutStep | None = None
    scale: ScaleStep | None = None
    apply: str | None = Field(default=None, description="A file of manifests.")
    patch: PatchStep | None = None
    if_: str | None = Field(default=None, alias="if", description="Only when this value of an earlier step holds, as "
                            "an objective is written: <step>.requests.failed.ratio < 1%")
    noise: bool = Field(default=False, description="This fault must be lived through unnoticed: a restart or an "
                        "isolation that it causes counts as a false act, not as recovery.")
    wait: Duration | None = None
    timeout: Duration = Field(default=120.0, description="How long its disruption may take to be restored.")
    pulse: str = Field(default="", description="The pulse target whose requests its clients' marks and outages are "
                       "computed from; the first when absent.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.one_of(ACTS)
        if self.at is not None and self.after is not None:
            raise ValueError("has both at and after; keep one")
        if self.noise and self.fault is None:
            raise ValueError("noise is said of a fault; this step is none")
        return self

    @property
    def kind(self) -> str:
        return self.one_of(ACTS)

    @property
    def awaited(self) -> tuple[str, str]:
        """(step, mark) of ``after``; ("", "") when it starts at a time."""
        if self.after is None:
            return "", ""
        step, _, mark = self.after.partition(".")
        return step, mark or "restored"


class BudgetSpec(Strict):
    """How much users may be hurt before the run is broken off and its faults are undone (exit code 10)."""

    failed_requests: int | None = Field(default=None, ge=0)
    failed_ratio: Ratio | None = Field(default=None, description="Of all requests since the method began.")
    outage: Duration | None = Field(default=None, description="How long one outage may last.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.failed_requests is None and self.failed_ratio is None and self.outage is None:
            raise ValueError("needs one of failedRequests, failedRatio, outage")
        return self


class SloSpec(Strict):
    """An objective of service, to say what of its error budget a disruption costs."""

    target: Ratio = Field(description="The share of requests that must be answered rightly and in time: 99.9%.")
    window: Span = Field(default=30 * 86400.0, description="Over which time.")

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if not 0 < self.target < 1:
            raise ValueError("target must be more than 0 and less than 100 %: without a budget nothing can burn")
        if self.window <= 0:
            raise ValueError("window must be more than 0")
        return self


class Asked(Aim):
    """A JSON answer, or the value at a dotted path in it."""

    port: int | None = Field(default=None, ge=1, le=65535)
    path: str = Field(default="/", pattern=r"^/")
    at: str = ""


class StateSpec(Strict):
    """A system that keeps what is written to it: every acknowledged write is asked for at the end."""

    pulse: str = Field(default="", description="The pulse target that writes; the first when absent.")
    id: str = Field(default="{index}", description="What identifies a write, as the pulse's path or body has it.")
    stored: Asked = Field(description="Answers the list of all ids that are stored.")
    backlog: Asked | None = Field(default=None, description="Answers how many writes are accepted and not done yet.")


class BlastRadiusSpec(Strict):
    """How much of the cluster faults may hit at a time: a share or a number. A fault's own annotations say more."""

    pods: str | int | None = Field(default=None, description="Of each workload's pods; half when absent.")
    nodes: str | int | None = Field(default=None, description="Of the nodes; one when absent.")

    @field_validator("pods", "nodes")
    @classmethod
    def _limit(cls, value: str | int | None) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not LIMIT.fullmatch(str(value)):
            raise ValueError(what_is_wrong(str(value)))
        return str(value)

    @property
    def annotations(self) -> dict[str, str]:
        """What fault objects carry of it."""
        limits = {MAX_PODS: self.pods, MAX_NODES: self.nodes}
        return {key: str(limit) for key, limit in limits.items() if limit is not None}


# --- the whole


class ExperimentSpec(Strict):
    description: str = ""
    cluster: ClusterSpec = Field(default_factory=ClusterSpec)
    namespace: str = Field(default="default", pattern=NAME_PATTERN)
    workload: tuple[str, ...] = Field(default=(), description="Files of Kubernetes manifests.")
    steady_state: tuple[Condition, ...] = ()
    load: LoadSpec = Field(default_factory=LoadSpec)
    method: tuple[Step, ...] = Field(min_length=1)
    objectives: tuple[str, ...] = ()
    budget: BudgetSpec | None = None
    state: StateSpec | None = Field(default=None, description="What is written, and how to ask what became of it.")
    slo: SloSpec | None = None
    blast_radius: BlastRadiusSpec = Field(default_factory=BlastRadiusSpec)
    runs: int = Field(default=1, ge=1, le=1000)
    matrix: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="Values of the manifests to compare, e.g. livenessProbe.periodSeconds: "
                                          "[1, 5, 10]; each combination is run, interleaved.")
    seed: int = 0
    jitter: Duration | None = Field(default=None, description="0 turns the random part of the moment off.")
    observe: Duration = Field(default=2.0, description="How long to watch on after everything is restored.")

    @field_validator("matrix")
    @classmethod
    def _values(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in value.items():
            if not values or len({repr(item) for item in values}) != len(values):
                raise ValueError(f"{key} needs one value or more, each once")
        return value


class ExperimentMetadata(Strict):
    name: str = Field(pattern=NAME_PATTERN)
    namespace: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Experiment(Strict):
    api_version: Literal["testbed.io/v1alpha1"]
    kind: Literal["Experiment"]
    metadata: ExperimentMetadata
    spec: ExperimentSpec
