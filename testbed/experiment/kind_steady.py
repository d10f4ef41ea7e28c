"""What may be said of the steady state in an ``Experiment``: its conditions, strict, and nothing else.

How each is asked, ``steady_state.py`` knows.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from testbed.experiment.durations import Duration
from testbed.experiment.kind_strict import Aim, Strict


class HttpCondition(Aim):
    port: int | None = Field(default=None, ge=1, le=65535)
    path: str = Field(default="/", pattern=r"^/")
    status: int = Field(default=200, ge=100, le=599)
    body: str = Field(default="", description="Text that the answer must contain.")
    timeout: Duration = 1.0


class TcpCondition(Strict):
    service: str
    port: int | None = Field(default=None, ge=1, le=65535)
    timeout: Duration = 1.0


class ReadyCondition(Strict):
    """All desired pods are ready, and the rollout is complete."""

    deployment: str


class PromqlCondition(Strict):
    url: str = Field(default="http://127.0.0.1:9090", pattern=r"^https?://")
    query: str
    expect: str = Field(default="> 0", pattern=r"^\s*(<=|>=|==|!=|<|>)\s*-?[0-9.eE+-]+\s*$")
    timeout: Duration = 5.0


class JsonCondition(Aim):
    """A value inside a JSON answer: ``at`` is a dotted path, e.g. ``status.items[0].name``."""

    port: int | None = Field(default=None, ge=1, le=65535)
    path: str = Field(default="/", pattern=r"^/")
    at: str
    equals: Any
    timeout: Duration = 1.0


class LogCondition(Strict):
    """The last lines of every pod of a Deployment contain, or must not contain, a text."""

    deployment: str
    contains: str = ""
    absent: str = ""
    lines: int = Field(default=50, ge=1, le=10_000)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.contains) == bool(self.absent):
            raise ValueError("needs exactly one of contains, absent")
        return self


class ProbeCondition(Strict):
    """Any installed probe kind (entry points ``testbed.probes``), asked of every pod of a Deployment."""

    kind: str
    deployment: str
    port: int | str
    action: dict[str, Any] = Field(default_factory=dict, description="The probe's own fields, as in a manifest.")
    timeout: Duration = 1.0


class Condition(Strict):
    """One of the kinds. It must hold ``consecutive`` times before and, within ``within``, again at the end."""

    http: HttpCondition | None = None
    tcp: TcpCondition | None = None
    ready: ReadyCondition | None = None
    promql: PromqlCondition | None = None
    json_: JsonCondition | None = Field(default=None, alias="json")
    log: LogCondition | None = None
    probe: ProbeCondition | None = None
    within: Duration = Field(default=60.0, description="How long it may take to hold.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.one_of(("http", "tcp", "ready", "promql", "json_", "log", "probe"))
        return self

    @property
    def kind(self) -> str:
        return self.one_of(("http", "tcp", "ready", "promql", "json_", "log", "probe")).rstrip("_")
