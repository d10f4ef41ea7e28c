"""What one look at a DaemonSet does: which nodes get a pod, which pods go.

First every eligible node gets its one pod and surplus, failed and misplaced ones go; when nothing of that was to do, an
update goes on: without surge, old pods are deleted as far as maxUnavailable allows (unavailable old ones always);
with surge, new pods are made beside old ones, which go when the new one is available.

Leaves to ``daemon_nodes``: which nodes are eligible; to its loop: revisions, the back-off of failed pods, writing.

Source: kubernetes pkg/controller/daemon/daemon_controller.go (podsShouldBeOnNode, updateDaemonSetStatus), update.go
(rollingUpdate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from testbed.api.apps_v1 import DaemonSet
from testbed.api.core_v1 import Node, Pod
from testbed.api.labels import CONTROLLER_REVISION_HASH
from testbed.api.meta import scaled
from testbed.core.availability import is_available, next_availability_s
from testbed.core.daemon_nodes import eligibility, target_node
from testbed.core.reasons import Note

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DaemonSetPlan:
    """``create``: names of nodes; ``delete``: names of pods; ``failed``: nodes whose failed pod is deleted, for the
    back-off. ``status``: as JSON."""

    status: Json
    create: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    requeue_after_s: float | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How many nodes an update may leave without an available pod, and on how many it may put a second one."""

    unavailable: int
    surge: int


def limits(daemon_set: DaemonSet, desired: int) -> Limits:
    """Percentages are of the desired number, rounded up; when both come out as 0, one may be unavailable."""
    rolling = daemon_set.spec.update_strategy.rolling_update
    if daemon_set.spec.update_strategy.type != "RollingUpdate":
        return Limits(0, 0)
    surge = scaled(rolling.max_surge, desired, round_up=True)
    unavailable = scaled(rolling.max_unavailable, desired, round_up=True)
    return Limits(1 if desired and not surge and not unavailable else unavailable, surge)


def plan(
    daemon_set: DaemonSet, nodes: Sequence[Node], pods: Sequence[Pod], revision: str, now: datetime, *,
    failed_wait_s: Mapping[str, float], collisions: int = 0,
) -> DaemonSetPlan:
    """
    Args:
        pods: all that the set controls.
        revision: hash of the template, which is in the label of up-to-date pods.
        failed_wait_s: by node, seconds until its failed pod may be deleted.
    """
    look = _Look(daemon_set, {node.metadata.name: node for node in nodes}, pods, revision, now, failed_wait_s)
    look.manage()
    if not look.create and not look.delete and daemon_set.spec.update_strategy.type == "RollingUpdate":
        look.update()
    if daemon_set.spec.min_ready_seconds:
        wait = next_availability_s(pods, daemon_set.spec.min_ready_seconds, now)
        look.waits += [wait] if wait is not None else []
    return DaemonSetPlan(look.status(collisions), tuple(look.create), tuple(look.delete), tuple(look.failed),
                         min(look.waits, default=None), tuple(look.notes))


