"""The scheduler: gives every pod without a node one (core: ``scheduling``).

One worker: each placement is made knowing the ones before it. What was bound counts as placed before the cache
shows it. A pod that fits nowhere is told so, waits 1 s, 2 s, ... 10 s, and is looked at again at once when something
changes that may help it. Whom it preempts goes by a graceful deletion, and the room that this makes is kept for it
(``status.nominatedNodeName``). A pod with scheduling gates is not looked at.
"""

from __future__ import annotations

from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.log_lines import NODE
from testbed.api.meta import LabelSelector
from testbed.api.resources import PODS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.scheduling_queue import PriorityQueue
from testbed.controlplane.scheduling_volumes import PodVolumes
from testbed.core import conditions, scheduling
from testbed.core.preemption import REASON, Preemption
from testbed.core.reasons import Note
from testbed.core.scheduling_state import ClusterState
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]
BACKOFF_INITIAL_S = 1.0
BACKOFF_MAX_S = 10.0
SCHEDULER_NAME = "default-scheduler"
_SPREAD_OWNERS = {"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}


class Scheduler(Controller):
    name = SCHEDULER_NAME
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.queue = PriorityQueue(self._priority)
        self._pods, self._nodes = tools.caches.pods, tools.caches.nodes
        self._cluster = ClusterState()
        self._assumed: dict[str, str] = {}  # pod UID: node, until the cache shows it
        self._waiting: dict[str, int] = {}  # pods that fit nowhere, and how often they were looked at
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)
        tools.caches.namespaces.on_change(self._namespace_changed)
        self._volumes = PodVolumes(tools, self._look_again)

    def _priority(self, key: str) -> int:
        json = self._pods.json(key)
        return int(json["spec"].get("priority") or 0) if json is not None else 0

    # --- what happens

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if old is not None and (new is None or _uid(old) != _uid(new)):
            self._forget(old)
        if new is None or (old is not None and _uid(old) == _uid(new) and _placement(old) == _placement(new)):
            return
        key = key_of(new)
        pod = self._pods.get(key)
        if pod is None:
            return
        if pod.spec.node_name:
            self._assumed.pop(pod.metadata.uid, None)
            self._cluster.nominate(pod, "")
            self._cluster.put_pod(pod)
            self._look_again(only_beside_pods=not pod.terminal)
            return
        self._cluster.nominate(pod, pod.status.nominated_node_name if pod.active else "")
        if old is None or _uid(old) != _uid(new) or old["spec"] != new["spec"]:
            self.queue.add(key)

    def _forget(self, pod: Json) -> None:
        self._waiting.pop(key_of(pod), None)
        self._assumed.pop(_uid(pod), None)
        self._cluster.drop_pod(_uid(pod))
        self._cluster.nominated.pop(_uid(pod), None)
        self._look_again()

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            assert old is not None
            self._cluster.drop_node(old["metadata"]["name"])
        elif old is None or _offer(old) != _offer(new):
            node = self._nodes.get(key_of(new))
            if node is not None:
                self._cluster.put_node(node)
                self._look_again()

    def _namespace_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        name = changed["metadata"]["name"]
        labels = dict(new["metadata"].get("labels") or {}) if new is not None else {}
        if self._cluster.namespaces.get(name) != labels:
            self._cluster.namespaces[name] = labels
            self._look_again(only_beside_pods=True)

    def _look_again(self, *, only_beside_pods: bool = False) -> None:
        """At pods that fit nowhere; or only at those that depend on where other pods are."""
        for key in list(self._waiting):
            if only_beside_pods:
                pod = self._pods.get(key)
                if pod is None or not (pod.spec.affinity or pod.spec.topology_spread_constraints):
                    continue
            self.queue.add(key)

    # --- one pod

    async def reconcile(self, key: str) -> float | None:
        pod, json = self._pods.get(key), self._pods.json(key)
        if pod is None or json is None or pod.spec.node_name or not pod.active or pod.metadata.uid in self._assumed:
            self._waiting.pop(key, None)
            return None
        if pod.spec.scheduler_name != SCHEDULER_NAME or pod.spec.scheduling_gates:
            return None
        volumes = self._volumes.needs(pod)
        if volumes is not None and volumes.pending:
            self._waiting.setdefault(key, 0)  # its volumes are being made or bound: it is looked at when they are
            return BACKOFF_MAX_S
        plan = scheduling.plan(
            pod, self._cluster, spread_by=self._spread_by(pod), budgets=self.caches.budgets.values(), volumes=volumes)
        if not plan.candidates:
            if plan.preemption is not None:
                await self._preempt(pod, plan.preemption)
            return await self._refuse(key, plan.message, plan.nominated)
        node = self.tools.random.choice(plan.candidates)
        if volumes is not None and volumes.open:
            self._waiting.setdefault(key, 0)
            await self._volumes.promise(volumes, node)
            return BACKOFF_MAX_S
        if await self._bind(pod, node):
            self.tell(json, Note("Scheduled", f"Successfully assigned {key} to {node}"), {NODE: node})
        self._waiting.pop(key, None)
        return None

    def _spread_by(self, pod: Pod) -> LabelSelector | None:
        """What the pod's Services and its controller select (kubernetes: plugins/helper/spread.go)."""
        if pod.spec.topology_spread_constraints:
            return None
        wanted: dict[str, str] = {}
        for service in self.caches.services.by("namespace", pod.metadata.namespace):
            selector = service.spec.selector
            if selector and selector.items() <= pod.metadata.labels.items():
                wanted |= selector
        chosen = LabelSelector(match_labels=wanted)
        owner = pod.metadata.controller
        cache = self.caches.all.get(_SPREAD_OWNERS.get(owner.kind, "")) if owner is not None else None
        json = cache.json(f"{pod.metadata.namespace}/{owner.name}") if cache is not None and owner is not None else None
        if owner is None or json is None or json["metadata"].get("uid") != owner.uid:
            return chosen
        own = LabelSelector.of(json["spec"].get("selector") or {})
        return own.model_copy(update={"match_labels": {**wanted, **own.match_labels}})

    async def _bind(self, pod: Pod, node: str) -> bool:
        """False when the pod is not there any more, or someone else has placed it."""
        meta = pod.metadata
        body = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self._assumed[meta.uid] = node
        self._cluster.put_pod(pod, node)
        try:
            await self.client.create_subresource(PODS, meta.name, "binding", body, meta.namespace)
        except (NotFound, Conflict):
            self._unassume(pod)
            return False
        except BaseException:
            self._unassume(pod)
            raise
        shown = self._pods.get(pod.key)
        if shown is None or shown.spec.node_name:  # the cache was faster
            self._assumed.pop(meta.uid, None)
            if shown is None:
                self._cluster.drop_pod(meta.uid)
        return True

    def _unassume(self, pod: Pod) -> None:
        self._assumed.pop(pod.metadata.uid, None)
        shown = self._pods.get(pod.key)
        if shown is None or shown.metadata.uid != pod.metadata.uid or not shown.spec.node_name:
            self._cluster.drop_pod(pod.metadata.uid)

    async def _preempt(self, pod: Pod, plan: Preemption) -> None:
        for victim in plan.victims:
            json = self._pods.json(victim.key)
            if json is None or _uid(json) != victim.metadata.uid or victim.metadata.deleting:
                continue
            status = json.get("status") or {}
            marked = conditions.with_condition(
                status.get("conditions") or (), "DisruptionTarget", "True", REASON,
                f"{SCHEDULER_NAME}: preempting to accommodate a higher priority pod", self.clock.now(),
            )
            try:
                await self.tools.update(
                    PODS, {**json, "status": {**status, "conditions": list(marked)}}, subresource="status"
                )
                await self.client.delete(PODS, victim.metadata.name, victim.metadata.namespace, uid=victim.metadata.uid)
            except NotFound:
                continue
            self.tell(json, Note("Preempted", f"Preempted by pod {pod.metadata.uid} on node {plan.node}"))
        for uid, (node, info) in list(self._cluster.nominated.items()):
            if node == plan.node and info.priority < pod.spec.priority:
                self._cluster.nominated.pop(uid, None)
                self.queue.add(info.pod.key)  # its next look says where it may go now

    async def _refuse(self, key: str, message: str, nominated: str) -> float | None:
        json = self._pods.json(key)
        if json is None:
            return None
        looks = self._waiting.get(key, 0)
        self._waiting[key] = looks + 1
        self.tell(json, Note("FailedScheduling", message, "Warning"))
        status = json.get("status") or {}
        fresh = _unschedulable(status, message, nominated, self.clock.now())
        if fresh != status:
            await self.tools.update(PODS, {**json, "status": fresh}, subresource="status")
        return float(min(BACKOFF_INITIAL_S * 2.0 ** min(looks, 10), BACKOFF_MAX_S))


