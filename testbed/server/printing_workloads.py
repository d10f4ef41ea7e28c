"""The columns of the kinds that make pods.

Source: kubernetes pkg/printers/internalversion/printers.go (v1.32).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.api import resources as r
from testbed.api.meta import parse_time
from testbed.server.human import since
from testbed.server.printer import Printer, age_of, name_of
from testbed.server.scaling import selector_text

Json = dict[str, Any]


def _containers(spec: Json) -> tuple[str, str]:
    containers = spec.get("containers") or ()
    return (",".join(str(item.get("name")) for item in containers),
            ",".join(str(item.get("image")) for item in containers))


def _ready(spec: Json, status: Json) -> str:
    return f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"


def _deployment(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names, images = _containers((spec.get("template") or {}).get("spec") or {})
    return [name_of(obj), _ready(spec, status), status.get("updatedReplicas", 0), status.get("availableReplicas", 0),
            age_of(obj, now), names, images,
            selector_text(spec.get("selector") or {})]


def _replica_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names, images = _containers((spec.get("template") or {}).get("spec") or {})
    return [name_of(obj), spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0),
            age_of(obj, now),
            names, images, selector_text(spec.get("selector") or {})]


def _stateful_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names, images = _containers((spec.get("template") or {}).get("spec") or {})
    return [name_of(obj), _ready(spec, status), age_of(obj, now), names, images]


def _daemon_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    names, images = _containers(template)
    selector = ",".join(f"{key}={value}" for key, value in sorted((template.get("nodeSelector") or {}).items()))
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled",
              "numberAvailable")
    return [name_of(obj), *(status.get(key, 0) for key in counts), selector or "<none>", age_of(obj, now), names,
            images, selector_text(spec.get("selector") or {})]


def _job(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    done, wanted, parallel = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 1)
    text = f"{done}/{wanted}" if wanted is not None else f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    start, end = status.get("startTime"), status.get("completionTime")
    duration = since(start, parse_time(end) if end else now) if start else ""
    names, images = _containers(template)
    return [name_of(obj), _job_state(obj, status), text, duration, age_of(obj, now), names, images,
            selector_text(spec.get("selector") or {})]


def _job_state(obj: Json, status: Json) -> str:
    holding = {item.get("type") for item in status.get("conditions") or () if item.get("status") == "True"}
    for kind in ("Complete", "Failed"):
        if kind in holding:
            return kind
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in holding), "Running")


def _cron_job(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    names, images = _containers((job.get("template") or {}).get("spec") or {})
    return [name_of(obj), spec.get("schedule", ""), spec.get("timeZone") or "<none>",
            "True" if spec.get("suspend") else "False", len(status.get("active") or ()),
            since(last, now) if last else "<none>", age_of(obj, now), names, images,
            selector_text(job.get("selector") or {})]


def _controller_revision(obj: Json, now: datetime) -> list[Any]:
    owner = next((item for item in obj["metadata"].get("ownerReferences") or () if item.get("controller")), None)
    text = "<none>"
    if owner is not None:
        group = str(owner.get("apiVersion", "")).partition("/")[0]
        text = f"{str(owner.get('kind', '')).lower()}.{group}/{owner.get('name', '')}"
    return [name_of(obj), text, obj.get("revision", 0), age_of(obj, now)]


_TEMPLATE = ("Containers*", "Images*")
_WORKLOAD = (*_TEMPLATE, "Selector*")

WORKLOAD_PRINTERS: dict[str, Printer] = {
    r.DEPLOYMENTS.group_resource: Printer(("Name", "Ready", "Up-to-date#", "Available#", "Age", *_WORKLOAD),
                                          _deployment),
    r.REPLICA_SETS.group_resource: Printer(("Name", "Desired#", "Current#", "Ready#", "Age", *_WORKLOAD), _replica_set),
    r.STATEFUL_SETS.group_resource: Printer(("Name", "Ready", "Age", *_TEMPLATE), _stateful_set),
    r.DAEMON_SETS.group_resource: Printer(
        ("Name", "Desired#", "Current#", "Ready#", "Up-to-date#", "Available#", "Node Selector", "Age", *_WORKLOAD),
        _daemon_set),
    r.JOBS.group_resource: Printer(("Name", "Status", "Completions", "Duration", "Age", *_WORKLOAD), _job),
    r.CRON_JOBS.group_resource: Printer(
        ("Name", "Schedule", "Timezone", "Suspend", "Active#", "Last Schedule", "Age", *_WORKLOAD), _cron_job),
    r.CONTROLLER_REVISIONS.group_resource: Printer(("Name", "Controller", "Revision#", "Age"), _controller_revision),
}
