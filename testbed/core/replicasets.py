"""How many pods a ReplicaSet makes or deletes now, and which ones.

Decides: creation count, the order of deletion, status. Leaves to ``claims``: adoption and release; to its loop: names
of new pods, slow start, expectations (writes that the cache has not shown yet).

Source: kubernetes pkg/controller/replicaset/replica_set.go, pkg/controller/controller_utils.go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

from testbed.api.apps_v1 import ReplicaSet
from testbed.api.core_v1 import Pod
from testbed.core.availability import is_available, next_availability_s, ready_since
from testbed.core.conditions import find, with_condition, without

BURST = 500  # most creations or deletions of one look (BurstReplicas)
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ReplicaSetPlan:
    """``create`` pods to make; ``delete`` pod names, least useful first; ``reason`` says why."""

    create: int
    delete: tuple[str, ...]
    requeue_after_s: float | None
    reason: str


def plan(
    replica_set: ReplicaSet, owned: Sequence[Pod], related: Iterable[Pod], now: datetime
) -> ReplicaSetPlan:
    """What brings the active pods to ``spec.replicas``.

    Terminating and ended pods do not count, so that a replacement starts at once. ``related``: pods of all ReplicaSets
    with the same owner, by which crowded nodes are known.
    """
    active = [pod for pod in owned if pod.active]
    wait = None
    if replica_set.spec.min_ready_seconds:
        wait = next_availability_s(active, replica_set.spec.min_ready_seconds, now)
    if replica_set.metadata.deleting:
        return ReplicaSetPlan(0, (), wait, "being deleted")
    missing = replica_set.spec.replicas - len(active)
    if missing > 0:
        return ReplicaSetPlan(min(missing, BURST), (), wait, f"too few replicas: {len(active)} active")
    if missing < 0:
        order = deletion_order(active, related, now)
        names = tuple(pod.metadata.name for pod in order[: min(-missing, BURST)])
        return ReplicaSetPlan(0, names, wait, f"too many replicas: {len(active)} active")
    return ReplicaSetPlan(0, (), wait, "as desired")


def status(
    replica_set: ReplicaSet, current: Mapping[str, Any], owned: Iterable[Pod], template_labels: Mapping[str, str],
    now: datetime, *, failure: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """The ReplicaSet's status as JSON.

    Args:
        current: the present status, whose conditions are carried on.
        failure: reason (FailedCreate, FailedDelete) and message when the last look could not be carried out.
    """
    active = [pod for pod in owned if pod.active]
    conditions = tuple(current.get("conditions") or ())
    if failure is None:
        conditions = without(conditions, "ReplicaFailure")
    elif find(conditions, "ReplicaFailure") is None:
        conditions = with_condition(conditions, "ReplicaFailure", "True", failure[0], failure[1], now)
    fresh: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(
            all(pod.metadata.labels.get(key) == value for key, value in template_labels.items()) for pod in active
        ),
        "readyReplicas": sum(pod.ready for pod in active),
        "availableReplicas": sum(is_available(pod, replica_set.spec.min_ready_seconds, now) for pod in active),
        "observedGeneration": replica_set.metadata.generation,
    }
    if conditions:
        fresh["conditions"] = list(conditions)
    return fresh


def deletion_order(pods: Sequence[Pod], related: Iterable[Pod], now: datetime) -> list[Pod]:
    """``pods``, the one to delete first at the front (kubernetes: ActivePodsWithRanks.Less)."""
    crowd = Counter(pod.spec.node_name for pod in related if pod.active)

    def compare(a: Pod, b: Pod) -> int:
        for key in (_unassigned, _phase, _readiness, _cost):
            if key(a) != key(b):
                return -1 if key(a) < key(b) else 1
        if crowd[a.spec.node_name] != crowd[b.spec.node_name]:
            return -1 if crowd[a.spec.node_name] > crowd[b.spec.node_name] else 1
        if a.ready and b.ready and (by_ready := _by_age(a, b, ready_since(a), ready_since(b), now)):
            return by_ready
        if _restarts(a) != _restarts(b):
            return -1 if _restarts(a) > _restarts(b) else 1
        return _by_age(a, b, a.metadata.creation_timestamp, b.metadata.creation_timestamp, now)

    return sorted(sorted(pods, key=lambda pod: pod.metadata.name), key=cmp_to_key(compare))


def _unassigned(pod: Pod) -> int:
    return 1 if pod.spec.node_name else 0


def _phase(pod: Pod) -> int:
    return {"Pending": 0, "": 0, "Unknown": 1}.get(pod.status.phase, 2)


def _readiness(pod: Pod) -> int:
    return int(pod.ready)


def _cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: Pod) -> tuple[int, int]:
    """Most restarts of a regular container, then of a sidecar."""
    sidecars = {item.name for item in pod.spec.init_containers if item.restart_policy == "Always"}
    return (
        max((item.restart_count for item in pod.status.container_statuses), default=0),
        max((item.restart_count for item in pod.status.init_container_statuses if item.name in sidecars), default=0),
    )


def _by_age(a: Pod, b: Pod, a_since: datetime | None, b_since: datetime | None, now: datetime) -> int:
    """The younger first, by the power of two of the age in ns, so that not always the same one goes; then by UID."""
    if a_since == b_since:
        return 0
    difference = _magnitude(a_since, now) - _magnitude(b_since, now)
    if difference:
        return difference
    return -1 if a.metadata.uid < b.metadata.uid else 1


def _magnitude(since: datetime | None, now: datetime) -> int:
    age_ns = (now - (since or _EPOCH)).total_seconds() * 1e9
    return int(math.log2(age_ns)) if age_ns >= 1 else -1