def _unschedulable(status: Json, message: str, nominated: str, now: Any) -> Json:
    """``status`` that says why the pod waits and where room is being made for it."""
    current = conditions.find(status.get("conditions") or (), "PodScheduled")
    fresh = {key: value for key, value in status.items() if key != "nominatedNodeName"}
    if nominated:
        fresh["nominatedNodeName"] = nominated
    if current is None or (current.get("reason"), current.get("message")) != ("Unschedulable", message):
        kept = conditions.without(status.get("conditions") or (), "PodScheduled")
        changed = list(conditions.with_condition(kept, "PodScheduled", "False", "Unschedulable", message, now))
        if current is not None and current.get("status") == "False" and current.get("lastTransitionTime"):
            changed[-1]["lastTransitionTime"] = current["lastTransitionTime"]
        fresh["conditions"] = changed
    return fresh


def _uid(pod: Json) -> str:
    return str(pod["metadata"].get("uid", ""))


def _placement(pod: Json) -> tuple[Any, ...]:
    """All of a pod that placements depend on, its own and that of others."""
    meta, status = pod["metadata"], pod.get("status") or {}
    return (
        pod["spec"], meta.get("labels"), bool(meta.get("deletionTimestamp")), status.get("startTime"),
        status.get("nominatedNodeName"), status.get("phase") in ("Succeeded", "Failed"),
    )


def _offer(node: Json) -> tuple[Any, ...]:
    """All of a node that placement depends on."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), status.get("allocatable"),
        status.get("capacity"),
    )