@dataclass
class _Look:
    daemon_set: DaemonSet
    nodes: Mapping[str, Node]
    pods: Sequence[Pod]
    revision: str
    now: datetime
    failed_wait_s: Mapping[str, float]
    create: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_node: dict[str, list[Pod]] = {name: [] for name in sorted(self.nodes)}
        for pod in self.pods:
            if not (pod.terminal and pod.metadata.deleting):  # what is ended and on its way takes nobody's place
                self.by_node.setdefault(target_node(pod), []).append(pod)
        template = self.daemon_set.spec.template.spec
        self.eligible = {name: eligibility(template, node) for name, node in self.nodes.items()}
        self.limits = limits(self.daemon_set, sum(item.run for item in self.eligible.values()))

    def is_new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(CONTROLLER_REVISION_HASH) == self.revision

    def is_available(self, pod: Pod) -> bool:
        return is_available(pod, self.daemon_set.spec.min_ready_seconds, self.now)

    # --- every node its pod

    def manage(self) -> None:
        for name, pods in self.by_node.items():
            if name not in self.nodes:  # PodGC collects what ran there; what was never bound is ours
                self.delete += [pod.metadata.name for pod in pods
                                if not pod.spec.node_name and not pod.metadata.deleting]
            elif self.eligible[name].run and not pods:
                self.create.append(name)
            elif self.eligible[name].stay:
                self.keep_one(self.without_ended(name, pods))
            else:
                self.delete += [pod.metadata.name for pod in pods if not pod.metadata.deleting]

    def without_ended(self, node: str, pods: Sequence[Pod]) -> list[Pod]:
        """Those that live. Ended ones are told to go, failed ones not faster than the back-off allows."""
        living = []
        for pod in pods:
            name, text = pod.metadata.name, f"daemon pod {pod.key} on node {node}, will try to"
            if pod.metadata.deleting:
                continue
            if pod.status.phase == "Failed":
                if (wait_s := self.failed_wait_s.get(node, 0.0)) > 0:
                    self.waits.append(wait_s)
                    continue
                self.failed.append(node)
                self.delete.append(name)
                self.notes.append(Note("FailedDaemonPod", f"Found failed {text} kill it", "Warning"))
            elif pod.status.phase == "Succeeded":
                self.delete.append(name)
                self.notes.append(Note("SucceededDaemonPod", f"Found succeeded {text} delete it"))
            else:
                living.append(pod)
        return living

    def keep_one(self, living: Sequence[Pod]) -> None:
        """Without surge the oldest; with surge an old and a new one, until the new one is available."""
        ordered = _oldest_first(living)
        if len(ordered) <= 1:
            return
        if not self.limits.surge:
            self.delete += [pod.metadata.name for pod in ordered[1:]]
            return
        new = next((pod for pod in ordered if self.is_new(pod)), None)
        old = next((pod for pod in ordered if not self.is_new(pod)), None)
        self.delete += [pod.metadata.name for pod in ordered if pod is not new and pod is not old]
        if new is not None and old is not None and (not old.ready or self.is_available(new)):
            self.delete.append(old.metadata.name)

    # --- updates

    def update(self) -> None:
        considered = [name for name in self.by_node if name in self.nodes and (
            self.by_node[name] or self.eligible[name].run)]
        if self.limits.surge:
            self.surge(considered)
        else:
            self.replace(considered)

    def replace(self, considered: Sequence[str]) -> None:
        unavailable, always, candidates = 0, [], []
        for name in considered:
            new, old, clear = self.pair(name)
            if not clear or (new is None) == (old is None):
                unavailable += 1
            elif new is not None:
                unavailable += not self.is_available(new)
            elif old is not None and not self.is_available(old):
                always.append(old.metadata.name)
            elif old is not None:
                candidates.append(old.metadata.name)
        self.delete += always + candidates[: max(self.limits.unavailable - unavailable, 0)]

    def surge(self, considered: Sequence[str]) -> None:
        surging = 0
        always: list[str] = []
        candidates: list[str] = []
        for name in considered:
            new, old, clear = self.pair(name)
            if not clear:
                surging += 1
            elif old is None:
                continue
            elif new is None and self.eligible[name].run:
                (candidates if self.is_available(old) else always).append(name)
            elif new is not None and not self.is_available(new):
                surging += 1
            elif new is not None:
                self.delete.append(old.metadata.name)
        self.create += always + candidates[: max(self.limits.surge - surging, 0)]

    def pair(self, node: str) -> tuple[Pod | None, Pod | None, bool]:
        """(new, old, whether there is at most one of each) of what is not on its way."""
        staying = [pod for pod in self.by_node[node] if not pod.metadata.deleting]
        new, old = ([pod for pod in staying if self.is_new(pod) is wanted] for wanted in (True, False))
        return (new[0] if new else None), (old[0] if old else None), len(new) <= 1 and len(old) <= 1

    # --- status

    def status(self, collisions: int) -> Json:
        counts = dict.fromkeys(("desired", "current", "wrong", "ready", "available", "updated"), 0)
        for name, each in self.eligible.items():
            pods = _oldest_first(self.by_node[name])
            if not each.run:
                counts["wrong"] += bool(pods)
                continue
            counts["desired"] += 1
            if pods:
                counts["current"] += 1
                counts["ready"] += any(pod.ready for pod in pods[:1])
                counts["available"] += self.is_available(pods[0])
                counts["updated"] += self.is_new(pods[0])
        return {
            "observedGeneration": self.daemon_set.metadata.generation, "desiredNumberScheduled": counts["desired"],
            "currentNumberScheduled": counts["current"], "numberMisscheduled": counts["wrong"],
            "numberReady": counts["ready"], "numberAvailable": counts["available"],
            "numberUnavailable": counts["desired"] - counts["available"],
            "updatedNumberScheduled": counts["updated"], **({"collisionCount": collisions} if collisions else {}),
        }


def _oldest_first(pods: Sequence[Pod]) -> list[Pod]:
    """Those with a node first (kubernetes: podByCreationTimestampAndPhase)."""
    return sorted(pods, key=lambda pod: (not pod.spec.node_name, pod.metadata.creation_timestamp or _EPOCH,
                                         pod.metadata.name))
