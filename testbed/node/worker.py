"""One pod's worker: looks, lets ``core/pods`` decide, does it, tells the API; again whenever something happened.

It decides nothing itself. Stopping runs beside it (graces are long); starting is done in order, as upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from probes.protocol import Outcome, ProbeTarget, Sample
from testbed.api import labels
from testbed.api.core_v1 import Container, Pod
from testbed.api.meta import parse_time
from testbed.core.backoff import BackoffEntry, reconstructed
from testbed.core.pod_seen import PodSeen
from testbed.core.pod_status import StatusInput, pod_status
from testbed.core.pods import (
    Action,
    AskExitCode,
    CreateSandbox,
    FailPod,
    Health,
    Plan,
    PodWant,
    RemovePod,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    Waiting,
    decide,
    is_sidecar,
)
from testbed.core.probing import ContainerView, ProbeType, Result, is_ready, is_started
from testbed.core.termination import RESTARTING, StopCause, grace_s
from testbed.errors import EngineError, EngineUnavailable, EnvironmentProblem, HostError, InvalidInput
from testbed.node.container_specs import spec_hash
from testbed.node.drain import wait_drained
from testbed.node.engine_view import Record
from testbed.node.facts import now_ns, now_s
from testbed.node.hooks import HookFailed, run_hook
from testbed.node.inside import run_inside
from testbed.node.prober import PodProber, Surroundings, probes_of
from testbed.node.shared import Shared
from testbed.node.starter import CannotStart, Starter, gather_removals
from testbed.node.stopper import kill, stop
from testbed.node.volumes import remove_volumes, termination_message, write_volumes

log = logging.getLogger("testbed.node")
Json = dict[str, Any]
SPARE_AFTER_S = 1.0  # a container that has run this long gets its successor made in advance
_EXIT_POLL_S = 0.02
_EXIT_PATIENCE_S = 5.0


class PodWorker:
    """``json``: the pod as the API has it. ``finished``: everything is gone and the worker may be forgotten."""

    def __init__(self, shared: Shared, json: Json) -> None:
        self.shared = shared
        self.json = json
        self.pod = Pod.of(json)
        self.uid = self.pod.metadata.uid
        self.finished = False
        self.gone = False  # the object is no longer in the API
        self.status: Json = dict(json.get("status") or {})
        self.waiting: dict[str, Waiting] = {}
        self._hashes = _hashes(self.pod)
        self._wake = asyncio.Event()
        self._errors: dict[str, tuple[Waiting, float]] = {}
        self._failed: Waiting | None = None
        self._begun_at = shared.clock.now()
        self._starter = Starter(shared)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._spare_task: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None
        self._told_backoff: dict[str, int] = {}
        self._volumes_stale = False
        self._prober = PodProber(self._surroundings())
        self._restored = False
        self._tried_spares: dict[str, int] = {}

    # --- from outside

    def update(self, json: Json) -> None:
        """A newer object of the same uid."""
        old = self.pod
        self.json, self.pod = json, Pod.of(json)
        if old.spec != self.pod.spec:
            self._hashes = _hashes(self.pod)
        grace, before = self.pod.metadata.deletion_grace_period_seconds, old.metadata.deletion_grace_period_seconds
        if before is not None and grace is not None and grace < before:
            self._stop_sooner()
        if old.metadata.labels != self.pod.metadata.labels or old.metadata.annotations != self.pod.metadata.annotations:
            self._volumes_stale = True
        self._heed_status(json.get("status") or {})
        if old.spec != self.pod.spec or old.metadata != self.pod.metadata:
            self.wake()

    def _heed_status(self, told: Json) -> None:
        """Somebody else may have ended the pod, or called it unready while this node was not heard of."""
        if told.get("phase") in ("Succeeded", "Failed") and self.status.get("phase") != told["phase"]:
            self.status = {**self.status, "phase": told["phase"]}
            self.wake()
        elif self.status.get("conditions") and _ready(told) != _ready(self.status):
            self.shared.sender.put(self.uid, self.pod.metadata.namespace, self.pod.metadata.name, self.status)

    def forget(self) -> None:
        """The object is gone from the API: what is left of the pod is ended, and nobody is told."""
        self.gone = True
        self.wake()

    def config_changed(self) -> None:
        self._volumes_stale = True
        self._errors.clear()
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    @property
    def deleting(self) -> bool:
        return self.gone or self.pod.metadata.deleting

    # --- the loop

    async def run(self) -> None:
        await self.shared.config.ready(self.pod)
        while not self.finished:
            self._wake.clear()
            try:
                again_s = await self._step()
            except (EngineUnavailable, EngineError, HostError, EnvironmentProblem, InvalidInput) as error:
                log.warning("pod %s: %s", self.pod.key, error.message)
                again_s = now_s() + self.shared.retry_s()
            if not self.finished:
                await self._wait(again_s)

    async def _wait(self, until_s: float | None) -> None:
        resync_s = now_s() + self.shared.profile.resync_interval_s * (1 + self.shared.draw.random() / 2)
        try:
            async with asyncio.timeout_at(resync_s if until_s is None else min(until_s, resync_s)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _step(self) -> float | None:
        """One look, one plan. Returns when to look again at the latest."""
        if self.deleting and not self._may_stop():
            self._publish(self.shared.view.seen(self.uid))
            return None
        seen = self.shared.view.seen(self.uid)
        self._restore_probes(seen)
        plan = self._decide(seen)
        again_s = plan.look_again_s
        for action in plan.actions:
            due_s = await self._carry_out(action, seen)
            if due_s is not None:
                again_s = due_s if again_s is None else min(again_s, due_s)
            seen = self.shared.view.seen(self.uid)
        if self.finished:
            return None
        self._set_waiting(plan)
        self._publish(seen)
        if not plan.actions:
            settle_s = self._settle(seen)
            if settle_s is not None:
                again_s = settle_s if again_s is None else min(again_s, settle_s)
        elif any(not isinstance(action, StopContainer | AskExitCode) for action in plan.actions) and again_s is None:
            self._wake.set()  # what was done may allow the next thing
        return again_s

    def _decide(self, seen: PodSeen) -> Plan:
        active_s = None
        if self.pod.spec.active_deadline_seconds is not None:
            begun = self.status.get("startTime")
            moment = parse_time(begun) if begun else self._begun_at
            active_s = (self.shared.clock.now() - moment).total_seconds()
        want = PodWant(
            name=f"{self.pod.metadata.name}_{self.pod.metadata.namespace}({self.uid})", spec=self.pod.spec,
            hashes=self._hashes, restarts=self._restarts(), init_done=self._init_done(seen), deleting=self.deleting,
            terminal=self.status.get("phase") in ("Succeeded", "Failed"), active_s=active_s,
        )
        return decide(want, seen, self._health(seen), self._backoffs(seen), self.shared.crash_rule, now_s())

    def _restarts(self) -> dict[str, int]:
        return {
            item["name"]: int(item.get("restartCount", 0))
            for key in ("containerStatuses", "initContainerStatuses") for item in self.status.get(key) or ()
            if item.get("containerID")
        }

    def _init_done(self, seen: PodSeen) -> frozenset[str]:
        """Of init containers whose containers the engine no longer has, in a sandbox that still runs."""
        if seen.sandbox is None or seen.sandbox.address != self.status.get("podIP"):
            return frozenset()
        return frozenset(
            item["name"] for item in self.status.get("initContainerStatuses") or ()
            if ((item.get("state") or {}).get("terminated") or {}).get("exitCode") == 0
        )

    def _backoffs(self, seen: PodSeen) -> Mapping[str, BackoffEntry]:
        """Remembered ones; where memory was lost, rebuilt from the attempts that containers carry."""
        known = self.shared.checkpoint.backoffs.get(self.uid, {})
        rebuilt = {
            name: entry for name, item in seen.containers.items() if name not in known
            and (entry := reconstructed(self.shared.crash_rule, item.attempt, item.started_s or now_s())) is not None
        }
        return {**rebuilt, **known}

    def _health(self, seen: PodSeen) -> Health:
        results, started = {}, set()
        for container in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            item = seen.containers.get(container.name)
            if item is None or not item.running:
                continue
            for kind in probes_of(container):
                results[container.name, kind] = self._prober.result(item.name, item.id, kind)
            startup = results.get((container.name, ProbeType.STARTUP), Result.SUCCESS)
            if is_started(item.running, container.startup_probe is not None, startup):
                started.add(container.name)
        return Health(results, frozenset(started))

    # --- acting

    async def _carry_out(self, action: Action, seen: PodSeen) -> float | None:
        if isinstance(action, StartContainer):
            return await self._start(action, seen)
        if isinstance(action, StopContainer):
            self._stop(action)
        elif isinstance(action, CreateSandbox):
            return await self._create_sandbox(action, seen)
        elif isinstance(action, AskExitCode):
            await self._ask_exit_code(action.id)
        elif isinstance(action, RemoveSandbox):
            await self._discard(action.id)
        elif isinstance(action, FailPod):
            self._failed = Waiting(action.reason, action.message)
            self._event("Normal", action.reason, action.message)
        elif isinstance(action, RemovePod):
            await self._remove_pod()
        return None

    async def _create_sandbox(self, action: CreateSandbox, seen: PodSeen) -> float | None:
        held = self._held("")
        if held is not None:
            return held
        if action.changed:
            self._event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        if seen.sandbox is not None:
            await self._discard(seen.sandbox.id)
        for record in self.shared.view.of_pod(self.uid):
            if record.never_started and not record.sandbox:
                await self._starter.discard(record)
        try:
            await self._starter.create_sandbox(self.pod, self.json, action.attempt)
        except CannotStart as error:
            for container in self.pod.spec.containers:
                self.waiting[container.name] = error.waiting
            self._errors[""] = (error.waiting, error.again_s)
            return error.again_s
        self._errors.pop("", None)
        return None

    async def _start(self, action: StartContainer, seen: PodSeen) -> float | None:
        held = self._held(action.name)
        if held is not None:
            return held
        sandbox = seen.sandbox
        if sandbox is None or not sandbox.running:
            return None
        container = self._container(action.name)
        try:
            record = await self._starter.start(
                self.pod, self.json, container, action.attempt, sandbox.id, sandbox.address
            )
        except CannotStart as error:
            self._errors[action.name] = (error.waiting, error.again_s)
            self._remember(action)
            return error.again_s
        self._errors.pop(action.name, None)
        self.waiting.pop(action.name, None)
        self._remember(action)
        if action.attempt:
            self.shared.measures.restarts += 1
        self._prober.begin()
        await self._post_start(container, record)
        return None

    def _remember(self, action: StartContainer) -> None:
        if action.backoff is not None:
            self.shared.checkpoint.remember(self.uid, action.name, action.backoff)

    def _held(self, name: str) -> float | None:
        """When a start that failed may be tried again; None: now."""
        error = self._errors.get(name)
        return error[1] if error is not None and error[1] > now_s() else None

    async def _post_start(self, container: Container, record: Record) -> None:
        handler = container.lifecycle.post_start if container.lifecycle is not None else None
        if handler is None:
            return
        self._publish(self.shared.view.seen(self.uid))
        hook = asyncio.get_running_loop().create_task(run_hook(
            handler, container, self._address(), lambda argv, limit: run_inside(self.shared, record, argv, limit)
        ))
        try:
            while not hook.done() and record.running and not self.deleting:
                self._wake.clear()
                waker = asyncio.get_running_loop().create_task(self._wake.wait())
                await asyncio.wait({hook, waker}, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
            if hook.done():
                hook.result()
        except HookFailed as error:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}", container.name)
            message = f"Container {container.name} failed its PostStartHook, will be restarted"
            self._stop(StopContainer(container.name, record.id, StopCause.HOOK, message))
        finally:
            hook.cancel()
            self._wake.set()

    def _stop(self, action: StopContainer) -> None:
        record = self.shared.view.records.get(action.id)
        if record is None or record.stopping:
            return
        record.stopping = True
        record.restart_anyway = action.cause in RESTARTING
        self._event("Normal", "Killing", action.message, action.name)
        spec = next((item for item in self._all_containers() if item.name == action.name), None)
        deletion = self.pod.metadata.deletion_grace_period_seconds if self.pod.metadata.deleting else None
        if self.gone:
            deletion = 1 if deletion is None else deletion
        grace = grace_s(self.pod.spec, spec, action.cause, deletion)
        task = asyncio.get_running_loop().create_task(self._stopping(record, spec, grace))
        self._stops[record.id] = task
        task.add_done_callback(lambda done: self._stops.pop(record.id, None) if self._stops.get(record.id) is done
                               else None)

    async def _stopping(self, record: Record, spec: Container | None, grace: float) -> None:
        try:
            await stop(
                self.shared.view, record, spec, grace, address=self._address(),
                run=lambda argv, limit: run_inside(self.shared, record, argv, limit), signal_name="SIGTERM",
                hook_failed=lambda text: self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {text}",
                                                     record.name),
            )
        except (EngineUnavailable, EngineError, HostError) as error:
            log.warning("pod %s: stopping %s: %s", self.pod.key, record.name, error.message)
            await asyncio.sleep(self.shared.retry_s())
        finally:
            record.stopping = False
            self.wake()

    def _stop_sooner(self) -> None:
        """The grace was shortened: stops begin anew with what is left."""
        for task in list(self._stops.values()):
            task.cancel()

    async def _ask_exit_code(self, container: str) -> None:
        deadline_s = now_s() + _EXIT_PATIENCE_S
        while now_s() < deadline_s:
            record = await self.shared.view.refresh(container)
            if record is None or record.exit_known:
                return
            await asyncio.sleep(_EXIT_POLL_S)

    async def _discard(self, container: str) -> None:
        record = self.shared.view.records.get(container)
        if record is None:
            return
        if record.running:
            await kill(self.shared.view, record)
        await self._starter.discard(record)
        await self.shared.view.refresh(container)

    # --- the end

    def _may_stop(self) -> bool:
        """With ``drain-before-stop``: not before the endpoints are gone."""
        if self.gone or self.pod.metadata.annotations.get(labels.DRAIN_BEFORE_STOP, "false") != "true":
            return True
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(
                wait_drained(self.shared.client, self.pod, self._address())
            )
            self._drain.add_done_callback(lambda done: self.wake())
        return self._drain.done()

    async def _remove_pod(self) -> None:
        records = self.shared.view.of_pod(self.uid)
        for record in records:
            if not record.sandbox and not record.never_started and not record.exit_known:
                await self._ask_exit_code(record.id)
        await self._prober.close()
        if not self.gone:
            self._publish(self.shared.view.seen(self.uid), ending=True)
            await self.shared.sender.flush(self.uid)
            meta = self.pod.metadata
            await self.shared.sender.delete(self.uid, meta.namespace, meta.name)
        for record in records:
            if record.sandbox and record.running:
                await kill(self.shared.view, record)
        await gather_removals(self._starter, [record for record in records if not record.sandbox])
        await gather_removals(self._starter, [record for record in records if record.sandbox])
        for record in records:
            await self.shared.view.refresh(record.id)
        if self.shared.view.of_pod(self.uid):
            raise EngineUnavailable("containers of an ended pod are not removed yet")
        remove_volumes(self.shared.facts, self.uid)
        self.shared.checkpoint.forget(self.uid)
        self.finished = True

    async def close(self) -> None:
        """Ends the worker's tasks, not its containers."""
        await self._prober.close()
        tasks = [*self._tasks, *self._stops.values(), *(item for item in (self._spare_task, self._drain) if item)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- when there is nothing to do

    def _settle(self, seen: PodSeen) -> float | None:
        """Housekeeping of a pod at rest: volumes, spares, old containers. Returns when to look again."""
        if self._volumes_stale and self.pod.spec.volumes and not self.deleting:
            self._volumes_stale = False
            try:
                write_volumes(self.shared.facts, self.pod,
                              self.shared.config.sources(self.pod, self._address(), self.shared.facts))
            except Exception as error:  # a source that is missing now leaves the files as they are
                log.info("pod %s: volumes not updated: %s", self.pod.key, error)
        if self._spare_task is not None and not self._spare_task.done():
            return None
        old = self._superfluous(seen)
        wanted, again_s = self._spares_wanted(seen)
        if old or wanted:
            self._spare_task = asyncio.get_running_loop().create_task(self._tidy(old, wanted, seen))
        return again_s

    async def _tidy(self, old: list[Record], wanted: list[tuple[Container, int]], seen: PodSeen) -> None:
        for record in old:
            if record.running:
                await kill(self.shared.view, record)
            await self._starter.discard(record)
            await self.shared.view.refresh(record.id)
        if seen.sandbox is None:
            return
        for container, attempt in wanted:
            await self._starter.make_spare(
                self.pod, self.json, container, attempt, seen.sandbox.id, seen.sandbox.address
            )
            self._tried_spares[container.name] = attempt

    def _superfluous(self, seen: PodSeen) -> list[Record]:
        """Instances older than the newest and the one before it (kubernetes: MaxPerPodContainer 1)."""
        kept = {item.id for item in (*seen.containers.values(), *seen.previous.values())}
        newest = {item.name: item.attempt for item in seen.containers.values()}
        return [
            record for record in self.shared.view.of_pod(self.uid) if not record.sandbox and record.id not in kept
            and not record.stopping and record.attempt <= newest.get(record.name, -1)
        ]

    def _spares_wanted(self, seen: PodSeen) -> tuple[list[tuple[Container, int]], float | None]:
        if self.deleting or self.pod.spec.restart_policy == "Never" or seen.sandbox is None or not seen.sandbox.running:
            return [], None
        wanted, again_s = [], None
        for container in self.pod.spec.containers:
            item = seen.containers.get(container.name)
            if item is None or self._tried_spares.get(container.name, -1) >= item.attempt + 1:
                continue
            due_s = (item.started_s or now_s()) + SPARE_AFTER_S
            if not item.running or due_s <= now_s():
                wanted.append((container, item.attempt + 1))
            else:
                again_s = due_s if again_s is None else min(again_s, due_s)
        return wanted, again_s

    # --- telling

    def _set_waiting(self, plan: Plan) -> None:
        self.waiting = dict(plan.waiting)
        for name, (waiting, _) in self._errors.items():
            if name and name not in self.waiting:
                self.waiting[name] = waiting
        if "" in self._errors:
            for container in self.pod.spec.containers:
                self.waiting.setdefault(container.name, self._errors[""][0])
        for name, waiting in plan.waiting.items():
            attempt = self._restarts().get(name, 0)
            if waiting.reason == "CrashLoopBackOff" and self._told_backoff.get(name) != attempt:
                self._told_backoff[name] = attempt
                meta = self.pod.metadata
                text = f"Back-off restarting failed container {name} in pod {meta.name}_{meta.namespace}({self.uid})"
                self._event("Warning", "BackOff", text, name)

    def _publish(self, seen: PodSeen, *, ending: bool = False) -> None:
        """Composes the status, sends it when it differs, and tells when readiness flipped."""
        if self.gone:
            return
        self._read_messages()
        health = self._health(seen)
        ready = frozenset(
            item.name for item in self._all_containers()
            if (found := seen.containers.get(item.name)) is not None and is_ready(
                found.running, item.name in health.started, item.readiness_probe is not None,
                health.results.get((item.name, ProbeType.READINESS), Result.SUCCESS),
            )
        )
        gates = tuple(str(item.get("conditionType")) for item in self.json["spec"].get("readinessGates") or ())
        given = StatusInput(
            self.pod, seen, self._begun_at, self.shared.clock.now(), self.shared.facts.address, ready, health.started,
            self.waiting, self._failed, ending, gates,
        )
        before = {**self.status, "conditions": self._known_conditions()}
        status = pod_status(given, before)
        if status != self.status:
            flipped = _ready(self.status), _ready(status)
            self.status = status
            self.shared.sender.put(self.uid, self.pod.metadata.namespace, self.pod.metadata.name, status)
            if flipped[0] != flipped[1]:
                self._event("Normal", "ContainerReady" if flipped[1] else "ContainerUnready",
                            "The pod is ready" if flipped[1] else "The pod is not ready")
            for item in seen.containers.values():
                if item.running and item.name in health.started and item.name not in ready:
                    self._prober.trigger(item.name)

    def _known_conditions(self) -> list[Json]:
        own = list(self.status.get("conditions") or ())
        types = {item.get("type") for item in own}
        others = (self.json.get("status") or {}).get("conditions") or ()
        return own + [item for item in others if item.get("type") not in types]

    def _read_messages(self) -> None:
        for record in self.shared.view.of_pod(self.uid):
            if record.died_ns is not None or record.exit_known:
                record.message = record.message or termination_message(
                    self.shared.facts, self.uid, record.name, record.attempt
                )

    def died(self, record: Record) -> None:
        """Called at the moment of death."""
        if not record.sandbox and record.died_ns is not None:
            self._event("Normal", "ContainerDied", f"Container {record.name} ended", record.name, record.died_ns)

    def _event(self, kind: str, reason: str, message: str, container: str = "", moment_ns: int | None = None) -> None:
        self.shared.recorder.event(
            self.json, kind, reason, message, field_path=f"spec.containers{{{container}}}" if container else "",
            monotonic_ns=now_ns() if moment_ns is None else moment_ns,
        )

    # --- probes

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            view=self._probe_view, target=self._probe_target, unhealthy=self._unhealthy, changed=self._probe_changed,
            measured=self.shared.measures.probed, kinds=self.shared.kinds, draw=self.shared.draw,
            uptime_s=self.shared.uptime_s, places=self.shared.probe_places,
        )

    def _restore_probes(self, seen: PodSeen) -> None:
        """Once, before anything is decided: what the status said of containers that still run, holds."""
        if self._restored:
            return
        self._restored = True
        told = {
            item["name"]: item for key in ("containerStatuses", "initContainerStatuses")
            for item in self.status.get(key) or ()
        }
        for container in self._all_containers():
            if container in self.pod.spec.init_containers and not is_sidecar(container):
                continue
            self._prober.add(container)
            item, status = seen.containers.get(container.name), told.get(container.name, {})
            if item is not None and item.running and status.get("containerID") == f"docker://{item.id}":
                for kind in probes_of(container):
                    self._prober.workers[container.name, kind].restore(
                        item.id, started=bool(status.get("started")), ready=bool(status.get("ready"))
                    )
        self._prober.begin()

    def _probe_view(self, name: str) -> ContainerView:
        record = self.shared.view.newest(self.uid, name)
        terminal = self.status.get("phase") in ("Succeeded", "Failed")
        if record is None:
            return ContainerView(pod_terminal=terminal, pod_deleting=self.deleting)
        container = self._container(name)
        startup = self._prober.result(name, record.id, ProbeType.STARTUP)
        return ContainerView(
            container_id=record.id, running=record.running,
            started=is_started(record.running, container.startup_probe is not None, startup),
            age_s=now_s() - record.started_s if record.started_s is not None else 0.0,
            never_again=not record.running and self.pod.spec.restart_policy == "Never", pod_terminal=terminal,
            pod_deleting=self.deleting,
        )

    def _probe_target(self, container: Container) -> ProbeTarget | None:
        record, address = self.shared.view.newest(self.uid, container.name), self._address()
        if record is None or not record.running or not address:
            return None
        ports = {port.name: port.container_port for port in container.ports if port.name}
        return ProbeTarget(address, ports, lambda argv, limit: run_inside(self.shared, record, argv, limit))

    def _probe_changed(self, name: str, kind: ProbeType, result: Result) -> None:
        if kind is ProbeType.READINESS:
            self._publish(self.shared.view.seen(self.uid))
        else:
            self.wake()

    def _unhealthy(self, container: Container, kind: ProbeType, sample: Sample) -> None:
        word = {Outcome.FAILURE: "failed", Outcome.ERROR: "errored", Outcome.WARNING: "warning"}[sample.outcome]
        reason = "ProbeWarning" if sample.outcome is Outcome.WARNING else "Unhealthy"
        text = f"{kind.value.capitalize()} probe {word}: {sample.message}"
        self._event("Warning", reason, text, container.name)

    # --- small things

    def _all_containers(self) -> tuple[Container, ...]:
        return (*self.pod.spec.init_containers, *self.pod.spec.containers)

    def _container(self, name: str) -> Container:
        return next(item for item in self._all_containers() if item.name == name)

    def _address(self) -> str:
        return self.shared.view.sandbox_address(self.uid)


def _hashes(pod: Pod) -> dict[str, str]:
    return {item.name: spec_hash(item) for item in (*pod.spec.init_containers, *pod.spec.containers)}


def _ready(status: Mapping[str, Any]) -> bool:
    return any(
        item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or ()
    )
