"""Node lifecycle: who is silent, and what that does to taints and pods (core: ``nodes``).

It looks in a fixed rhythm, and at once when a node says something new of itself. How long it watched, not what the
clock says, decides: a look that comes late (this process was frozen or starved) or that cannot see the API counts
for little or nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from testbed.api.labels import TAINT_NOT_READY, TAINT_UNREACHABLE
from testbed.api.resources import NODES, PODS
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, nodes
from testbed.core.nodes import EvictionRates, NodePlan, Sighting
from testbed.core.reasons import Note
from testbed.errors import Conflict, NotFound

log = logging.getLogger(__name__)

Json = dict[str, Any]
LEASE_NAMESPACE = "kube-node-lease"
LOOK = "all nodes"  # the one key of this controller: nodes are judged together


class NodeLifecycleController(Controller):
    name = "node-controller"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._nodes, self._leases, self._pods = tools.caches.nodes, tools.caches.leases, tools.caches.pods
        self._sightings: dict[str, Sighting] = {}
        self._watched_s = 0.0
        self._last_s: float | None = None
        self._ready: set[str] = set()  # at the last look
        self._evicting: dict[str, str] = {}  # nodes that wait for their NoExecute taint, in order: the zone of each
        self._next_eviction_s: dict[str, float] = {}  # by zone
        self._rates: Mapping[str, float] = {}  # of zones, at the last look
        self._frozen = ""
        self._all_silent = False
        self._nodes.on_change(self._node_changed)
        self._leases.on_change(self._lease_changed)

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if old is None or new is None or _own_words(old) != _own_words(new):
            self.queue.add(LOOK)

    def _lease_changed(self, old: Json | None, new: Json | None) -> None:
        """A heartbeat counts from the moment it is seen."""
        if new is None or new["metadata"].get("namespace") != LEASE_NAMESPACE:
            return
        name = new["metadata"]["name"]
        self._sightings[name] = nodes.sighted(self._sightings.get(name), _heartbeat(new), self._watched_now())
        node = self._nodes.get(name)
        if node is not None and not node.ready:
            self.queue.add(LOOK)

    def _watched_now(self) -> float:
        if self._last_s is None:
            return self._watched_s
        elapsed_s = asyncio.get_running_loop().time() - self._last_s
        return nodes.watched_after(self._watched_s, elapsed_s, self.profile.node_monitor_period_s)

    async def run(self) -> None:
        self.queue.add(LOOK)
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        now_s = asyncio.get_running_loop().time()
        watching = self._leases.connected and self._nodes.connected
        if watching:
            self._watched_s = self._watched_now()
        self._last_s = now_s
        if watching:
            await self._look(now_s)
        return self.profile.node_monitor_period_s

    async def _look(self, now_s: float) -> None:
        known = sorted(self._nodes.values(), key=lambda node: node.key)
        names = [node.metadata.name for node in known]
        for name in names:
            lease = self._leases.json(f"{LEASE_NAMESPACE}/{name}")
            heartbeat = _heartbeat(lease) if lease is not None else ""
            self._sightings[name] = nodes.sighted(self._sightings.get(name), heartbeat, self._watched_s)
        for name in set(self._sightings) - set(names):
            self._sightings.pop(name)
        raw = {name: ((self._nodes.json(name) or {}).get("status") or {}).get("conditions") or () for name in names}
        turn = self._turn(now_s)
        plan = nodes.plan(
            known, raw, self._sightings, self._watched_s, self.profile.node_monitor_grace_s, self.clock.now(),
            rates=EvictionRates(self.profile.node_eviction_rate_per_s, self.profile.secondary_eviction_rate_per_s),
            may_evict=turn, was_ready=self._ready,
        )
        if self._all_silent and not plan.all_silent:  # we see again: everybody gets a new chance to be heard
            heard = self._sightings
            self._sightings = {
                name: Sighting(seen.heartbeat, max(seen.seen_s, self._watched_s)) for name, seen in heard.items()
            }
            self._all_silent = False
            return
        self._all_silent = plan.all_silent
        if plan.frozen != self._frozen:
            log.warning("node lifecycle: %s", f"frozen: {plan.frozen}" if plan.frozen else "not frozen any more")
            self._frozen = plan.frozen
        for item in plan.nodes:
            await self._carry_out(item)
        self._rates = plan.rates
        self._queue_evictions(plan.nodes, turn, now_s)
        self._ready = {node.metadata.name for node in known if node.ready} - {
            item.name for item in plan.nodes if item.silent
        }

    # --- the rate of evictions

    def _turn(self, now_s: float) -> list[str]:
        """The nodes whose turn it is: one of each zone per 1/rate seconds (kubernetes: zoneNoExecuteTainter)."""
        first: dict[str, str] = {}
        for name, zone in self._evicting.items():
            first.setdefault(zone, name)
        return [name for zone, name in first.items()
                if self._rates.get(zone, 0.0) > 0 and now_s >= self._next_eviction_s.get(zone, 0.0)]

    def _queue_evictions(self, plans: tuple[NodePlan, ...], turn: list[str], now_s: float) -> None:
        for name in turn:
            zone = self._evicting.pop(name)
            if (rate := self._rates.get(zone, 0.0)) > 0:
                self._next_eviction_s[zone] = now_s + 1 / rate
        for item in plans:
            if not item.evict:
                self._evicting.pop(item.name, None)
            elif item.name not in turn and not self._executing(item.name):
                self._evicting[item.name] = item.zone
                self.queue.add_after(LOOK, max(self._next_eviction_s.get(item.zone, 0.0) - now_s, 0.001))

    def _executing(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and any(
            taint.effect == "NoExecute" and taint.key in (TAINT_NOT_READY, TAINT_UNREACHABLE)
            for taint in node.spec.taints
        )

    # --- writing

    async def _carry_out(self, plan: NodePlan) -> None:
        json = self._nodes.json(plan.name)
        if json is None:
            return
        for note in plan.notes:
            self.tell(json, note)
        if plan.conditions is not None:
            status = {**(json.get("status") or {}), "conditions": list(plan.conditions)}
            json = await self.tools.update(NODES, {**json, "status": status}, subresource="status")
        if plan.taints is not None:
            spec = {key: value for key, value in (json.get("spec") or {}).items() if key != "taints"}
            if plan.taints:
                spec["taints"] = list(plan.taints)
            json = await self.tools.update(NODES, {**json, "spec": spec})
        if plan.pods_not_ready:
            for key in self._pods.keys_by("node", plan.name):
                await self._mark_not_ready(key)

    async def _mark_not_ready(self, key: str) -> None:
        """Takes a pod's readiness back, so that its endpoints go (kubernetes: MarkPodsNotReady)."""
        pod, json = self._pods.get(key), self._pods.json(key)
        if pod is None or json is None or not pod.ready or pod.terminal:
            return
        status = json.get("status") or {}
        ready = conditions.find(status.get("conditions") or (), "Ready") or {}
        fresh = conditions.with_condition(
            status.get("conditions") or (), "Ready", "False", str(ready.get("reason", "")),
            str(ready.get("message", "")), self.clock.now(),
        )
        try:
            status = {**status, "conditions": list(fresh)}
            await self.tools.update(PODS, {**json, "status": status}, subresource="status")
        except (NotFound, Conflict):  # it changed meanwhile: the next look sees it
            self.queue.add_after(LOOK, 0.005)
            return
        self.tell(json, Note("NodeNotReady", "Node is not ready", "Warning"))


def _heartbeat(lease: Json) -> str:
    spec = lease.get("spec") or {}
    return f"{spec.get('renewTime', '')} {spec.get('holderIdentity', '')}"


def _own_words(node: Json) -> tuple[Any, ...]:
    """What a node says of its readiness, and what people say of it."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    ready = conditions.find(status.get("conditions") or (), "Ready") or {}
    return spec.get("unschedulable"), spec.get("taints"), ready.get("status")
