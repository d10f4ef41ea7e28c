"""Collects pods that nobody will finish (core: ``podgc``): in a fixed rhythm, as upstream."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import NODES, PODS
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, podgc
from testbed.core.podgc import Collected
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]
LOOK = "all pods"


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._pods, self._nodes = tools.caches.pods, tools.caches.nodes
        self._gone_since_s: dict[str, float] = {}

    async def run(self) -> None:
        self.queue.add(LOOK)
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        now_s = asyncio.get_running_loop().time()
        if self._pods.connected and self._nodes.connected:
            pods = self._pods.values()
            await self._note_missing(pods, now_s)
            existing = {node.metadata.name: node for node in self._nodes.values()}
            for item in podgc.plan(pods, existing, self._gone_since_s, now_s, self.profile.pod_gc_quarantine_s):
                await self._collect(item)
        return self.profile.pod_gc_period_s

    async def _note_missing(self, pods: list[Any], now_s: float) -> None:
        """A node counts as gone when the API itself, not only our cache, does not know it."""
        missing = podgc.missing_nodes(pods, self._nodes.keys())
        self._gone_since_s = {name: self._gone_since_s[name] for name in missing if name in self._gone_since_s}
        for name in missing:
            if name in self._gone_since_s:
                continue
            try:
                await self.client.get(NODES, name)
            except NotFound:
                self._gone_since_s[name] = now_s

    async def _collect(self, item: Collected) -> None:
        json = self._pods.json(item.pod.key)
        if json is None or json["metadata"]["uid"] != item.pod.metadata.uid:
            return
        metadata = json["metadata"]
        try:
            if item.fail and not item.pod.terminal:
                status = json.get("status") or {}
                fresh = conditions.with_condition(
                    status.get("conditions") or (), "DisruptionTarget", "True", "DeletionByPodGC", item.message,
                    self.clock.now(),
                )
                status = {**status, "phase": "Failed", "conditions": list(fresh)}
                await self.tools.update(PODS, {**json, "status": status}, subresource="status")
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_s=0, uid=metadata["uid"]
            )
        except (NotFound, Conflict):
            return
