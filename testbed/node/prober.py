"""Probe workers: they take samples when ``core/probing`` says so, and hand it what they got.

One task per (container, probe type) of a pod. It lives as long as the pod; a new container changes only whom it probes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.protocol import Outcome, ProbeKind, ProbeTarget, Sample
from testbed.api.core_v1 import Container, Probe
from testbed.core.probing import (
    ATTEMPTS,
    Act,
    ContainerView,
    ProbeState,
    ProbeType,
    Result,
    absorb,
    credible,
    first_delay_s,
    fresh,
    restored,
    tick,
)
from testbed.node.facts import now_s

log = logging.getLogger("testbed.node")
Json = dict[str, Any]


@dataclass(frozen=True)
class Surroundings:
    """What a probe worker needs of the pod it belongs to."""

    view: Callable[[str], ContainerView]
    target: Callable[[Container], ProbeTarget | None]
    unhealthy: Callable[[Container, ProbeType, Sample], None]
    changed: Callable[[str, ProbeType, Result], None]
    measured: Callable[[ProbeType, Sample], None]
    kinds: Callable[[str], ProbeKind]
    draw: random.Random
    uptime_s: Callable[[], float]
    places: asyncio.Semaphore


class ProbeWorker:
    def __init__(self, container: Container, kind: ProbeType, probe: Probe, around: Surroundings) -> None:
        self.container, self.kind, self.probe = container, kind, probe
        self._around = around
        self._name, self._fields = action(probe)
        self.state: ProbeState = fresh(kind)
        self._trigger = asyncio.Event()

    def restore(self, container_id: str, *, started: bool, ready: bool) -> None:
        self.state = restored(self.kind, container_id, started=started, ready=ready)

    def trigger(self) -> None:
        """Probes at once and starts the period anew."""
        self._trigger.set()

    async def run(self) -> None:
        period_s = float(self.probe.period_seconds)
        await asyncio.sleep(first_delay_s(period_s, self._around.uptime_s(), self._around.draw.random()))
        late_s = 0.0
        due_s = now_s()
        while await self._tick(late_s):
            due_s += period_s
            if due_s <= now_s():  # a probe took longer than its period: ticks in between are lost, as upstream
                due_s = now_s()
                late_s = 0.0
                await asyncio.sleep(0)
                continue
            if await self._triggered(due_s):
                due_s = now_s()
            late_s = max(0.0, now_s() - due_s)
            if late_s > period_s:
                due_s = now_s()

    async def _triggered(self, due_s: float) -> bool:
        """Waits for the due time or the trigger; True for the trigger."""
        try:
            async with asyncio.timeout_at(due_s):
                await self._trigger.wait()
        except TimeoutError:
            return False
        self._trigger.clear()
        return True

    async def _tick(self, late_s: float) -> bool:
        """False when the worker is done for good."""
        step = tick(self.kind, self.probe, self.state, self._around.view(self.container.name))
        self._publish(step.state)
        if step.act is Act.PROBE:
            await self._probe(late_s)
        return step.act is not Act.EXIT

    async def _probe(self, late_s: float) -> None:
        container_id = self.state.container_id
        for _ in range(ATTEMPTS):
            target = self._around.target(self.container)
            if target is None:
                return
            waited_from = now_s()
            async with self._around.places:
                late_s += now_s() - waited_from
                sample = await self._sample(target)
            self._around.measured(self.kind, sample)
            success = sample.outcome in (Outcome.SUCCESS, Outcome.WARNING)
            trusted = credible(success, late_s=late_s, took_s=sample.duration_s, timeout_s=self.probe.timeout_seconds)
            late_s = 0.0
            if sample.outcome is Outcome.ERROR or not trusted:
                continue
            if container_id == self._around.view(self.container.name).container_id:
                self._publish(absorb(self.kind, self.probe, self.state, container_id, success))  # acts before it tells
                if sample.outcome is not Outcome.SUCCESS:
                    self._around.unhealthy(self.container, self.kind, sample)
            return
        self._around.unhealthy(self.container, self.kind, Sample(Outcome.ERROR, sample.message))

    async def _sample(self, target: ProbeTarget) -> Sample:
        name, fields = self._name, self._fields
        begun = now_s()
        host = fields.get("host")
        if host and host != target.address:
            return Sample(Outcome.ERROR, f"host {host} is refused: a probe goes to its own pod only")
        try:
            sample = await self._around.kinds(name).sample(fields, target, float(self.probe.timeout_seconds))
        except Exception as error:  # a probe kind that breaks its promise must not end the worker
            log.exception("probe kind %s failed", name)
            sample = Sample(Outcome.ERROR, f"{type(error).__name__}: {error}")
        return Sample(sample.outcome, sample.message, now_s() - begun)

    def _publish(self, state: ProbeState) -> None:
        old, self.state = self.state, state
        if (old.result, old.container_id) != (state.result, state.container_id):
            self._around.changed(self.container.name, self.kind, state.result)


def action(probe: Probe) -> tuple[str, Json]:
    """The probe kind's name and its fields as JSON."""
    if probe.http_get is not None:
        return "http", _fields(probe.http_get)
    if probe.tcp_socket is not None:
        return "tcp", _fields(probe.tcp_socket)
    if probe.grpc is not None:
        return "grpc", _fields(probe.grpc)
    return "exec", _fields(probe.exec) if probe.exec is not None else {}


def _fields(view: Any) -> Json:
    value: Json = view.model_dump(mode="json", by_alias=True)
    return value


class PodProber:
    """All probe workers of one pod."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.workers: dict[tuple[str, ProbeType], ProbeWorker] = {}
        self._tasks: dict[tuple[str, ProbeType], asyncio.Task[None]] = {}

    def add(self, container: Container) -> None:
        for kind, probe in probes_of(container).items():
            key = (container.name, kind)
            if key not in self.workers:
                self.workers[key] = ProbeWorker(container, kind, probe, self._around)

    def begin(self) -> None:
        for key, worker in self.workers.items():
            if key not in self._tasks:
                self._tasks[key] = asyncio.get_running_loop().create_task(worker.run())

    def result(self, name: str, container_id: str, kind: ProbeType) -> Result:
        """What counts for this very container."""
        worker = self.workers.get((name, kind))
        if worker is None:
            return Result.SUCCESS
        return worker.state.result if worker.state.container_id == container_id else fresh(kind).result

    def trigger(self, name: str) -> None:
        worker = self.workers.get((name, ProbeType.READINESS))
        if worker is not None:
            worker.trigger()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def probes_of(container: Container) -> Mapping[ProbeType, Probe]:
    every = {
        ProbeType.STARTUP: container.startup_probe, ProbeType.LIVENESS: container.liveness_probe,
        ProbeType.READINESS: container.readiness_probe,
    }
    return {kind: probe for kind, probe in every.items() if probe is not None}


