"""What one look at a StatefulSet does: which identities to make, to end and to renew.

An identity is a name, ``<set>-<ordinal>``. I2: there are never two pods of one identity. A pod that has ended is
deleted and made again only when its object is gone; one that is stuck terminating on a lost node is never replaced.

OrderedReady looks at the pods in ascending order and stops at the first that is not there, terminating, not ready or
not available; it scales down from the top, one at a time. Parallel does not wait. Scaling comes before updating, and
updating goes down from the highest ordinal to the partition, one at a time.

Leaves to its loop: adoption, revisions, writing.

Source: kubernetes pkg/controller/statefulset/stateful_set_control.go, stateful_set_utils.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.api.apps_v1 import StatefulSet
from testbed.api.core_v1 import Pod
from testbed.api.labels import CONTROLLER_REVISION_HASH, STATEFUL_POD_NAME
from testbed.core.availability import is_available, next_availability_s
from testbed.core.reasons import Note

Json = dict[str, Any]
_IDENTITY = re.compile(r"(.*)-([0-9]+)")


@dataclass(frozen=True)
class NewIdentity:
    """A pod to make: its ordinal and the ControllerRevision whose template it gets."""

    name: str
    ordinal: int
    revision: str


@dataclass(frozen=True)
class StatefulSetPlan:
    """``delete``, ``relabel``: names of pods; the latter lack their identity's label. ``status``: as JSON."""

    status: Json
    create: tuple[NewIdentity, ...] = ()
    delete: tuple[str, ...] = ()
    relabel: tuple[str, ...] = ()
    requeue_after_s: float | None = None
    notes: tuple[Note, ...] = ()


def identity(pod_name: str) -> tuple[str, int]:
    """(name of the set, ordinal); ordinal -1 when the name is none of a StatefulSet's pods."""
    match = _IDENTITY.fullmatch(pod_name)
    return (match[1], int(match[2])) if match else ("", -1)


def is_member(stateful_set: StatefulSet, pod: Pod) -> bool:
    return identity(pod.metadata.name)[0] == stateful_set.metadata.name


def revision_of(pod: Pod) -> str:
    return pod.metadata.labels.get(CONTROLLER_REVISION_HASH, "")


def plan(
    stateful_set: StatefulSet, pods: Sequence[Pod], current: str, update: str, now: datetime, *,
    collisions: int | None = None,
) -> StatefulSetPlan:
    """
    Args:
        pods: all that the set controls, terminating ones too.
        current: name of the revision that the pods below the partition have.
        update: name of the revision of the set's template.
    """
    look = _Look(stateful_set, pods, current, update, now)
    if not stateful_set.metadata.deleting:
        look.act()
    status = _status(stateful_set, pods, current, update, now, collisions)
    minimum = stateful_set.spec.min_ready_seconds
    wait = next_availability_s(pods, minimum, now) if minimum else None
    return StatefulSetPlan(status, tuple(look.create), tuple(look.delete), tuple(look.relabel), wait,
                           tuple(look.notes))


def is_running_and_ready(pod: Pod) -> bool:
    return pod.status.phase == "Running" and pod.ready


def is_healthy(pod: Pod) -> bool:
    return is_running_and_ready(pod) and not pod.metadata.deleting


