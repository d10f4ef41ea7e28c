"""What a probe kind is: it takes one sample of one target and says success, failure or error.

Source of the distinction: kubernetes pkg/probe/probe.go. A *failure* is the target's answer (or silence); an *error*
means that the probe itself could not be made, and is discarded by whoever decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from testbed.runtime.containers import ExecResult


class Outcome(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"  # counts as success, and an event says why
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True)
class Sample:
    """One result. ``message`` never holds a response body."""

    outcome: Outcome
    message: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True)
class ProbeTarget:
    """What is probed. ``address``: the pod's own IP, or a Service's. ``ports``: named ports. ``run``: runs argv
    inside the target with a timeout in seconds (exec probes), None where there is no inside."""

    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    run: Callable[[tuple[str, ...], float], Awaitable[ExecResult]] | None = None


class ProbeKind(Protocol):
    """``fields``: the JSON of the action (``{"path": "/", "port": 80}``). Never raises; never outlives timeout_s."""

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample: ...
