"""The agent of one node: it keeps a worker for each of its pods, and the loops that wake them.

It starts, adopts and forgets workers; what a worker does is ``worker.py``. A killed agent loses nothing: containers
carry their identity in labels, statuses are in the API, back-offs in the checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from probes.protocol import ProbeKind
from probes.registry import probe_kind
from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.api.process_logs import about
from testbed.api.resources import NAMESPACES, PODS, ResourceType
from testbed.client.events import EventRecorder
from testbed.client.informer import Informer
from testbed.client.protocol import Client
from testbed.core.backoff import BackoffRule
from testbed.core.host_ports import clash, host_ports
from testbed.core.profile import Profile
from testbed.errors import ApiError, EngineError, EngineUnavailable, InvalidInput, TestbedError
from testbed.node.checkpoint import Checkpoint
from testbed.node.claims import IN_USE, PodClaims
from testbed.node.config import ConfigSource, needs_any_config
from testbed.node.container_specs import CLUSTER
from testbed.node.engine_news import EngineNews
from testbed.node.engine_view import EngineView
from testbed.node.evictor import Evictor
from testbed.node.facts import NodeFacts, Recorder, RouteSandbox, now_s
from testbed.node.images import Images
from testbed.node.measures import Measures
from testbed.node.orphans import remove_orphan
from testbed.node.pod_tokens import PodTokens
from testbed.node.provisioner import Provisioner
from testbed.node.record import Record
from testbed.node.registration import Registration
from testbed.node.shared import Shared
from testbed.node.status_sender import StatusSender
from testbed.node.storage import NodeStorage, has_claims
from testbed.node.worker import PodWorker
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

log = logging.getLogger("testbed.node")
Json = dict[str, Any]
_LOOP_AGAIN_S = 1.0


class Agent:
    """``network``: sets the routes of a fresh sandbox. ``kinds``: probe kinds by name. ``recorder``: writes Events."""

    def __init__(
        self, client: Client, engine: Engine, host: Host, facts: NodeFacts, profile: Profile, clock: WallClock,
        draw: random.Random, network: RouteSandbox, *, kinds: Callable[[str], ProbeKind] = probe_kind,
        recorder: Recorder | None = None,
    ) -> None:
        self.facts, self.profile, self.client, self.engine = facts, profile, client, engine
        self.workers: dict[str, PodWorker] = {}
        self.measures = Measures()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._checks: set[asyncio.Task[None]] = set()
        self._begun_s: float | None = None
        selector = {labels.INSTANCE: facts.instance_id, labels.NODE: facts.name}
        self.view = EngineView(engine, host, clock, selector, self._wake, self._on_death)
        self._engine_news = EngineNews(self.view, selector, profile.relist_interval_s)
        self._pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={facts.name}", on_change=self._on_pod, random=draw,
        )
        self.recorder: Recorder = recorder or EventRecorder(client, "kubelet", clock, host=facts.name)
        self._registration = Registration(client, facts, profile, clock, draw, self.recorder)
        self._storage = NodeStorage(client, facts.name, draw)
        self._storage.listeners.append(self._on_storage)
        self._provisioner = Provisioner(client, engine, self._storage, facts, self.recorder)
        self.shared = Shared(
            facts=facts, client=client, engine=engine, host=host, view=self.view,
            sender=StatusSender(client, draw, self._on_sent), recorder=self.recorder,
            images=Images(engine, BackoffRule.of_images(profile)),
            config=ConfigSource(client, draw, self._on_config),
            claims=PodClaims(self._storage, engine, facts), tokens=PodTokens(client), profile=profile, clock=clock,
            draw=draw,
            route=network, kinds=kinds, checkpoint=Checkpoint(facts.directory / "checkpoint.json", facts.boot_id),
            measures=self.measures, uptime_s=self._uptime_s, crash_rule=BackoffRule.of_crashes(profile),
        )
        self._evictor = Evictor(self.shared, self.workers, self._registration.tell_pressure)

    # --- life

    async def run(self) -> None:
        """Until cancelled. Cancelling ends the agent's own work and leaves every container as it is."""
        self._begun_s = now_s()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "heartbeat": self._registration.run, "pods": self._run_pods, "events": self._engine_news.follow,
            "relist": self._engine_news.relist_for_ever, "housekeeping": self._housekeep_for_ever,
            "storage": self._provisioner.run, "evictions": self._evictor.run,
        }
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in loops.items():
                    self._loops[name] = group.create_task(self._for_ever(name, loop))
        finally:
            await self._close()

    async def _for_ever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that breaks is told and begun again: no part of an agent ends silently."""
        while True:
            try:
                await loop()
            except TestbedError as error:
                log.warning("%s: %s", name, error.message)
            except Exception:
                log.exception("%s broke", name)
            await asyncio.sleep(_LOOP_AGAIN_S)

    @property
    def healthy(self) -> bool:
        return bool(self._loops) and not any(task.done() for task in self._loops.values())

    def _uptime_s(self) -> float:
        return now_s() - self._begun_s if self._begun_s is not None else 0.0

    async def _close(self) -> None:
        tasks = [*self._tasks.values(), *self._checks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self.workers.values()))
        await self.shared.sender.close()
        await self.shared.config.close()
        await self._storage.close()
        await self.view.close()
        await self.recorder.close()

    # --- pods

    async def _run_pods(self) -> None:
        """Pods are looked at only once the engine's list is known: what runs already is adopted, not made again."""
        await self._learn_cluster()
        self.shared.config.begin()
        while self.view.listed_s is None:
            try:
                await self.view.relist()
            except (EngineUnavailable, EngineError) as error:
                log.warning("the engine does not list containers: %s", error.message)
                await asyncio.sleep(self.profile.relist_interval_s)
        self._registration.uses(self._volumes_in_use())
        await self._pods.run()

    async def _learn_cluster(self) -> None:
        while not self.shared.cluster:
            self.shared.cluster = await self._cluster_uid()
            if not self.shared.cluster:
                await asyncio.sleep(_LOOP_AGAIN_S)

    async def _cluster_uid(self) -> str:
        """Which database answers: the uid of kube-system. Empty while it cannot be known."""
        try:
            found = await self.client.get(NAMESPACES, "kube-system")
        except ApiError as error:
            log.info("the API does not say which cluster it is: %s", error.message)
            return ""
        return str(found["metadata"]["uid"])

    async def _confirm_gone(self, worker: PodWorker) -> None:
        """A pod that the API no longer has was deleted, unless the API lost its database: that kills nothing."""
        if await self._cluster_uid() != self.shared.cluster:
            log.warning("pod %s is unknown to the API, whose database is another one: left as it is", worker.pod.key,
                        extra=about(worker.json))
            return
        worker.forget()

    def _on_pod(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            if old is not None and (gone := self.workers.get(old["metadata"]["uid"])) is not None:
                task = asyncio.get_running_loop().create_task(self._confirm_gone(gone))
                self._checks.add(task)
                task.add_done_callback(self._checks.discard)
            return
        uid = new["metadata"]["uid"]
        new.setdefault("kind", "Pod")
        new.setdefault("apiVersion", "v1")
        try:
            worker = self.workers.get(uid)
            if worker is not None:
                worker.update(new)
            elif not _ended(new) or uid in self.view.uids() or new["metadata"].get("deletionTimestamp"):
                worker = PodWorker(self.shared, new)
                if not (new.get("status") or {}).get("startTime"):
                    self._admit(worker)
                self._add(uid, worker)
        except InvalidInput as error:
            log.error("pod %s/%s cannot be read: %s", new["metadata"].get("namespace"), new["metadata"]["name"], error,
                      extra=about(new))

    def _admit(self, worker: PodWorker) -> None:
        """What a node turns away that the scheduler has not seen (kubernetes: pkg/kubelet/lifecycle/predicate.go)."""
        ports = host_ports(worker.pod.spec)
        others = [item.pod.spec for item in self.workers.values() if not item.context.terminal]
        if ports and any(clash(mine, other) for mine in ports for spec in others for other in host_ports(spec)):
            text = "node(s) didn't have free ports for the requested pod ports"
            worker.reject("NodePorts", f"Predicate NodePorts failed: {text}")
            return
        self._evictor.admit(worker)

    def _add(self, uid: str, worker: PodWorker) -> None:
        self.workers[uid] = worker
        task = asyncio.get_running_loop().create_task(self._work(worker), name=f"pod {worker.pod.key}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._tasks.pop(uid, None))

    async def _work(self, worker: PodWorker) -> None:
        while not worker.finished:
            try:
                await worker.run()
            except TestbedError as error:
                log.warning("pod %s: %s", worker.pod.key, error.message, extra=about(worker.json))
                await asyncio.sleep(_LOOP_AGAIN_S)
            except Exception:
                log.exception("worker of pod %s broke", worker.pod.key, extra=about(worker.json))
                await asyncio.sleep(_LOOP_AGAIN_S)
        await worker.close()
        self.workers.pop(worker.uid, None)

    def _wake(self, uid: str) -> None:
        if self._registration.volumes_in_use or ((known := self.workers.get(uid)) and has_claims(known.pod)):
            self._registration.uses(self._volumes_in_use())
        worker = self.workers.get(uid)
        if worker is not None:
            worker.wake()

    def _on_death(self, record: Record) -> None:
        worker = self.workers.get(record.uid)
        if worker is not None:
            worker.died(record)

    def _on_sent(self, uid: str, status: Json) -> None:
        log.debug("status of %s sent: %s", uid, status.get("phase"))

    def _on_config(self, resource: ResourceType, namespace: str, name: str) -> None:
        for worker in self.workers.values():
            if worker.pod.metadata.namespace == namespace and needs_any_config(worker.pod):
                worker.config_changed()

    def _on_storage(self) -> None:
        for worker in self.workers.values():
            if has_claims(worker.pod) and not self.shared.claims.known(worker.uid):
                worker.config_changed()

    def _volumes_in_use(self) -> list[str]:
        """What containers here may be writing to, whatever the API says of their pods."""
        used: set[str] = set()
        for record in self.view.records.values():
            text = record.state.labels.get(IN_USE, "") if record.sandbox else ""
            if text and any(item.running for item in self.view.of_pod(record.uid)):
                used.update(text.split(","))
        return sorted(used)

    # --- what is left over

    async def _housekeep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.profile.housekeeping_interval_s)
            if self.view.listed_s is not None:
                self._registration.uses(self._volumes_in_use())
            if self._pods.synced.is_set() and self._pods.connected and self.view.listed_s is not None:
                await self._remove_orphans()

    async def _remove_orphans(self) -> None:
        """Containers of this node whose pod the API does not have here: deleted or given away meanwhile."""
        known = {item["metadata"]["uid"] for item in self._pods.items.values()} | set(self.workers)
        orphans = self.view.uids() - known
        if not orphans or await self._cluster_uid() != self.shared.cluster:
            return
        for uid in orphans:
            if any(item.sandbox and item.state.labels.get(CLUSTER) != self.shared.cluster
                   for item in self.view.of_pod(uid)):
                continue  # from before the API lost its database: a lost database kills nothing
            await remove_orphan(self.shared, uid)


def _ended(json: Json) -> bool:
    return (json.get("status") or {}).get("phase") in ("Succeeded", "Failed")
