"""Which statuses may be written to a workload: counters are not negative, a Job's end is not taken back.

Sources: kubernetes pkg/apis/{apps,batch,autoscaling,policy}/validation/validation.go (Validate...StatusUpdate). A
status of another kind is taken as it is, as upstream does for nearly all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api import resources as r
from testbed.server.causes import Causes
from testbed.server.served import Served
from testbed.server.validation_autoscalers import check_autoscaler_status

Json = dict[str, Any]

_COUNTERS: dict[str, tuple[str, ...]] = {
    r.DEPLOYMENTS.group_resource: ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas",
                                   "availableReplicas", "unavailableReplicas", "collisionCount"),
    r.REPLICA_SETS.group_resource: ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas",
                                    "observedGeneration"),
    r.STATEFUL_SETS.group_resource: ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas",
                                     "availableReplicas", "observedGeneration", "collisionCount"),
    r.DAEMON_SETS.group_resource: ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled",
                                   "numberReady", "observedGeneration", "updatedNumberScheduled", "numberAvailable",
                                   "numberUnavailable", "collisionCount"),
    r.JOBS.group_resource: ("active", "succeeded", "failed", "ready", "terminating"),
    r.DISRUPTION_BUDGETS.group_resource: ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"),
}
_WHOLE = "replicas"  # of which these are parts
_PARTS: dict[str, tuple[str, ...]] = {
    r.DEPLOYMENTS.group_resource: ("updatedReplicas", "readyReplicas", "availableReplicas"),
    r.REPLICA_SETS.group_resource: ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    r.STATEFUL_SETS.group_resource: ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
}


def check_status_update(served: Served, old: Json, new: Json, causes: Causes) -> None:
    status = new.get("status") or {}
    for key in _COUNTERS.get(served.key, ()):
        if isinstance(status.get(key), int) and status[key] < 0:
            causes.invalid(f"status.{key}", status[key], "must be greater than or equal to 0")
    whole = status.get(_WHOLE, 0)
    for key in _PARTS.get(served.key, ()):
        if status.get(key, 0) > whole:
            causes.invalid(f"status.{key}", status.get(key, 0), "cannot be greater than status.replicas")
    available = status.get("availableReplicas", 0)
    if served.key in _PARTS and available > status.get("readyReplicas", 0):
        causes.invalid("status.availableReplicas", available, "cannot be greater than readyReplicas")
    more = _MORE.get(served.key)
    if more is not None:
        more(old, new, causes)


def _job(old: Json, new: Json, causes: Causes) -> None:
    before, status = old.get("status") or {}, new.get("status") or {}
    was, now = _true_of(before), _true_of(status)
    for pair in (("Complete", "Failed"), ("Complete", "FailureTarget"), ("SuccessCriteriaMet", "Failed"),
                 ("SuccessCriteriaMet", "FailureTarget")):
        if set(pair) <= now:
            other = f"{pair[1]}=true"
            causes.omitted("status.conditions", f"cannot set {pair[0]}=True and {other} conditions")
    for kind in ("Failed", "Complete", "FailureTarget"):
        if kind in was and kind not in now:
            causes.omitted("status.conditions", f"cannot disable the terminal {kind}=True condition")
    if "SuccessCriteriaMet" in was and "SuccessCriteriaMet" not in now:
        causes.omitted("status.conditions", "cannot disable the SuccessCriteriaMet=True condition")
    for key in ("failed", "succeeded"):
        if status.get(key, 0) < before.get(key, 0):
            causes.invalid(f"status.{key}", status.get(key, 0), f"cannot decrease the {key} counter")
    if status.get("completionTime") and "Complete" not in now:
        causes.invalid("status.completionTime", status["completionTime"],
                       "cannot set completionTime when there is no Complete=True condition")
    if "Complete" in now and not status.get("completionTime"):
        causes.required("status.completionTime", "completionTime is required for Complete jobs")
    if status.get("ready", 0) > status.get("active", 0):
        causes.invalid("status.ready", status.get("ready", 0), "cannot set more ready pods than active")


def _true_of(status: Json) -> set[str]:
    return {item.get("type", "") for item in status.get("conditions") or () if item.get("status") == "True"}


_MORE: dict[str, Callable[[Json, Json, Causes], None]] = {
    r.JOBS.group_resource: _job,
    r.AUTOSCALERS.group_resource: lambda old, new, causes: check_autoscaler_status(new, causes),
}
