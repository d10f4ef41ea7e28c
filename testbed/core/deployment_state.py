"""A Deployment and its ReplicaSets as the values that rollout decisions are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.api.apps_v1 import Deployment, ReplicaSet
from testbed.api.labels import REVISION
from testbed.core.rounding import Fenceposts, resolve

Json = dict[str, Any]
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
NO_DEADLINE = 2**31 - 1


@dataclass(frozen=True)
class ReplicaSetState:
    """``available`` is never above ``replicas``: what was told to go is not counted on any more.

    ``desired`` and ``maximum``: what the Deployment noted at its last sizing. ``observed``: status speaks of this spec.
    """

    name: str
    uid: str
    created: datetime
    replicas: int
    template: Json
    status_replicas: int = 0
    ready: int = 0
    status_available: int = 0
    revision: int = 0
    desired: int | None = None
    maximum: int | None = None
    min_ready_s: int = 0
    observed: bool = True
    deleting: bool = False
    failure: Json | None = None

    @property
    def available(self) -> int:
        return min(self.status_available, self.replicas)

    @classmethod
    def of(cls, view: ReplicaSet, json: Mapping[str, Any]) -> ReplicaSetState:
        meta, notes = view.metadata, view.metadata.annotations
        assert meta.creation_timestamp is not None, "an object of the API has a creation time"
        return cls(
            name=meta.name, uid=meta.uid, created=meta.creation_timestamp, replicas=view.spec.replicas,
            template=json["spec"].get("template") or {}, status_replicas=view.status.replicas,
            ready=view.status.ready_replicas, status_available=view.status.available_replicas,
            revision=_number(notes.get(REVISION)) or 0, desired=_number(notes.get(DESIRED_REPLICAS)),
            maximum=_number(notes.get(MAX_REPLICAS)), min_ready_s=view.spec.min_ready_seconds,
            observed=view.status.observed_generation >= meta.generation, deleting=meta.deleting,
            failure=next((item for item in (json.get("status") or {}).get("conditions") or ()
                          if item.get("type") == "ReplicaFailure"), None),
        )


@dataclass(frozen=True)
class DeploymentState:
    name: str
    replicas: int
    template: Json
    generation: int = 1
    recreate: bool = False
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"
    min_ready_s: int = 0
    history_limit: int = 10
    progress_deadline_s: int = 600
    paused: bool = False
    deleting: bool = False
    selector_empty: bool = False
    status: Json = field(default_factory=dict)

    @classmethod
    def of(cls, view: Deployment, json: Mapping[str, Any]) -> DeploymentState:
        spec, rolling = view.spec, view.spec.strategy.rolling_update
        return cls(
            name=view.metadata.name, replicas=spec.replicas, template=json["spec"].get("template") or {},
            generation=view.metadata.generation, recreate=spec.strategy.type == "Recreate",
            max_surge=rolling.max_surge, max_unavailable=rolling.max_unavailable,
            min_ready_s=spec.min_ready_seconds, history_limit=spec.revision_history_limit,
            progress_deadline_s=spec.progress_deadline_seconds, paused=spec.paused, deleting=view.metadata.deleting,
            selector_empty=spec.selector.empty, status=dict(json.get("status") or {}),
        )

    @property
    def fenceposts(self) -> Fenceposts:
        """Of a rolling update; a Recreate has no surge and no lower bound that it keeps."""
        if self.recreate:
            return Fenceposts(0, 0)
        return resolve(self.max_surge, self.max_unavailable, self.replicas)

    @property
    def maximum(self) -> int:
        return self.replicas + self.fenceposts.surge

    @property
    def has_deadline(self) -> bool:
        return self.progress_deadline_s != NO_DEADLINE

    def complete(self, status: Mapping[str, Any]) -> bool:
        """All pods are of the new revision, available, and no other is left."""
        return bool(
            status.get("updatedReplicas", 0) == self.replicas
            and status.get("replicas", 0) == self.replicas
            and status.get("availableReplicas", 0) == self.replicas
            and status.get("observedGeneration", 0) >= self.generation
        )


def oldest_first(sets: Iterable[ReplicaSetState]) -> list[ReplicaSetState]:
    return sorted(sets, key=lambda item: (item.created, item.name))


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
