"""Takes back condition DisruptionTarget from pods that were to be disrupted and are still there (core: ``disruption``).

Source: kubernetes pkg/controller/disruption/disruption.go syncStalePodDisruption.
"""

from __future__ import annotations

from typing import Any

from testbed.api.resources import PODS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, disruption

Json = dict[str, Any]


class StaleDisruptionController(Controller):
    name = "stale-disruption-controller"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._pods = tools.caches.pods
        self._pods.on_change(self._changed)

    def _changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and conditions.find((new.get("status") or {}).get("conditions") or (), "DisruptionTarget"):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> float | None:
        pod, json = self._pods.get(key), self._pods.json(key)
        left_s = disruption.stale_in_s(pod, self.clock.now()) if pod is not None else None
        if json is None or left_s is None or left_s > 0:
            return left_s
        status = json.get("status") or {}
        changed = conditions.with_condition(
            status.get("conditions") or (), "DisruptionTarget", "False", "", "", self.clock.now())
        await self.tools.update(PODS, {**json, "status": {**status, "conditions": list(changed)}}, subresource="status")
        return None
