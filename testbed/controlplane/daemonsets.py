"""DaemonSets: carries out what core's ``daemonsets`` decides of each node."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from testbed.api.apps_v1 import DaemonSet
from testbed.api.labels import CONTROLLER_REVISION_HASH
from testbed.api.resources import DAEMON_SETS
from testbed.controlplane.controller import Tools
from testbed.controlplane.history import History, Revisions
from testbed.controlplane.pod_controller import PodController, pod_from
from testbed.core import daemonsets
from testbed.core.backoff import BackoffEntry, BackoffRule, advanced
from testbed.core.daemon_nodes import tolerations
from testbed.core.reasons import Note

Json = dict[str, Any]


class DaemonSetController(PodController):
    name = "daemonset-controller"
    resource = DAEMON_SETS

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools, tools.caches.daemon_sets)
        self._sets, self._nodes = tools.caches.daemon_sets, tools.caches.nodes
        self._history = History(tools, DAEMON_SETS, CONTROLLER_REVISION_HASH)
        self._backoff = BackoffRule.of_daemons(tools.profile)  # kubernetes: daemon_controller.go failedPodsBackoff
        self._failures: dict[tuple[str, str], BackoffEntry] = {}  # (UID of the set, node): of the next failed pod
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        """Heartbeats decide nothing; labels, taints, appearing and going do."""
        if old is not None and new is not None and old.get("spec") == new.get("spec") \
                and old["metadata"].get("labels") == new["metadata"].get("labels"):
            return
        for view in self._sets.values():
            self.queue.add(view.key)

    async def reconcile(self, key: str) -> float | None:
        view, json = self._sets.get(key), self._sets.json(key)
        if json is None or view is None:
            return None
        if view.spec.selector.empty:
            self.tell(json, Note("SelectingAll", "This daemon set is selecting all pods. A non-empty selector is "
                                                 "required.", "Warning"))
            return None
        if view.metadata.deleting:
            return None
        pods = await self.claim(view, json)
        revisions = await self._history.of(view.metadata, view.spec.selector, json)
        plan = daemonsets.plan(
            view, self._nodes.values(), pods, revisions.update.hash, self.clock.now(),
            failed_wait_s=self._waits(view.metadata.uid), collisions=revisions.update.collisions,
        )
        for note in plan.notes:
            self.tell(json, note)
        self._note_failures(view.metadata.uid, plan.failed)
        make = [partial(daemon_pod, json, revisions.update.hash, node) for node in plan.create]
        failure = await self.create_pods(json, make)
        failure = await self.delete_pods(json, [pod for pod in pods if pod.metadata.name in plan.delete]) or failure
        await self._write_status(key, plan.status)
        await self._truncate(view, revisions)
        if failure is not None:
            raise failure
        return plan.requeue_after_s

    def _waits(self, uid: str) -> dict[str, float]:
        now_s = asyncio.get_running_loop().time()
        return {node: entry.updated_s + entry.delay_s - now_s for (owner, node), entry in self._failures.items()
                if owner == uid}

    def _note_failures(self, uid: str, nodes: tuple[str, ...]) -> None:
        now_s = asyncio.get_running_loop().time()
        self._failures = {key: entry for key, entry in self._failures.items()
                          if now_s - entry.updated_s <= self._backoff.reset_s}
        for node in nodes:
            self._failures[uid, node] = advanced(self._backoff, self._failures.get((uid, node)), now_s, now_s)

    async def _write_status(self, key: str, status: Json) -> None:
        json = self._sets.json(key)
        if json is None:
            return
        current = json.get("status") or {}
        fresh = {**status, **({"conditions": current["conditions"]} if "conditions" in current else {})}
        if fresh != current:
            await self.tools.update(DAEMON_SETS, {**json, "status": fresh}, subresource="status")

    async def _truncate(self, view: DaemonSet, revisions: Revisions) -> None:
        hashes = {pod.metadata.labels.get(CONTROLLER_REVISION_HASH, "") for pod in self.owned(view.metadata.uid)}
        live = {f"{view.metadata.name}-{each}" for each in hashes}
        await self._history.truncate(view.metadata.namespace, revisions, live, view.spec.revision_history_limit)


def daemon_pod(daemon_set: Json, revision: str, node: str, suffix: str) -> Json:
    """A pod that only fits on ``node`` and bears what befalls nodes (kubernetes: CreatePodTemplate)."""
    pod = pod_from(daemon_set["spec"]["template"], DAEMON_SETS, daemon_set, suffix)
    spec = pod["spec"]
    pod["metadata"]["labels"] = {**pod["metadata"].get("labels", {}), CONTROLLER_REVISION_HASH: revision}
    required = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {}).setdefault(
        "requiredDuringSchedulingIgnoredDuringExecution", {})
    required["nodeSelectorTerms"] = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    ]
    own = spec.setdefault("tolerations", [])
    for key, effect in tolerations(bool(spec.get("hostNetwork"))):
        fresh = {"key": key, "operator": "Exists", "effect": effect}
        if fresh not in own:
            own.append(fresh)
    return pod
