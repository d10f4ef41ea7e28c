"""ReplicaSets: keeps the number of pods (core: ``replicasets``)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from testbed.api.apps_v1 import ReplicaSet
from testbed.api.core_v1 import Pod
from testbed.api.resources import REPLICA_SETS
from testbed.controlplane.controller import Tools
from testbed.controlplane.pod_controller import PodController, pod_from
from testbed.core import replicasets
from testbed.errors import ApiError

Json = dict[str, Any]


class ReplicaSetController(PodController):
    name = "replicaset-controller"
    resource = REPLICA_SETS

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools, tools.caches.replica_sets)
        self._sets = tools.caches.replica_sets

    async def reconcile(self, key: str) -> float | None:
        view, json = self._sets.get(key), self._sets.json(key)
        if view is None or json is None:
            return None
        owned = await self.claim(view, json)
        plan = replicasets.plan(view, owned, self._related(view, owned), self.clock.now())
        failure: tuple[str, str] | None = None
        if plan.create:
            make = partial(pod_from, json["spec"]["template"], REPLICA_SETS, json)
            error = await self.create_pods(json, [make] * plan.create)
            failure = ("FailedCreate", str(error)) if error is not None else None
        elif plan.delete:
            error = await self.delete_pods(json, [pod for pod in owned if pod.metadata.name in plan.delete])
            failure = ("FailedDelete", str(error)) if error is not None else None
        await self._write_status(key, view, owned, failure)
        if failure is not None:
            raise ApiError(f"{failure[0]}: {failure[1]}")
        return plan.requeue_after_s

    def _related(self, view: ReplicaSet, owned: Sequence[Pod]) -> list[Pod]:
        """Pods of all ReplicaSets with our owner (kubernetes: getIndirectlyRelatedPods)."""
        owner = view.metadata.controller
        if owner is None:
            return list(owned)
        family = self._sets.by("controller", owner.uid)
        return [pod for each in family for pod in self._pods.by("controller", each.metadata.uid)]

    async def _write_status(
        self, key: str, view: ReplicaSet, owned: Sequence[Pod], failure: tuple[str, str] | None
    ) -> None:
        json = self._sets.json(key)
        if json is None:
            return
        current = json.get("status") or {}
        labels = (json["spec"].get("template", {}).get("metadata") or {}).get("labels") or {}
        pods = self.owned(view.metadata.uid) if not failure else self.as_believed(owned)
        status = replicasets.status(view, current, pods, labels, self.clock.now(), failure=failure)
        if status != current:
            await self.tools.update(REPLICA_SETS, {**json, "status": status}, subresource="status")
