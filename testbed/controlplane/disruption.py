"""Keeps the status of PodDisruptionBudgets, by which evictions are judged (core: ``disruption``)."""

from __future__ import annotations

from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.resources import DISRUPTION_BUDGETS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import disruption

Json = dict[str, Any]


class DisruptionController(Controller):
    name = "disruption-controller"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._budgets, self._pods, self._sets = tools.caches.budgets, tools.caches.pods, tools.caches.replica_sets
        self._budgets.on_change(lambda old, new: self.queue.add(key_of(new or old or {})))
        self._pods.on_change(self._pod_changed)
        self._sets.on_change(self._set_changed)
        tools.caches.stateful_sets.on_change(self._set_changed)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        for budget in self._budgets.by("namespace", changed["metadata"].get("namespace", "")):
            for item in (old, new):
                selector = budget.spec.selector
                if item is not None and selector is not None and selector.matches(item["metadata"].get("labels") or {}):
                    self.queue.add(budget.key)

    def _set_changed(self, old: Json | None, new: Json | None) -> None:
        """A new scale is a new percentage."""
        changed = new or old
        assert changed is not None
        if old is None or new is None or old["spec"].get("replicas") != new["spec"].get("replicas"):
            for key in self._budgets.keys_by("namespace", changed["metadata"].get("namespace", "")):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        budget, json = self._budgets.get(key), self._budgets.json(key)
        if budget is None or json is None:
            return None
        selector = budget.spec.selector
        pods = [
            pod for pod in self._pods.by("namespace", budget.metadata.namespace)
            if selector is not None and selector.matches(pod.metadata.labels) and not pod.terminal
        ]
        plan = disruption.plan(budget, json.get("status") or {}, pods, self._scales(pods), self.clock.now())
        for note in plan.notes:
            self.tell(json, note)
        if plan.status != (json.get("status") or {}):
            await self.tools.update(DISRUPTION_BUDGETS, {**json, "status": plan.status}, subresource="status")
        return plan.requeue_after_s

    def _scales(self, pods: list[Pod]) -> dict[str, int]:
        """What the pods' controllers want; of a Deployment the whole, once, on one of its ReplicaSets."""
        scales: dict[str, int] = {}
        counted: set[str] = set()
        for uid in dict.fromkeys(pod.metadata.controller.uid for pod in pods if pod.metadata.controller is not None):
            for replica_set in self._sets.by("uid", uid):
                owner = replica_set.metadata.controller
                above = self.caches.deployments.by("uid", owner.uid) if owner is not None else []
                if not above:
                    scales[uid] = replica_set.spec.replicas
                elif above[0].metadata.uid not in counted:
                    counted.add(above[0].metadata.uid)
                    scales[uid] = above[0].spec.replicas
            for stateful_set in self.caches.stateful_sets.by("uid", uid):
                scales[uid] = stateful_set.spec.replicas
        return scales
