"""What was seen of a cluster during a run, as values: the evidence that timelines are made of. Pure.

``at`` is always seconds since the start of the run on the monotonic clock. What came with a watch carries the moment
of its arrival, which is some milliseconds late; an Event with the annotation ``testbed.io/monotonic-ns`` carries the
moment itself, and then ``exact`` is true. ``late_s`` is how much earlier than ``at`` the true moment may have been
beyond the watch's usual lag: the silence before a relist. How objects say it, ``sightings.py`` and
``injections_told.py`` know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.api.labels import SUPERVISOR
from testbed.api.meta import LabelSelector
from testbed.experiment.pod_probes import with_health_check

Json = dict[str, Any]
EXACT_S = 0.001  # how exact a moment is that the one who acted wrote down: scheduling of a process on a busy machine
UNKNOWN_LAG_S = 0.1  # of a watch on a platform whose Events carry no moments to learn it from
STAMP_S = 1.0  # of an Event without a moment: its own stamps have whole seconds
ENGINE_LAG_S = 0.05  # between an end and the engine's word of it: 28 to 45 ms were measured


@dataclass(frozen=True, slots=True)
class PodSeen:
    """``key``: namespace/name. ``restarts``: of all containers together."""

    at: float
    key: str
    uid: str
    node: str
    ready: bool
    deleting: bool
    gone: bool
    running: bool
    restarts: int
    created: bool  # the watch said ADDED
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """``why``: its condition's words, while it is not ready."""

    at: float
    name: str
    ready: bool
    late_s: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class EndpointsSeen:
    """One EndpointSlice: pods (by key) that may get requests."""

    at: float
    slice: str
    service: str  # namespace/name
    pods: frozenset[str]
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeploymentSeen:
    at: float
    key: str
    generation: int
    observed_generation: int
    desired: int
    replicas: int
    updated: int
    ready: int
    available: int
    stalled: bool
    late_s: float = 0.0

    @property
    def complete(self) -> bool:
        """kubernetes: pkg/controller/deployment/util DeploymentComplete, and all of them ready."""
        return (self.observed_generation >= self.generation and self.updated == self.desired == self.replicas
                and self.available == self.desired == self.ready)


@dataclass(frozen=True, slots=True)
class EventSeen:
    """``about``: ``Kind/namespace/name`` (namespace empty for nodes).

    ``addresses``: of an EndpointsProgrammed, the pods' addresses in rotation from then on; None of other Events.
    ``lag_s``: of an exact one, how much later than ``at`` it arrived here. ``since``: of an alert's, when it began to
    fire by its own word.
    """

    at: float
    reason: str
    about: str
    message: str
    exact: bool
    warning: bool = False
    component: str = ""
    addresses: frozenset[str] | None = None
    late_s: float = 0.0
    lag_s: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """What the container engine itself told of one of a pod's containers.

    ``action``: create, start, die, oom, kill, pause, unpause, destroy, as the engine says. ``pod``: namespace/name.
    """

    at: float
    action: str
    pod: str
    container: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class InjectionSeen:
    """One target of a fault, from the fault object's records.

    Attributes:
        target: ``namespace/pod``, ``namespace/pod/container`` or a node's name, as the record's id.
        began: just before the act.
        verified: after it was seen to have taken effect.
        recovered: after the verified undo.
        within_s: where the injector tells no moments: ``began`` is then the earliest that it can have been, and it was
            within so many seconds of it.
    """

    target: str
    began: float | None = None
    verified: float | None = None
    recovered: float | None = None
    failure: str = ""
    within_s: float = 0.0


@dataclass
class Evidence:
    """Everything seen so far. Lists grow at the end, by arrival."""

    pods: list[PodSeen] = field(default_factory=list)
    nodes: list[NodeSeen] = field(default_factory=list)
    endpoints: list[EndpointsSeen] = field(default_factory=list)
    deployments: list[DeploymentSeen] = field(default_factory=list)
    events: list[EventSeen] = field(default_factory=list)
    pod_json: dict[str, Json] = field(default_factory=dict)  # latest, by uid
    deployment_json: dict[str, Json] = field(default_factory=dict)  # latest, by key
    deployments_then: dict[tuple[str, int], Json] = field(default_factory=dict)  # by key and generation
    engine: list[EngineSeen] = field(default_factory=list)
    engine_asked: bool = False  # whether there was an engine that could be asked
    away: list[tuple[float, float]] = field(default_factory=list)  # when the API gave no answer
    bounded: dict[float, float] = field(default_factory=dict)  # how inexact the moments of a silent injector are
    alert_told: datetime | None = None  # when any alert was last told of, before the run too

    @property
    def watch_lag_s(self) -> float:
        """How late a watch tells: what nine of ten exact Events of this run were late by, as far as there are any."""
        lags = sorted(event.lag_s for event in self.events if event.lag_s is not None)
        return lags[int(0.9 * (len(lags) - 1))] if lags else UNKNOWN_LAG_S

    def pod_spec(self, key: str) -> Json:
        """The spec of the last pod of this name, with its probes as they are carried out; {} when it was never seen."""
        spec = dict(self._pod(key).get("spec") or {})
        return with_health_check(spec) if spec and self.supervisor_of(key) else spec

    def supervisor_of(self, key: str) -> str:
        """Who looks after this pod, as its label says; "" for a cluster with nodes that have agents."""
        return str((self._pod(key).get("metadata") or {}).get("labels", {}).get(SUPERVISOR, ""))

    def deployment_then(self, key: str, generation: int) -> Json:
        """A Deployment as a change left it, which a later one may have changed again; {} when it was never seen."""
        return self.deployments_then.get((key, generation)) or self.deployment_json.get(key, {})

    def _pod(self, key: str) -> Json:
        """The last pod of this name; {} when it was never seen."""
        seen = next((item for item in reversed(self.pods) if item.key == key), None)
        return self.pod_json.get(seen.uid, {}) if seen else {}

    def pod_address(self, key: str) -> str:
        """The address of the last pod of this name; "" while it has none."""
        status = self._pod(key).get("status") or {}
        return str(status.get("podIP") or "")

    def deployment_of(self, pod_uid: str) -> str:
        """The key of the Deployment whose selector matches this pod; "" when none does."""
        pod = self.pod_json.get(pod_uid)
        if pod is None:
            return ""
        meta = pod["metadata"]
        for key, deployment in self.deployment_json.items():
            same_namespace = deployment["metadata"].get("namespace") == meta.get("namespace")
            selector = LabelSelector.of(deployment["spec"].get("selector") or {})
            if same_namespace and not selector.empty and selector.matches(meta.get("labels") or {}):
                return key
        return ""
