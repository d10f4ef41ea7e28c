"""One pod's worker: looks, lets ``core/pods`` decide, does it, tells the API; again whenever something happened.

It decides nothing itself. Starting is done in order, as upstream (``pod_start``); stopping runs beside it, because
graces are long (``pod_stops``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.meta import parse_time
from testbed.api.process_logs import about
from testbed.core.backoff import BackoffEntry, caught_up, reconstructed
from testbed.core.pod_seen import PodSeen
from testbed.core.pods import (
    Action,
    AskExitCode,
    CreateSandbox,
    FailPod,
    Plan,
    PodWant,
    RemovePod,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    Waiting,
    decide,
)
from testbed.core.termination import StopCause
from testbed.errors import EngineError, EngineUnavailable, EnvironmentProblem, HostError, InvalidInput
from testbed.node.facts import now_s
from testbed.node.pod_context import PodContext
from testbed.node.pod_end import PodEnd
from testbed.node.pod_keeper import PodKeeper
from testbed.node.pod_probes import PodProbes
from testbed.node.pod_reporter import PodReporter
from testbed.node.pod_start import PodStart
from testbed.node.pod_stops import PodStops
from testbed.node.record import Record
from testbed.node.shared import Shared
from testbed.node.starter import Starter

log = logging.getLogger("testbed.node")
Json = dict[str, Any]


class PodWorker:
    """``json``: the pod as the API has it. ``finished``: everything is gone and the worker may be forgotten."""

    def __init__(self, shared: Shared, json: Json) -> None:
        self.shared = shared
        self._wake = asyncio.Event()
        self.context = PodContext(shared, json, self.wake)
        self.uid = self.context.uid
        self.finished = False
        starter = Starter(shared)
        self.probes = PodProbes(self.context, self.wake, lambda: self._reporter.publish(self.context.seen))
        self._reporter = PodReporter(self.context, self.probes)
        self._keeper = PodKeeper(self.context, starter, self.wake)
        self._stops = PodStops(self.context, self.wake)
        self._end = PodEnd(self.context, starter, self._reporter, self.probes, self.wake)
        self._start = PodStart(self.context, starter, self._reporter, self._stops, self._end, self._wake)

    # --- from outside

    @property
    def pod(self) -> Pod:
        return self.context.pod

    @property
    def json(self) -> Json:
        return self.context.json

    @property
    def waiting(self) -> Mapping[str, Waiting]:
        return self.context.waiting

    def update(self, json: Json) -> None:
        """A newer object of the same uid."""
        old = self.pod
        self.context.update(json)
        new = self.pod
        grace, before = new.metadata.deletion_grace_period_seconds, old.metadata.deletion_grace_period_seconds
        if before is not None and grace is not None and grace < before:
            self._stops.begin_anew()
        if (old.metadata.labels, old.metadata.annotations) != (new.metadata.labels, new.metadata.annotations):
            self._keeper.volumes_stale = True
        if self._reporter.heed(json.get("status") or {}) or old.spec != new.spec or old.metadata != new.metadata:
            self.wake()

    def forget(self) -> None:
        """The object is gone from the API: what is left of the pod is ended, and nobody is told."""
        self.context.gone = True
        self.wake()

    def config_changed(self) -> None:
        self._keeper.volumes_stale = True
        self.context.errors.clear()
        self.wake()

    def evict(self, message: str, *, disruption: Waiting | None = None) -> None:
        """The node cannot keep it: it is ended within a second, and fails. ``disruption``: of the condition that says
        who did it."""
        context = self.context
        if context.terminal or context.gone:
            return
        context.failed, context.disruption = Waiting("Evicted", message), disruption
        context.end_cause = StopCause.EVICTED
        context.event("Warning", "Evicted", message)
        self.wake()

    def reject(self, reason: str, message: str) -> None:
        """The node does not take it: it fails before anything of it was made."""
        self.context.failed = Waiting(reason, f"Pod was rejected: {message}")
        self.context.event("Warning", reason, message)
        self.wake()

    def died(self, record: Record) -> None:
        """Called at the moment of death."""
        self._reporter.died(record)

    def wake(self) -> None:
        self._wake.set()

    async def close(self) -> None:
        """Ends the worker's tasks, not its containers."""
        await self.probes.close()
        await self._stops.close()
        await self._keeper.close()
        await self._end.close()
        await self.context.messages.close()

    # --- the loop

    async def run(self) -> None:
        await self.shared.config.ready(self.pod)
        while not self.finished:
            self._wake.clear()
            begun_s = now_s()
            try:
                again_s = await self._step()
            except (EngineUnavailable, EngineError, HostError, EnvironmentProblem, InvalidInput) as error:
                log.warning("pod %s: %s", self.pod.key, error.message, extra=about(self.json))
                again_s = now_s() + self.shared.retry_s()
            self.shared.measures.looks.observe(now_s() - begun_s)
            if not self.finished:
                await self._wait(again_s)

    async def _wait(self, until_s: float | None) -> None:
        resync_s = now_s() + self.shared.profile.resync_interval_s * (1 + self.shared.draw.random() / 2)
        try:
            async with asyncio.timeout_at(_sooner(until_s, resync_s)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _step(self) -> float | None:
        """One look, one plan. Returns when to look again at the latest (monotonic seconds)."""
        context = self.context
        if context.deleting and not self._end.may_stop():
            self._reporter.publish(context.seen)
            return None
        seen = context.seen
        self.probes.begin(seen)
        plan = self._decide(seen)
        again_s = plan.look_again_s
        for action in plan.actions:
            again_s = _sooner(again_s, await self._carry_out(action, seen))
            seen = context.seen
        if self.finished:
            return None
        self._reporter.note_waiting(plan)
        self._reporter.publish(seen)
        if not plan.actions:
            return _sooner(again_s, self._keeper.settle(seen))
        if again_s is None and any(not isinstance(action, StopContainer | AskExitCode) for action in plan.actions):
            self._wake.set()  # what was done may allow the next thing
        return again_s

    def _decide(self, seen: PodSeen) -> Plan:
        context, active_s = self.context, None
        if self.pod.spec.active_deadline_seconds is not None:
            begun = context.status.get("startTime")
            moment = parse_time(begun) if begun else context.begun_at
            active_s = (self.shared.clock.now() - moment).total_seconds()
        want = PodWant(
            name=context.full_name, spec=self.pod.spec, hashes=context.hashes, restarts=context.restarts(),
            init_done=self._init_done(seen), deleting=context.deleting, terminal=context.terminal,
            end_cause=context.end_cause, active_s=active_s,
        )
        health = self.probes.health(seen)
        return decide(want, seen, health, self._backoffs(seen), self.shared.crash_rule, now_s())

    def _init_done(self, seen: PodSeen) -> frozenset[str]:
        """Of init containers whose containers the engine no longer has, in a sandbox that still runs."""
        status = self.context.status
        if seen.sandbox is None or seen.sandbox.address != status.get("podIP"):
            return frozenset()
        return frozenset(
            item["name"] for item in status.get("initContainerStatuses") or ()
            if ((item.get("state") or {}).get("terminated") or {}).get("exitCode") == 0
        )

    def _backoffs(self, seen: PodSeen) -> Mapping[str, BackoffEntry]:
        """Remembered ones, with what the newest containers tell of restarts since; where memory was lost, rebuilt from
        the attempts that containers carry. A changed container begins anew (kubernetes: GetStableKey, of which the
        container's hash is a part)."""
        rule, stored = self.shared.crash_rule, self.shared.checkpoint.backoffs.get(self.uid, {})
        entries: dict[str, BackoffEntry] = {}
        for name, spec_hash in self.context.hashes.items():
            entry, item = stored.get(self.context.backoff_key(name)), seen.containers.get(name)
            if item is not None and item.spec_hash == spec_hash:
                started_s = item.started_s or now_s()
                if entry is None:
                    entry = reconstructed(rule, item.attempt, started_s)
                else:
                    entry = caught_up(rule, entry, item.attempt, started_s)
            if entry is not None:
                entries[name] = entry
        return entries

    # --- acting

    async def _carry_out(self, action: Action, seen: PodSeen) -> float | None:
        """Returns when to try again what could not be done."""
        if isinstance(action, StartContainer):
            return await self._start.container(action, seen)
        if isinstance(action, StopContainer):
            self._stops.begin(action)
        elif isinstance(action, CreateSandbox):
            return await self._start.sandbox(action, seen)
        elif isinstance(action, AskExitCode):
            await self._end.exit_code(action.id)
        elif isinstance(action, RemoveSandbox):
            await self._end.discard(action.id)
        elif isinstance(action, FailPod):
            self.context.failed = Waiting(action.reason, action.message)
            self.context.event("Normal", action.reason, action.message)
        elif isinstance(action, RemovePod):
            await self._end.remove()
            self.finished = True
        return None


def _sooner(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
