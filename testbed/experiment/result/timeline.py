"""What the cluster suffered, and how it got over it: marks, gaps with their causes, disruptions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from testbed.experiment.result.clients import ClientView, Outage, Requests
from testbed.experiment.result.detector import Detector
from testbed.experiment.result.value import Value


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
    noise: bool = False  # meant to be lived through unnoticed: what it causes is a false act, no recovery
    jitter_s: float = 0.0
    window_s: tuple[float, float] | None = None
    marks: Marks = Field(default_factory=Marks)
    gaps: tuple[Gap, ...] = ()
    outages: tuple[Outage, ...] = ()
    requests: Requests = Field(default_factory=Requests)
    clients: ClientView | None = None
    detector: Detector | None = None
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
