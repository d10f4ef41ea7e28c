"""What the live page and ``testbed top`` show of a cluster: the forms of the picture's parts, and how each is made of
an object. Pure: objects' JSON in, small plain values out.

The values are what leaves as JSON (``live``); whoever reads them may rely on every key of these types being there.
Pods are in ``picture_pods``, faults in ``picture_faults``. Runs are shown as the runner publishes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

import testbed
from testbed.api.instance import Instance
from testbed.api.labels import MONOTONIC_NS, NODE_KIND, RUNBOOK, SUPERVISOR
from testbed.api.meta import format_time, parse_time

Json = dict[str, Any]

CLUSTER, NODES, PODS, SERVICES = "cluster", "nodes", "pods", "services"
WORKLOADS, FAULTS, EXPERIMENTS, EVENTS = "workloads", "faults", "experiments", "events"
PARTS = (CLUSTER, NODES, PODS, SERVICES, WORKLOADS, FAULTS, EXPERIMENTS, EVENTS)
MAX_EVENTS = 200  # the newest
MAX_EXPERIMENTS = 20
MAX_FAULTS = 100


class ClusterPart(TypedDict):
    """Key of the one value: ``cluster``. ``now``: the control plane's wall clock when the picture was made."""

    name: str
    id: str
    profile: str
    version: str  # of the testbed
    supervisor: str  # "testbed", or who else looks after its containers: "compose", "swarm"
    now: str


class NodePart(TypedDict):
    """Key: the name."""

    name: str
    ready: str  # "True", "False", "Unknown"
    reason: str  # of the Ready condition
    message: str
    since: str  # when readiness last changed
    schedulable: bool
    kind: str  # "slice", "engine", or another supervisor's name
    address: str


class ContainerPart(TypedDict):
    name: str
    init: bool
    state: str  # "running", "waiting", "terminated", "" when nothing is known yet
    reason: str
    ready: bool
    restarts: int
    probes: list[str]  # those it has, of "startup", "readiness", "liveness"
    started: bool


class PodPart(TypedDict):
    """Key: ``namespace/name``."""

    namespace: str
    name: str
    uid: str
    node: str
    app: str  # its label app, or app.kubernetes.io/name
    owner: str  # "Deployment/web"; "" when nothing owns it
    phase: str
    reason: str  # kubectl's STATUS
    ready: bool
    restarts: int
    containers: list[ContainerPart]
    createdAt: str
    startedAt: str
    ip: str
    deleting: bool


class ServicePart(TypedDict):
    """Key: ``namespace/name``. ``ready``, ``unready``: how many endpoints."""

    type: str
    clusterIP: str
    ready: int
    unready: int


class WorkloadPart(TypedDict):
    """Key: ``Deployment/namespace/name``; also StatefulSet and DaemonSet."""

    desired: int
    ready: int
    updated: int
    available: int


class FaultPart(TypedDict):
    """Key: ``PodChaos/namespace/name``."""

    kind: str
    action: str
    phase: str  # "Injecting", "Injected", "Done", "Recovered", "Failed", "Refused"
    targets: list[str]  # "default/web-1", "default/web-1/web", "node-2"
    nodes: list[str]  # where these are
    message: str  # why it was refused or failed
    since: str  # when the phase's newest act was, as ``newest`` writes it; when it was made, before any
    step: str
    run: str


class EventPart(TypedDict):
    """Key: ``namespace/name`` of the event."""

    at: str  # of its newest occurrence, as ``newest`` writes it; of one that came again, in whole seconds
    monotonicUs: int  # CLOCK_MONOTONIC of it, which orders those of one second; 0 where nobody tells it
    type: str  # "Normal", "Warning"
    reason: str
    object: str  # "Pod/default/web-1", "Node/node-1"
    message: str
    count: int
    runbook: str  # of an alert: http or https address of what to do, "" where there is none


def status_of(obj: Mapping[str, Any]) -> Json:
    return obj.get("status") or {}


def key_of(obj: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` of what is cluster-wide."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def condition(obj: Mapping[str, Any], kind: str) -> Json:
    """That condition, {} when it is not there."""
    return next((item for item in status_of(obj).get("conditions") or () if item.get("type") == kind), {})


def newest(texts: Iterable[str | None]) -> str:
    """The last of some RFC 3339 moments; "" where there is none. Always in one form, with microseconds: text in which
    ``...00Z`` stands beside ``...00.5Z`` could not be put in order."""
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            moment = parse_time(text or "")
            found.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return format_time(max(found), micro=True) if found else ""


def cluster(instance: Instance, now: datetime) -> ClusterPart:
    return {"name": instance.name, "id": instance.id, "profile": instance.profile, "version": testbed.__version__,
            "supervisor": instance.supervisor, "now": format_time(now, micro=True)}


def node(obj: Json) -> NodePart:
    meta, ready = obj["metadata"], condition(obj, "Ready")
    labels = meta.get("labels") or {}
    addresses = status_of(obj).get("addresses") or ()
    return {
        "name": meta["name"], "ready": ready.get("status", "Unknown"), "reason": ready.get("reason", ""),
        "message": ready.get("message", ""), "since": ready.get("lastTransitionTime") or "",
        "schedulable": not (obj.get("spec") or {}).get("unschedulable"),
        "kind": labels.get(SUPERVISOR) or labels.get(NODE_KIND) or "slice",
        "address": next((item["address"] for item in addresses if item.get("type") == "InternalIP"), ""),
    }


def service(obj: Json, slices: Iterable[Json]) -> ServicePart:
    """``slices``: its EndpointSlices."""
    states = [bool((endpoint.get("conditions") or {}).get("ready")) for item in slices
              for endpoint in item.get("endpoints") or ()]
    spec = obj.get("spec") or {}
    return {"type": spec.get("type", ""), "clusterIP": spec.get("clusterIP", ""), "ready": sum(states),
            "unready": len(states) - sum(states)}


def workload(obj: Json) -> WorkloadPart:
    """Of a Deployment, StatefulSet or DaemonSet."""
    status = status_of(obj)
    if obj["kind"] == "DaemonSet":
        return {"desired": status.get("desiredNumberScheduled", 0), "ready": status.get("numberReady", 0),
                "updated": status.get("updatedNumberScheduled", 0), "available": status.get("numberAvailable", 0)}
    return {"desired": (obj.get("spec") or {}).get("replicas", 1), "ready": status.get("readyReplicas", 0),
            "updated": status.get("updatedReplicas", 0), "available": status.get("availableReplicas", 0)}


def event(obj: Json) -> EventPart:
    about = obj.get("involvedObject") or {}
    parts = (about.get("kind", ""), about.get("namespace", ""), about.get("name", ""))
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    stamp, runbook = annotations.get(MONOTONIC_NS, ""), annotations.get(RUNBOOK, "")
    return {
        "at": newest(obj.get(field) for field in ("lastTimestamp", "eventTime", "firstTimestamp")),
        "monotonicUs": int(stamp) // 1000 if stamp.isascii() and stamp.isdigit() and len(stamp) < 19 else 0,
        "type": obj.get("type", "Normal"), "reason": obj.get("reason", ""),
        "object": "/".join(part for part in parts if part), "message": obj.get("message", ""),
        "count": int(obj.get("count") or 1),
        "runbook": runbook if runbook.startswith(("https://", "http://")) else "",
    }
