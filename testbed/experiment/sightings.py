"""What an object of the API, as a watch brings it, says of the cluster: its JSON as an observation. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.api.labels import ENDPOINTS, MONOTONIC_NS, SERVICE_NAME
from testbed.client.informer import key_of
from testbed.experiment.alert_events import fires_since, is_alert
from testbed.experiment.observations import DeploymentSeen, EndpointsSeen, EventSeen, NodeSeen, PodSeen


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
    stamp, addresses = annotations.get(MONOTONIC_NS, ""), annotations.get(ENDPOINTS)
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
