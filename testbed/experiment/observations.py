"""What was seen of a cluster during a run, as values: the evidence that timelines are made of. Pure.

``at`` is always seconds since the start of the run on the monotonic clock. What came with a watch carries the moment
of its arrival, which is some milliseconds late; an Event with the annotation ``testbed.io/monotonic-ns`` carries the
moment itself, and then ``exact`` is true. ``late_s`` is how much earlier than ``at`` the true moment may have been
beyond the watch's usual lag: the silence before a relist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from testbed.api.labels import MONOTONIC_NS, SERVICE_NAME, SUPERVISOR
from testbed.api.meta import LabelSelector
from testbed.experiment.alert_events import fires_since, is_alert
from testbed.experiment.pod_probes import with_health_check

Json = dict[str, Any]
EXACT_S = 0.001  # how exact a moment is that the one who acted wrote down: scheduling of a process on a busy machine
UNKNOWN_LAG_S = 0.1  # of a watch on a platform whose Events carry no moments to learn it from
STAMP_S = 1.0  # of an Event without a moment: its own stamps have whole seconds
ENGINE_LAG_S = 0.05  # between an end and the engine's word of it: 28 to 45 ms were measured
ENDPOINTS_ANNOTATION = "testbed.io/endpoints"  # on EndpointsProgrammed: addresses in rotation from then on


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


# --- from JSON


def key_of(obj: Mapping[str, Any]) -> str:
    meta = obj.get("metadata") or {}
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta.get("name", ""))


def _condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), {})


def pod_seen(at: float, obj: Mapping[str, Any], *, gone: bool = False, created: bool = False) -> PodSeen:
    status, meta = obj.get("status") or {}, obj["metadata"]
    statuses = status.get("containerStatuses") or ()
    return PodSeen(
        at, key_of(obj), str(meta.get("uid", "")), str((obj.get("spec") or {}).get("nodeName") or ""),
        ready=_condition(obj, "Ready").get("status") == "True" and not gone,
        deleting=bool(meta.get("deletionTimestamp")), gone=gone,
        running=bool(statuses) and all("running" in (item.get("state") or {}) for item in statuses),
        restarts=sum(int(item.get("restartCount") or 0) for item in statuses), created=created,
    )


def node_seen(at: float, obj: Mapping[str, Any], *, gone: bool = False) -> NodeSeen:
    condition = _condition(obj, "Ready")
    ready = not gone and condition.get("status") == "True"
    return NodeSeen(at, key_of(obj), ready, why="" if ready else str(condition.get("message") or ""))


def endpoints_seen(at: float, obj: Mapping[str, Any], *, gone: bool = False) -> EndpointsSeen:
    namespace = str(obj["metadata"].get("namespace", ""))
    service = str((obj["metadata"].get("labels") or {}).get(SERVICE_NAME, ""))
    pods = set()
    for endpoint in () if gone else obj.get("endpoints") or ():
        target = endpoint.get("targetRef") or {}
        if (endpoint.get("conditions") or {}).get("ready", True) and target.get("kind") == "Pod":
            pods.add(f"{target.get('namespace') or namespace}/{target.get('name')}")
    return EndpointsSeen(at, key_of(obj), f"{namespace}/{service}", frozenset(pods))


def deployment_seen(at: float, obj: Mapping[str, Any]) -> DeploymentSeen:
    status, meta = obj.get("status") or {}, obj["metadata"]
    spec = obj.get("spec") or {}
    progressing = _condition(obj, "Progressing")

    def number(name: str) -> int:
        return int(status.get(name) or 0)

    return DeploymentSeen(
        at, key_of(obj), int(meta.get("generation") or 0), number("observedGeneration"),
        int(1 if spec.get("replicas") is None else spec["replicas"]), number("replicas"), number("updatedReplicas"),
        number("readyReplicas"), number("availableReplicas"),
        stalled=progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded",
    )


def event_seen(arrived: float, obj: Mapping[str, Any], start_ns: int) -> EventSeen:
    """Args: start_ns: CLOCK_MONOTONIC at the start of the run."""
    about = obj.get("involvedObject") or {}
    annotations = obj["metadata"].get("annotations") or {}
    stamp, addresses = annotations.get(MONOTONIC_NS, ""), annotations.get(ENDPOINTS_ANNOTATION)
    exact = stamp.isdigit()
    at = (int(stamp) - start_ns) / 1e9 if exact else arrived
    alert = is_alert(obj)
    return EventSeen(
        at, str(obj.get("reason", "")),
        f"{about.get('kind', '')}/{about.get('namespace') or ''}/{about.get('name', '')}", str(obj.get("message", "")),
        exact, obj.get("type") == "Warning",
        str(obj.get("reportingComponent") or (obj.get("source") or {}).get("component") or ""),
        addresses=None if addresses is None else frozenset(part for part in addresses.split(",") if part),
        # An alert that is told again keeps its first moment: that says nothing of how late a watch is.
        lag_s=max(0.0, arrived - at) if exact and not alert else None,
        since=fires_since(obj, at) if alert else None,
    )


def injections_seen(fault: Mapping[str, Any], start_ns: int) -> tuple[InjectionSeen, ...]:
    """The records of a fault object's status (Chaos Mesh's form, with our ``monotonicNs``)."""
    return tuple(_injection(record, start_ns) for record in _records(fault))


def _records(fault: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return ((fault.get("status") or {}).get("experiment") or {}).get("containerRecords") or ()


def _injection(record: Mapping[str, Any], start_ns: int) -> InjectionSeen:
    started, applied = (_moments(record, "Apply", kind, start_ns) for kind in ("Started", "Succeeded"))
    recovered = _moments(record, "Recover", "Succeeded", start_ns)
    failures = [str(item.get("message") or "no message") for item in record.get("events") or ()
                if item.get("type") == "Failed"]
    verified = min(applied, default=None)
    # The act that took effect is the last one that was begun before it was verified: earlier ones failed.
    began = max((moment for moment in started if verified is None or moment <= verified), default=verified)
    return InjectionSeen(str(record.get("id", "")), began=began, verified=verified,
                         recovered=max(recovered, default=None), failure=failures[-1] if failures else "")


def steps_told(fault: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """(record's id, operation) of all that a status says is done, whether it tells the moments or not."""
    told = set()
    for record in _records(fault):
        done = {str(item.get("operation")) for item in record.get("events") or () if item.get("type") == "Succeeded"}
        if record.get("phase") == "Injected" or int(record.get("injectedCount") or 0):
            done.add("Apply")
        if record.get("phase") == "Not Injected" and int(record.get("recoveredCount") or 0):
            done.add("Recover")
        told |= {(str(record.get("id", "")), operation) for operation in done}
    return frozenset(told)


def dated(
    injections: Iterable[InjectionSeen], arrived: Mapping[tuple[str, str], float], created: float
) -> tuple[InjectionSeen, ...]:
    """Injections by an injector that writes no moments of ours (Chaos Mesh): by when its status told of them.

    Its own stamps have whole seconds of another machine's clock. So an injection lies between ``created``, when its
    object was about to be made, and ``arrived``. It is counted from the former: nothing that it did came before.
    """
    found = []
    for item in injections:
        applied, recovered = (arrived.get((item.target, operation)) for operation in ("Apply", "Recover"))
        if item.verified is not None or applied is None:
            found.append(item)
        else:
            found.append(replace(item, began=created, verified=applied, recovered=recovered,
                                 within_s=max(0.0, applied - created)))
    return tuple(found)


def _moments(record: Mapping[str, Any], operation: str, kind: str, start_ns: int) -> list[float]:
    return [(int(item["monotonicNs"]) - start_ns) / 1e9 for item in record.get("events") or ()
            if item.get("operation") == operation and item.get("type") == kind and item.get("monotonicNs")]
