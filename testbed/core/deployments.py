"""What one look at a Deployment does: one step of its rollout.

Decides: which ReplicaSet is the new one, creation and sizes of ReplicaSets, revisions, deletion of old history, status
and conditions. Leaves to its loop: adoption, writing, and coming back when something has changed.

One step per look, as upstream: scale the new one up; if nothing was to do, scale old ones down; if nothing was to do
and the rollout is complete, clean up history. While paused, or after ``spec.replicas`` changed, only scaling happens.

The status of a ReplicaSet lags behind its spec and may still count pods that were told to go. Upstream refuses such a
step with an error and comes back later; here those pods are simply not counted on.

Source: kubernetes pkg/controller/deployment/{deployment_controller,rolling,recreate,sync}.go, util/deployment_util.go.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from testbed.core.deployment_scaling import is_saturated, proportional_sizes
from testbed.core.deployment_state import DeploymentState, ReplicaSetState, oldest_first
from testbed.core.deployment_status import next_status, paused_conditions, progress_wait_s
from testbed.core.reasons import Note
from testbed.core.templates import canonical, template_hash

SELECTING_ALL = Note(
    "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.", "Warning"
)


@dataclass(frozen=True)
class NewReplicaSet:
    """The ReplicaSet to create: ``name`` is Deployment's name and ``hash``."""

    name: str
    hash: str
    replicas: int
    revision: int


@dataclass(frozen=True)
class Resize:
    """``replica_set`` gets ``replicas``; desired and max go into its annotations."""

    replica_set: str
    replicas: int
    desired: int
    maximum: int


@dataclass(frozen=True)
class Renumber:
    """The (again) newest ReplicaSet gets ``revision``; ``minReadySeconds`` and annotations follow the Deployment."""

    replica_set: str
    revision: int


@dataclass(frozen=True)
class DeploymentPlan:
    """``status`` is the whole new status as JSON; ``revision`` the Deployment's own annotation, None while unknown.

    ``collision``: a foreign ReplicaSet has the name that the template hashes to; the status counts it and the next look
    takes another name.
    """

    status: dict[str, Any]
    create: NewReplicaSet | None = None
    renumber: Renumber | None = None
    resize: tuple[Resize, ...] = ()
    delete: tuple[str, ...] = ()
    revision: int | None = None
    requeue_after_s: float | None = None
    notes: tuple[Note, ...] = ()


def new_replica_set(deployment: DeploymentState, sets: Sequence[ReplicaSetState]) -> ReplicaSetState | None:
    """The oldest one whose template is the Deployment's."""
    wanted = canonical(deployment.template)
    return next((item for item in oldest_first(sets) if canonical(item.template) == wanted), None)


def plan(
    deployment: DeploymentState, sets: Sequence[ReplicaSetState], now: datetime, *,
    running_of: Collection[str] = (), taken: Collection[str] = (),
) -> DeploymentPlan:
    """One step.

    Args:
        sets: all ReplicaSets that the Deployment controls.
        running_of: UIDs of the ReplicaSets that still have a pod that has not ended, terminating ones too (Recreate).
        taken: names of ReplicaSets in the namespace that are not this Deployment's.
    """
    look = _Look(deployment, tuple(sets), now)
    if deployment.selector_empty:
        return DeploymentPlan(status=deployment.status, notes=(SELECTING_ALL,))
    if deployment.deleting:
        return look.finish(progress=False)
    look.deployment = replace(deployment, status={
        **deployment.status, "conditions": list(paused_conditions(deployment, now)),
    })
    if deployment.paused or look.scaling_event():
        look.sync_revision()
        look.scale()
        if deployment.paused:
            look.clean_up()
        return look.finish(progress=False)
    if deployment.recreate:
        return look.recreate(running_of, taken)
    return look.rolling(taken)