@dataclass
class _Look:
    """One look. ``replicas``: ordinal → its pod or None."""

    stateful_set: StatefulSet
    pods: Sequence[Pod]
    current: str
    update: str
    now: datetime
    create: list[NewIdentity] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    relabel: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = self.stateful_set.spec
        self.monotonic = spec.pod_management_policy != "Parallel"
        self.start = spec.ordinals.start
        by_ordinal = {identity(pod.metadata.name)[1]: pod for pod in self.pods}
        self.replicas: dict[int, Pod | None] = {
            ordinal: by_ordinal.pop(ordinal, None) for ordinal in range(self.start, self.start + spec.replicas)
        }
        self.condemned = [by_ordinal[ordinal] for ordinal in sorted(by_ordinal, reverse=True) if ordinal >= 0]

    def act(self) -> None:
        if self.scale_up() or self.scale_down():
            return
        if self.stateful_set.spec.update_strategy.type == "RollingUpdate":
            self.renew()

    @property
    def first_unhealthy(self) -> Pod | None:
        """The lowest ordinal that is there and not healthy."""
        present = [pod for pod in self.replicas.values() if pod is not None] + list(reversed(self.condemned))
        return next((pod for pod in present if not is_healthy(pod)), None)

    def is_available(self, pod: Pod) -> bool:
        return is_running_and_ready(pod) and is_available(pod, self.stateful_set.spec.min_ready_seconds, self.now)

    # Each step answers whether the look ends with it.

    def scale_up(self) -> bool:
        return any([self.tend(ordinal, pod) and self.monotonic for ordinal, pod in self._until_blocked()])

    def _until_blocked(self) -> list[tuple[int, Pod | None]]:
        """All, or in order: as far as every pod before is available."""
        items = list(self.replicas.items())
        if not self.monotonic:
            return items
        for index, (_, pod) in enumerate(items):
            if pod is None or pod.terminal or pod.metadata.deleting or not self.is_available(pod):
                return items[: index + 1]
        return items

    def tend(self, ordinal: int, pod: Pod | None) -> bool:
        """Looks at one identity. True when those above must wait for it."""
        meta = self.stateful_set.metadata
        if pod is None:
            self.create.append(NewIdentity(f"{meta.name}-{ordinal}", ordinal, self.revision_for(ordinal)))
            return True
        if pod.terminal:
            if not pod.metadata.deleting:
                failed = pod.status.phase == "Failed"
                reason = "RecreatingFailedPod" if failed else "RecreatingTerminatedPod"
                word = "failed" if failed else "terminated"
                self.notes.append(Note(
                    reason, f"StatefulSet {meta.namespace}/{meta.name} is recreating {word} Pod {pod.metadata.name}",
                    "Warning" if failed else "Normal",
                ))
                self.delete.append(pod.metadata.name)
            return True
        if pod.metadata.deleting or not self.is_available(pod):
            return True
        if pod.metadata.labels.get(STATEFUL_POD_NAME) != pod.metadata.name:
            self.relabel.append(pod.metadata.name)
        return False

    def revision_for(self, ordinal: int) -> str:
        """Pods below the partition stay at the current revision, also when they are made anew."""
        strategy = self.stateful_set.spec.update_strategy
        if strategy.type == "RollingUpdate" and ordinal < self.start + strategy.rolling_update.partition:
            return self.current
        return self.update

    def scale_down(self) -> bool:
        blocker = self.first_unhealthy
        for pod in self.condemned:
            if pod.metadata.deleting:
                if self.monotonic:
                    return True
                continue
            if self.monotonic and not self.is_available(pod) and pod is not blocker:
                return True
            self.delete.append(pod.metadata.name)
            if self.monotonic:
                return True
        return False

    def renew(self) -> None:
        """The highest pod that is not of the update revision goes, when all above it are healthy."""
        partition = self.stateful_set.spec.update_strategy.rolling_update.partition
        for ordinal in sorted(self.replicas, reverse=True):
            pod = self.replicas[ordinal]
            if ordinal < self.start + partition or pod is None:
                return
            if revision_of(pod) != self.update and not pod.metadata.deleting:
                if pod.metadata.name not in self.delete:
                    self.delete.append(pod.metadata.name)
                return
            if not is_healthy(pod):
                return


def _status(
    stateful_set: StatefulSet, pods: Sequence[Pod], current: str, update: str, now: datetime, collisions: int | None
) -> Json:
    """Counts, and whether the update is complete: then the update revision is the current one."""
    spec = stateful_set.spec
    created = [pod for pod in pods if pod.status.phase]
    ready = [pod for pod in created if is_running_and_ready(pod)]
    staying = [revision_of(pod) for pod in created if not pod.metadata.deleting]
    fresh: Json = {
        "observedGeneration": stateful_set.metadata.generation, "replicas": len(created), "readyReplicas": len(ready),
        "availableReplicas": sum(is_available(pod, spec.min_ready_seconds, now) for pod in ready),
        "currentReplicas": staying.count(current), "updatedReplicas": staying.count(update),
        "currentRevision": current, "updateRevision": update, "collisionCount": collisions or 0,
    }
    done = fresh["updatedReplicas"] == fresh["readyReplicas"] == fresh["replicas"] == spec.replicas
    if spec.update_strategy.type == "RollingUpdate" and done:
        fresh["currentReplicas"], fresh["currentRevision"] = fresh["updatedReplicas"], update
    return fresh
