"""How far a rollout is, in kubectl's words: Deployments, StatefulSets, DaemonSets.

Source: kubernetes kubectl/pkg/polymorphichelpers/rollout_status.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api.resources import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS
from testbed.errors import EnvironmentProblem, UsageError

Json = dict[str, Any]


def progress(kind: str, obj: Json) -> tuple[bool, str]:
    """(done, what to say).

    Raises: EnvironmentProblem when a Deployment's progress deadline was exceeded; UsageError when nothing rolls by
    itself.
    """
    return _PROGRESS[kind](obj)


def _deployment(deployment: Json) -> tuple[bool, str]:
    spec, status = deployment["spec"], deployment.get("status", {})
    title = f'deployment "{deployment["metadata"]["name"]}"'
    if deployment["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return False, "Waiting for deployment spec update to be observed..."
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise EnvironmentProblem(f"{title} exceeded its progress deadline", hint="see: testbed describe deploy/"
                                     + deployment["metadata"]["name"])
    wanted, total = spec.get("replicas", 1), status.get("replicas", 0)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    waiting = f"Waiting for {title} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{waiting}{available} of {updated} updated replicas are available..."
    return True, f"{title} successfully rolled out"


def _stateful_set(stateful_set: Json) -> tuple[bool, str]:
    spec, status = stateful_set["spec"], stateful_set.get("status", {})
    strategy = _rolling(stateful_set)
    if stateful_set["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return False, "Waiting for statefulset spec update to be observed..."
    wanted, ready, updated = (spec.get("replicas", 1), status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    if ready < wanted:
        return False, f"Waiting for {wanted - ready} pods to be ready..."
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if updated < wanted - partition:
        goal = wanted - partition
        so_far = f"{updated} out of {goal} new pods have been updated..."
        return False, f"Waiting for partitioned roll out to finish: {so_far}"
    return True, f"partitioned roll out complete: {updated} new pods have been updated..."


def _daemon_set(daemon_set: Json) -> tuple[bool, str]:
    status = daemon_set.get("status", {})
    _rolling(daemon_set)
    if daemon_set["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return False, "Waiting for daemon set spec update to be observed..."
    title = f'daemon set "{daemon_set["metadata"]["name"]}"'
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    available, waiting = status.get("numberAvailable", 0), f"Waiting for {title} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new pods have been updated..."
    if available < wanted:
        return False, f"{waiting}{available} of {wanted} updated pods are available..."
    return True, f"{title} successfully rolled out"


def _rolling(obj: Json) -> Json:
    """The update strategy. Raises: UsageError when nobody updates pods but the user."""
    strategy: Json = obj["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        raise UsageError("rollout status is only available for RollingUpdate strategy type",
                         hint="with OnDelete a pod is updated when you delete it: testbed delete pod/NAME")
    return strategy


_PROGRESS: dict[str, Callable[[Json], tuple[bool, str]]] = {
    DEPLOYMENTS.kind: _deployment, STATEFUL_SETS.kind: _stateful_set, DAEMON_SETS.kind: _daemon_set,
}
