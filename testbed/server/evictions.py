"""``pods/<name>/eviction``: whether a pod may go, by its PodDisruptionBudgets. Pure.

Source: kubernetes pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.meta import format_time
from testbed.errors import ApiError, Forbidden, TooManyRequests
from testbed.server.validation_workloads import selector_matches

Json = dict[str, Any]
MAX_DISRUPTED = 2000


@dataclass(frozen=True)
class Admission:
    """The pod may go. ``budget``: the budget whose status must record it first, or None."""

    budget: Json | None = None


def judge_eviction(pod: Json, budgets: Sequence[Json], now: datetime) -> Admission:
    """Raises: TooManyRequests when a budget forbids it; Forbidden when too many evictions wait for the controller;
    ApiError 500 when several budgets cover the pod."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Pending", "Succeeded", "Failed") or pod["metadata"].get("deletionTimestamp"):
        return Admission()
    labels = pod["metadata"].get("labels") or {}
    covering = [item for item in budgets if "selector" in item["spec"]
                and selector_matches(item["spec"]["selector"], labels)]
    if not covering:
        return Admission()
    if len(covering) > 1:
        raise ApiError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
                       "support.")
    budget = covering[0]
    spec, state = budget["spec"], budget.get("status") or {}
    if not _ready(pod):
        if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return Admission()
        if state.get("currentHealthy", 0) >= state.get("desiredHealthy", 0) > 0:
            return Admission()
    name = budget["metadata"]["name"]
    if state.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details={
            "retryAfterSeconds": 10,
            "causes": [{"reason": "DisruptionBudget",
                        "message": f"The disruption budget {name} is still being processed by the server."}]})
    if len(state.get("disruptedPods") or ()) > MAX_DISRUPTED:
        raise Forbidden(f'poddisruptionbudgets.policy "{name}" is forbidden: DisruptedPods map too big - too many '
                        "evictions not confirmed by PDB controller")
    if state.get("disruptionsAllowed", 0) <= 0:
        raise TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details={"causes": [{
            "reason": "DisruptionBudget", "message": _refusal(name, state)}]})
    state = dict(state, disruptionsAllowed=state["disruptionsAllowed"] - 1)
    state["disruptedPods"] = {**(state.get("disruptedPods") or {}), pod["metadata"]["name"]: format_time(now)}
    return Admission({**budget, "status": state})


def _refusal(name: str, state: Json) -> str:
    failed = next((item for item in state.get("conditions") or () if item.get("type") == "DisruptionAllowed"
                   and item.get("reason") == "SyncFailed"), None)
    if failed is not None:
        return (f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
                f"{failed.get('message', '')}")
    return (f"The disruption budget {name} needs {state.get('desiredHealthy', 0)} healthy pods and has "
            f"{state.get('currentHealthy', 0)} currently")


def _ready(pod: Json) -> bool:
    return any(item.get("type") == "Ready" and item.get("status") == "True"
               for item in (pod.get("status") or {}).get("conditions") or ())


def mark_disruption(pod: Json, now: datetime) -> None:
    """Sets condition DisruptionTarget on a pod about to be evicted."""
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [item for item in conditions if item.get("type") != "DisruptionTarget"]
    conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                       "message": "Eviction API: evicting", "lastTransitionTime": format_time(now),
                       "lastProbeTime": None})