class _Look:
    """Sizes as they are and as they become during one step. Not shared, not kept."""

    def __init__(self, deployment: DeploymentState, sets: tuple[ReplicaSetState, ...], now: datetime) -> None:
        self.deployment, self.sets, self.now = deployment, list(sets), now
        self.new = new_replica_set(deployment, sets)
        self.notes: list[Note] = []
        self.resized: dict[str, Resize] = {}
        self.created: NewReplicaSet | None = None
        self.renumber: Renumber | None = None
        self.deleted: tuple[str, ...] = ()
        self.revision: int | None = None
        self.status_patch: dict[str, Any] = {}
        self.found: str | None = None

    @property
    def old(self) -> list[ReplicaSetState]:
        return [item for item in self.sets if self.new is None or item.uid != self.new.uid]

    def scaling_event(self) -> bool:
        """``spec.replicas`` changed since the active ReplicaSets were last sized."""
        return any(
            item.replicas > 0 and item.desired is not None and item.desired != self.deployment.replicas
            for item in self.sets
        )

    # --- revisions

    def sync_revision(self) -> None:
        """The new ReplicaSet has the highest revision, also after a rollback to an old template."""
        if self.new is None:
            return
        revision = max((item.revision for item in self.old), default=0) + 1
        if self.new.revision >= revision:
            revision = self.new.revision
        self.revision = revision
        if self.new.revision != revision or self.new.min_ready_s != self.deployment.min_ready_s:
            self.renumber = Renumber(self.new.name, revision)
        self.found = self.new.name

    def ensure_new(self, taken: Collection[str]) -> bool:
        """Makes sure that there is a new ReplicaSet. False when its name is someone else's: only status remains."""
        self.sync_revision()
        if self.new is not None:
            return True
        deployment = self.deployment
        collisions = int(deployment.status.get("collisionCount") or 0)
        digest = template_hash(deployment.template, collisions)
        name = f"{deployment.name}-{digest}"
        if name in taken:
            self.status_patch["collisionCount"] = collisions + 1
            return False
        self.revision = max((item.revision for item in self.sets), default=0) + 1
        size = self.new_size(0)
        self.created = NewReplicaSet(name, digest, size, self.revision)
        self.new = ReplicaSetState(
            name=name, uid="", created=self.now, replicas=size, template=deployment.template, revision=self.revision,
            desired=deployment.replicas, maximum=deployment.maximum, min_ready_s=deployment.min_ready_s, observed=False,
        )
        self.sets.append(self.new)
        if size:
            self.notes.append(Note("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}"))
        return True

    # --- sizes

    def resize(self, item: ReplicaSetState, size: int) -> bool:
        """Notes a new size, and annotations that must follow. True when the size changes."""
        deployment, changed = self.deployment, item.replicas != size
        if changed or item.desired != deployment.replicas or item.maximum != deployment.maximum:
            self.resized[item.name] = Resize(item.name, size, deployment.replicas, deployment.maximum)
        if changed:
            verb = "up" if size > item.replicas else "down"
            self.notes.append(
                Note("ScalingReplicaSet", f"Scaled {verb} replica set {item.name} from {item.replicas} to {size}")
            )
        self.sets = [replace(each, replicas=size) if each.name == item.name else each for each in self.sets]
        if self.new is not None and self.new.name == item.name:
            self.new = replace(self.new, replicas=size)
        return changed

    def new_size(self, current: int) -> int:
        """How large the new ReplicaSet may be now (NewRSNewReplicas)."""
        deployment = self.deployment
        if deployment.recreate:
            return deployment.replicas
        total = sum(item.replicas for item in self.sets)
        room = deployment.replicas + deployment.fenceposts.surge - total
        return current if room <= 0 else current + min(room, deployment.replicas - current)

    def scale(self) -> None:
        """Only sizes: everything to the single active one, old ones to 0 when the new one is saturated, else shares."""
        deployment = self.deployment
        active = [item for item in self.sets if item.replicas > 0]
        if len(active) <= 1:
            newest_old = list(reversed(oldest_first(self.old)))
            target = active[0] if active else self.new or next(iter(newest_old), None)
            if target is not None:
                self.resize(target, deployment.replicas)
            return
        if self.new is not None and is_saturated(deployment, self.new):
            for item in self.old:
                if item.replicas > 0:
                    self.resize(item, 0)
            return
        if not deployment.recreate:
            for item, size in proportional_sizes(deployment, active):
                self.resize(item, size)

    # --- strategies

    def rolling(self, taken: Collection[str]) -> DeploymentPlan:
        if not self.ensure_new(taken) or self.created is not None:
            return self.finish()
        assert self.new is not None
        size = self.deployment.replicas
        if self.new.replicas < size:
            size = self.new_size(self.new.replicas)
        if not self.resize(self.new, size) and not self.shrink_old():
            self.clean_up()
        return self.finish()

    def shrink_old(self) -> bool:
        """Old ones go as far as availability allows, the unhealthy first, since they serve nobody."""
        assert self.new is not None
        deployment, old = self.deployment, oldest_first(item for item in self.old if item.replicas > 0)
        minimum = deployment.replicas - deployment.fenceposts.unavailable
        budget = sum(item.replicas for item in self.sets) - minimum - (self.new.replicas - self.new.available)
        if not old or budget <= 0:
            return False
        sizes = {item.name: item.replicas for item in old}
        for item in old:
            gone = min(budget, item.replicas - item.available)
            sizes[item.name] -= gone
            budget -= gone
        spare = self.new.available + sum(item.available for item in old) - minimum
        for item in old:
            gone = max(min(spare, sizes[item.name]), 0)
            sizes[item.name] -= gone
            spare -= gone
        return any([self.resize(item, sizes[item.name]) for item in old])

    def recreate(self, running_of: Collection[str], taken: Collection[str]) -> DeploymentPlan:
        """All old pods are gone before the first new one is made."""
        self.sync_revision()
        if any([self.resize(item, 0) for item in self.old if item.replicas > 0]):
            return self.finish()
        if any(item.uid in running_of for item in self.old):
            return self.finish()
        if not self.ensure_new(taken) or self.created is not None:
            return self.finish()
        assert self.new is not None
        if not self.resize(self.new, self.deployment.replicas):
            self.clean_up()
        return self.finish()

    def clean_up(self) -> None:
        """Deletes the oldest empty ReplicaSets beyond the history limit, when the rollout is complete or paused."""
        deployment = self.deployment
        if not deployment.paused and not deployment.complete(deployment.status):
            return
        alive = [item for item in self.old if not item.deleting]
        excess = len(alive) - deployment.history_limit
        candidates = sorted(alive, key=lambda item: (item.revision, item.created, item.name))[: max(excess, 0)]
        self.deleted = tuple(
            item.name for item in candidates if item.replicas == item.status_replicas == 0 and item.observed
        )

    def finish(self, *, progress: bool = True) -> DeploymentPlan:
        deployment = self.deployment
        status = next_status(
            deployment, self.sets, self.new, self.now, progress=progress, created=self.created is not None,
            found=self.found, patch=self.status_patch,
        )
        return DeploymentPlan(
            status=status, create=self.created, renumber=self.renumber, resize=tuple(self.resized.values()),
            delete=self.deleted, revision=self.revision, notes=tuple(self.notes),
            requeue_after_s=progress_wait_s(deployment, status, self.now) if progress else None,
        )
