"""Evicts pods of this node that use more disk than they may, and, when memory or the node's own disk runs out, one pod
after another.

What may be used and who goes first are ``core/local_storage`` and ``core/node_pressure``; here is measured, at the pace
of the profile, and carried out. What cannot be measured decides nothing.
Source: kubernetes pkg/kubelet/eviction/eviction_manager.go synchronize.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from testbed.api.meta import quantity
from testbed.core.local_storage import over_limit
from testbed.core.node_pressure import (
    PodUse,
    Pressure,
    disk_message,
    disk_threshold_bytes,
    disk_victims,
    judged,
    message,
    turned_away,
    victims,
)
from testbed.core.pods import Waiting
from testbed.errors import EngineError, EngineUnavailable, HostError
from testbed.node.disk_use import REST_FACTOR, DiskMeter, directory_bytes
from testbed.node.facts import now_s
from testbed.node.shared import Shared
from testbed.node.volumes import empty_volumes, pod_directory
from testbed.node.worker import PodWorker

log = logging.getLogger("testbed.node")
_GONE_S = 30.0  # how long is waited for an evicted pod to end (podCleanupTimeout)
_LOOK_S = 0.1


class Evictor:
    """``tell(condition, holds)``: whether the node is under such a pressure has changed."""

    def __init__(self, shared: Shared, workers: Mapping[str, PodWorker], tell: Callable[[str, bool], None]) -> None:
        self._shared, self._workers, self._tell = shared, workers, tell
        self._meter = DiskMeter()
        self._pressure, self._disk_pressure = Pressure(), Pressure()
        self._disk_rests_until_s = 0.0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._shared.profile.eviction_monitor_s)
            try:
                await self._limit_disk()
                if self._shared.facts.limited:
                    await self._free_memory()
                if self._shared.facts.disk_limited:
                    await self._free_disk()
            except (EngineUnavailable, EngineError, HostError) as error:
                log.info("nothing is evicted: %s", error.message)

    def admit(self, worker: PodWorker) -> None:
        """Called for a pod that is new here: under pressure it may be turned away."""
        spec = worker.pod.spec
        disk = turned_away(spec, disk=True) if self._disk_pressure.holds else ""
        if text := disk or (turned_away(spec) if self._pressure.holds else ""):
            worker.reject("Evicted", text)

    # --- disk

    async def _limit_disk(self) -> None:
        self._meter.forget_others(set(self._workers))
        for worker in list(self._workers.values()):
            if worker.context.terminal or worker.context.deleting:
                continue
            use = await self._meter.measure(worker.context)
            if use is not None and (text := over_limit(worker.pod.spec, use)):
                self._evict(worker, "ephemeralpodfs.limit", text)

    def _evict(self, worker: PodWorker, signal: str, text: str, disruption: Waiting | None = None) -> None:
        """``signal``: kubelet's word for what asks for it (kubernetes: pkg/kubelet/eviction/api/types.go)."""
        self._shared.measures.evictions[signal] += 1
        worker.evict(text, disruption=disruption)

    async def _free_disk(self) -> None:
        """One pod at most: what lies in this agent's directory is the node's; its containers' own files are not."""
        shared, before, begun_s = self._shared, self._disk_pressure, now_s()
        if begun_s < self._disk_rests_until_s:
            return
        capacity = int(quantity(shared.facts.ephemeral_storage))
        available, threshold = capacity - await directory_bytes(shared.facts.directory), disk_threshold_bytes(capacity)
        self._disk_rests_until_s = now_s() + REST_FACTOR * (now_s() - begun_s)
        self._disk_pressure = judged(before, available, threshold, shared.profile.pressure_hold_s, now_s())
        if self._disk_pressure.holds is not before.holds:
            self._tell("DiskPressure", self._disk_pressure.holds)
        if not self._disk_pressure.met:
            return
        pods = [(worker.pod.spec, worker.uid, await directory_bytes(pod_directory(shared.facts, worker.uid)))
                for worker in list(self._workers.values()) if not worker.context.terminal]
        for uid in disk_victims(pods):
            worker = self._workers.get(uid)
            if worker is not None:
                text = disk_message(available, threshold)
                self._evict(worker, "nodefs.available", text, Waiting("TerminationByKubelet", text))
                await self._ended(worker)
                empty_volumes(shared.facts, uid)
                return

    # --- memory

    async def _free_memory(self) -> None:
        """One pod at most; the next look sees what that has freed."""
        shared, before = self._shared, self._pressure
        capacity, threshold = int(quantity(shared.facts.memory)), shared.profile.eviction_memory_bytes
        available = capacity - await shared.host.memory_in(shared.facts.cgroup)
        self._pressure = judged(before, available, threshold, shared.profile.pressure_hold_s, now_s())
        if self._pressure.holds is not before.holds:
            self._tell("MemoryPressure", self._pressure.holds)
        if not self._pressure.met:
            return
        for use in victims([await self._use(worker) for worker in list(self._workers.values())
                            if not worker.context.terminal]):
            worker = self._workers.get(use.uid)
            if worker is not None:
                text = message(use, available, threshold)
                self._evict(worker, "memory.available", text, Waiting("TerminationByKubelet", text))
                await self._ended(worker)
                return

    async def _use(self, worker: PodWorker) -> PodUse:
        """Read from the kernel: an engine without memory answers late, if at all."""
        used = {record.name: (await self._shared.host.usage_in(record.cgroup)).working_set_bytes
                for record in self._shared.view.of_pod(worker.uid)
                if record.running and record.cgroup and not record.sandbox}
        return PodUse(worker.uid, worker.pod.spec, used)

    async def _ended(self, worker: PodWorker) -> None:
        deadline_s = now_s() + _GONE_S
        while now_s() < deadline_s and any(  # noqa: ASYNC110  (a death tells the worker, not us)
            item.running for item in worker.context.seen.containers.values()
        ):
            await asyncio.sleep(_LOOK_S)
