"""Evicts pods from nodes with NoExecute taints when their tolerance ends (core: ``eviction``)."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import PODS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, eviction
from testbed.core.reasons import Note
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]


class TaintEvictionController(Controller):
    name = "taint-eviction-controller"
    workers = 4

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._pods, self._nodes = tools.caches.pods, tools.caches.nodes
        self._since_s: dict[str, float] = {}  # pod UID: when we saw the taints first
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            assert old is not None
            self._since_s.pop(old["metadata"]["uid"], None)
        elif new["spec"].get("nodeName") and (old is None or old["spec"] != new["spec"]):
            self.queue.add(key_of(new))

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        before = (old.get("spec") or {}).get("taints") if old is not None else None
        after = (new.get("spec") or {}).get("taints") if new is not None else None
        changed = new or old
        if before != after and changed is not None:
            for key in self._pods.keys_by("node", changed["metadata"]["name"]):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        pod, json = self._pods.get(key), self._pods.json(key)
        if pod is None or json is None:
            return None
        node = self._nodes.get(pod.spec.node_name)
        now_s = asyncio.get_running_loop().time()
        uid = pod.metadata.uid
        plan = eviction.plan(pod, node.spec.taints if node is not None else (), self._since_s.get(uid), now_s)
        if plan.since_s is None:
            if self._since_s.pop(uid, None) is not None and pod.active:
                self.tell(json, Note("TaintManagerEviction", f"Cancelling deletion of Pod {key}"))
            return None
        self._since_s[uid] = plan.since_s
        if plan.due_s is None:
            return None
        if plan.due_s > now_s:
            return plan.due_s - now_s
        await self._evict(key, json)
        return None

    async def _evict(self, key: str, json: Json) -> None:
        self.tell(json, Note("TaintManagerEviction", f"Marking for deletion Pod {key}"))
        status = json.get("status") or {}
        fresh = conditions.with_condition(
            status.get("conditions") or (), "DisruptionTarget", "True", "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint", self.clock.now(),
        )
        metadata = json["metadata"]
        try:
            status = {**status, "conditions": list(fresh)}
            await self.tools.update(PODS, {**json, "status": status}, subresource="status")
            await self.client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            return
        except Conflict:
            self.queue.retry(key)
