"""What the cluster suffered, and how it got over it: marks with their witnesses, gaps divided into causes, disruptions.

How each is found is `testbed.experiment`'s (timeline, attribution, witnesses); here they have their form.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from testbed.experiment.result.clients import ClientView, Outage, Requests
from testbed.experiment.result.detector import Detector
from testbed.experiment.result.state import Backlog, Reached
from testbed.experiment.result.value import Value

Path = Literal["isolation", "repair"]

# What time can go to. ``docs/timeline.md`` has the rule of each.
Kind = Literal[
    "probe", "eviction-timeout", "noticing", "control", "back-off", "scheduling", "image", "container-start",
    "application-start", "readiness", "endpoints", "draining", "min-ready", "retries", "fault", "unexplained",
]
Witness = Literal["api", "engine", "clients", "injector"]


class Marks(Value):
    """When each thing was first true. ``latency_normal``: from then on latency stays in the band of before.
    ``alerted``: the first alert reached us: when somebody would have been paged. It belongs to neither path."""

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
    alerted: float | None = None

    def get(self, name: str) -> float | None:
        value = getattr(self, name)
        return None if value is None else float(value)


class Part(Value):
    """Seconds of a gap that one thing cost. ``words``: the setting or act, with its arithmetic.

    ``uncertainty_s``: how far its two ends may be from where they are drawn.
    """

    kind: Kind
    seconds: float
    uncertainty_s: float = 0.0
    words: str = ""


class Cause(Value):
    """Seconds of a whole path that went to one kind of thing. ``words``: of its longest part."""

    kind: Kind
    seconds: float
    uncertainty_s: float = 0.0
    words: str = ""


class Gap(Value):
    """One stretch of a path, from one mark to the next.

    Attributes:
        cause: the setting or act that such a gap is made of, in words.
        parts: where its seconds went, in the order of time; they add up to the whole. Results of before have none.
        uncertainty_s: of its length: what its two marks are uncertain by, together.
    """

    path: Path
    start_mark: str
    end_mark: str
    start_s: float
    end_s: float
    cause: str = ""
    parts: tuple[Part, ...] = ()
    uncertainty_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Sighting(Value):
    """That one witness saw one mark, and when by it. ``what``: what it saw."""

    mark: str
    witness: Witness
    at_s: float
    uncertainty_s: float = 0.0
    what: str = ""


class Alert(Value):
    """One alert that concerns a disruption. ``at_s``: when it reached us; ``object``: what it is about."""

    name: str
    at_s: float
    object: str = ""
    message: str = ""


class TimelineEvent(Value):
    """Something worth a mark on the time axis."""

    at_s: float
    kind: str  # the Event's reason, or "step", "phase", "steady-state"
    object: str = ""
    message: str = ""
    level: Literal["normal", "warning"] = "normal"


def target_key(target: str) -> str:
    """``default/web-1/web`` is a container of pod ``default/web-1``; a node has its name."""
    return "/".join(target.split("/")[:2])


class Disruption(Value):
    """One thing the cluster suffered, and how it got over it.

    Attributes:
        name: the step's name; ``uninvited-1`` where nobody here injected it.
        kind: what it was: fault, rollout, scale, apply, uninvited.
        what: in words: ``NodeChaos kill``, ``rollout of deployment/web to sample:v2``.
        targets: what was hit (``pod default/web-abc``, ``node node-2``).
        jitter_s: the random part of its moment.
        window_s: from injection to undo (or the end of the rollout), what charts shade.
        disrupted: False where nothing came of it: nobody noticed it and no request was lost (a sham, a fault that
            missed). Its marks then say when it was in force, not how long anything took to recover.
        mark_uncertainties: by the mark's name, in seconds: the true moment lies within so much of it.
        sightings: what each witness saw of the marks.
        shared_with: disruptions at the same time whose marks or failures are in part the same.
        shared_failed: requests, of those counted here or there, that failed while two were under way: either's.
        pager_s: how long an alert was waited for that would have been its; None where no Alertmanager was attached.
            Where one was and there are no ``alerts``, nobody was paged.
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
    backlog: Backlog | None = None
    cascade: tuple[Reached, ...] = ()
    restarts: int = 0
    disrupted: bool = True
    mark_uncertainties: dict[str, float] = Field(default_factory=dict)
    sightings: tuple[Sighting, ...] = ()
    shared_with: tuple[str, ...] = ()
    shared_failed: int = 0
    pager_s: float | None = None
    alerts: tuple[Alert, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def target_keys(self) -> frozenset[str]:
        """What was hit as everything else names it."""
        return frozenset(map(target_key, self.targets))

    def causes(self, path: Path) -> tuple[Cause, ...]:
        """Where the seconds of a path went, the largest first; they add up to the whole path."""
        return causes_of(part for gap in self.gaps if gap.path == path for part in gap.parts)

    def largest_cause(self, path: Path) -> Cause | None:
        """None where nothing was measured."""
        return next(iter(self.causes(path)), None)

    def cause_s(self, path: Path, kind: Kind) -> float | None:
        """Seconds of a path that went to ``kind``; 0 where it cost nothing, None where the path was not measured."""
        found = self.causes(path)
        return sum(item.seconds for item in found if item.kind == kind) if found else None

    def uncertainty_of(self, mark: str) -> float:
        """Seconds by which the time from the injection to ``mark`` may be wrong."""
        return self.mark_uncertainties.get(mark, 0.0) + self.mark_uncertainties.get("injected", 0.0)

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


def causes_of(parts: Iterable[Part]) -> tuple[Cause, ...]:
    """Parts added up by kind, the largest first."""
    found: defaultdict[Kind, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.kind].append(part)
    causes = [
        Cause(kind=kind, seconds=sum(part.seconds for part in items),
              uncertainty_s=sum(part.uncertainty_s for part in items),
              words=max(items, key=lambda part: part.seconds).words)
        for kind, items in found.items()
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.seconds))
