"""The scheduler: gives every pod without a node one (core: ``scheduling``).

One worker: each placement is made knowing the ones before it. What was bound counts as placed before the cache
shows it. A pod that fits nowhere is told so, waits 1 s, 2 s, ... 10 s, and is looked at again at once when a node
changes or a pod frees room.
"""

from __future__ import annotations

from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.resources import PODS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, scheduling
from testbed.core.reasons import Note
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]
BACKOFF_INITIAL_S = 1.0
BACKOFF_MAX_S = 10.0
SCHEDULER_NAME = "default-scheduler"


class Scheduler(Controller):
    name = SCHEDULER_NAME
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._pods, self._nodes = tools.caches.pods, tools.caches.nodes
        self._assumed: dict[str, str] = {}  # pod UID: node, until the cache shows it
        self._waiting: dict[str, int] = {}  # pods that fit nowhere, and how often they were looked at
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            assert old is not None
            self._waiting.pop(key_of(old), None)
            self._assumed.pop(old["metadata"]["uid"], None)
            self._room_changed()
            return
        if new["spec"].get("nodeName"):
            self._assumed.pop(new["metadata"]["uid"], None)
            if _ended(new) and (old is None or not _ended(old)):
                self._room_changed()
        elif old is None or old["spec"] != new["spec"] or old["metadata"].get("uid") != new["metadata"].get("uid"):
            self.queue.add(key_of(new))

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and (old is None or _offer(old) != _offer(new)):
            self._room_changed()

    def _room_changed(self) -> None:
        for key in list(self._waiting):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        pod, json = self._pods.get(key), self._pods.json(key)
        if pod is None or json is None or pod.spec.node_name or not pod.active or pod.metadata.uid in self._assumed:
            self._waiting.pop(key, None)
            return None
        if pod.spec.scheduler_name != SCHEDULER_NAME or (json["spec"].get("schedulingGates") or ()):
            return None
        plan = scheduling.plan(pod, sorted(self._nodes.values(), key=lambda node: node.key), self._placed())
        if not plan.candidates:
            return await self._refuse(key, json, plan.message)
        node = self.tools.random.choice(plan.candidates)
        if await self._bind(pod, node):
            self.tell(json, Note("Scheduled", f"Successfully assigned {key} to {node}"))
        self._waiting.pop(key, None)
        return None

    def _placed(self) -> list[Pod]:
        placed = []
        for pod in self._pods.values():
            assumed = self._assumed.get(pod.metadata.uid)
            if pod.spec.node_name:
                placed.append(pod)
            elif assumed is not None:
                placed.append(pod.model_copy(update={"spec": pod.spec.model_copy(update={"node_name": assumed})}))
        return placed

    async def _bind(self, pod: Pod, node: str) -> bool:
        """False when the pod is not there any more, or someone else has placed it."""
        meta = pod.metadata
        body = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self._assumed[meta.uid] = node
        try:
            await self.client.create_subresource(PODS, meta.name, "binding", body, meta.namespace)
        except (NotFound, Conflict):
            self._assumed.pop(meta.uid, None)
            return False
        except BaseException:
            self._assumed.pop(meta.uid, None)
            raise
        shown = self._pods.get(pod.key)
        if shown is None or shown.spec.node_name:  # the cache was faster
            self._assumed.pop(meta.uid, None)
        return True

    async def _refuse(self, key: str, json: Json, message: str) -> float:
        looks = self._waiting.get(key, 0)
        self._waiting[key] = looks + 1
        self.tell(json, Note("FailedScheduling", message, "Warning"))
        status = json.get("status") or {}
        current = conditions.find(status.get("conditions") or (), "PodScheduled")
        if current is None or (current.get("reason"), current.get("message")) != ("Unschedulable", message):
            kept = conditions.without(status.get("conditions") or (), "PodScheduled")
            fresh = conditions.with_condition(
                kept, "PodScheduled", "False", "Unschedulable", message, self.clock.now()
            )
            if current is not None and current.get("status") == "False" and current.get("lastTransitionTime"):
                fresh[-1]["lastTransitionTime"] = current["lastTransitionTime"]
            await self.tools.update(
                PODS, {**json, "status": {**status, "conditions": list(fresh)}}, subresource="status"
            )
        return float(min(BACKOFF_INITIAL_S * 2.0 ** min(looks, 10), BACKOFF_MAX_S))


def _ended(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _offer(node: Json) -> tuple[Any, ...]:
    """All of a node that placement depends on."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), status.get("allocatable"),
        status.get("capacity"),
    )
