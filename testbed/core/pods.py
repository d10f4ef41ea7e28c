"""What to do for one pod on its node now: make its sandbox, start, restart or stop containers, or end it.

In: the pod's spec, what is seen of it, its probe results, its back-offs, now. Out: a plan with typed reasons and the
moment to look again. Status is ``pod_status``, graces are ``termination``; carrying out is ``node/worker.py``.
Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go computePodActions, kuberuntime_container.go
computeInitContainerActions, pkg/kubelet/container/helpers.go ShouldContainerBeRestarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from testbed.api.core_v1 import Container, PodSpec
from testbed.core.backoff import BackoffEntry, BackoffRule, advanced, remaining_s
from testbed.core.pod_seen import ContainerSeen, Life, PodSeen
from testbed.core.probing import ProbeType, Result
from testbed.core.termination import StopCause, waits_for


@dataclass(frozen=True)
class PodWant:
    """``hashes``: of each container's spec. ``restarts``: restart counts told in the status so far. ``init_done``:
    init containers that the status says completed in this sandbox. ``terminal``: it has ended or is condemned, then
    ``end_cause`` is why what still runs is stopped."""

    name: str
    spec: PodSpec
    hashes: Mapping[str, str]
    restarts: Mapping[str, int] = field(default_factory=dict)
    init_done: frozenset[str] = frozenset()
    deleting: bool = False
    terminal: bool = False
    end_cause: StopCause = StopCause.ENDED
    active_s: float | None = None


@dataclass(frozen=True)
class Health:
    """Published probe results of the *current* containers, and which of them count as started."""

    results: Mapping[tuple[str, ProbeType], Result] = field(default_factory=dict)
    started: frozenset[str] = frozenset()

    def failed(self, name: str, kind: ProbeType) -> bool:
        return self.results.get((name, kind)) is Result.FAILURE


@dataclass(frozen=True)
class CreateSandbox:
    attempt: int
    changed: bool  # there was one before


@dataclass(frozen=True)
class RemoveSandbox:
    id: str


@dataclass(frozen=True)
class StartContainer:
    """``backoff``: the entry to remember once it was started; None changes nothing."""

    name: str
    attempt: int
    backoff: BackoffEntry | None = None


@dataclass(frozen=True)
class StopContainer:
    """``after``: names of those that must have ended before it is asked to end."""

    name: str
    id: str
    cause: StopCause
    message: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class AskExitCode:
    """The decision needs the exit code, which only the engine knows."""

    name: str
    id: str


@dataclass(frozen=True)
class FailPod:
    reason: str
    message: str


@dataclass(frozen=True)
class RemovePod:
    """Everything of a deleted pod has ended: remove what is left of it, then its object."""


Action = CreateSandbox | RemoveSandbox | StartContainer | StopContainer | AskExitCode | FailPod | RemovePod


@dataclass(frozen=True)
class Waiting:
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Plan:
    """``waiting``: why a container does not run. ``look_again_s``: monotonic seconds, None is "when woken"."""

    actions: tuple[Action, ...] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    look_again_s: float | None = None


def is_sidecar(container: Container) -> bool:
    return container.restart_policy == "Always"


def decide(
    want: PodWant, seen: PodSeen, health: Health, backoffs: Mapping[str, BackoffEntry], rule: BackoffRule, now_s: float,
) -> Plan:
    """The plan for a pod. Repeating it on the same values gives the same plan."""
    if want.deleting:
        return _ending(want, seen, StopCause.DELETED) or Plan((RemovePod(),))
    if want.terminal:
        return _ending(want, seen, want.end_cause) or _drop_sandbox(seen)
    limit = want.spec.active_deadline_seconds
    if limit is not None and want.active_s is not None and want.active_s >= limit:
        return Plan((FailPod("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),))
    plan = _living(want, seen, health, backoffs, rule, now_s)
    if limit is not None and want.active_s is not None:
        due = now_s + limit - want.active_s
        plan = replace(plan, look_again_s=due if plan.look_again_s is None else min(due, plan.look_again_s))
    return plan


def _living(
    want: PodWant, seen: PodSeen, health: Health, backoffs: Mapping[str, BackoffEntry], rule: BackoffRule, now_s: float,
) -> Plan:
    if seen.sandbox is None or not seen.sandbox.running:
        return _new_sandbox(want, seen)
    draft = _Draft(want, seen, health, backoffs, rule, now_s)
    if draft.init():
        draft.regular()
    if want.spec.restart_policy != "Always" and not draft.actions and draft.regular_done():
        return _ending(want, seen, StopCause.ENDED) or Plan()  # only sidecars are left
    return draft.plan()


def _new_sandbox(want: PodWant, seen: PodSeen) -> Plan:
    """The sandbox is not there or its process has ended: everything in it has lost its network."""
    begun = bool(seen.containers or want.restarts)
    if begun and want.spec.restart_policy == "Never":
        return _ending(want, seen, StopCause.SANDBOX) or Plan()
    regular = [seen.containers.get(item.name) for item in want.spec.containers]
    if want.spec.restart_policy == "OnFailure" and regular and all(
        item is not None and item.exited and item.exit_code == 0 for item in regular
    ):
        return Plan()
    stops = tuple(
        StopContainer(item.name, item.id, StopCause.SANDBOX, "Pod sandbox changed, it will be killed and re-created.",
                      waits_for(want.spec, item.name))
        for item in seen.containers.values() if item.running and not item.stopping
    )
    if any(item.running for item in seen.containers.values()):
        return Plan(stops)
    attempt = seen.sandbox.attempt + 1 if seen.sandbox is not None else 0
    return Plan((CreateSandbox(attempt, seen.sandbox is not None or begun),))


def _ending(want: PodWant, seen: PodSeen, cause: StopCause) -> Plan | None:
    """Stops all that still runs at once, each to be asked in its turn. None: all ended."""
    running = [item for item in seen.containers.values() if item.running]
    if not running:
        return None
    return Plan(tuple(
        StopContainer(item.name, item.id, cause, f"Stopping container {item.name}", waits_for(want.spec, item.name))
        for item in running if not item.stopping
    ))


def _drop_sandbox(seen: PodSeen) -> Plan:
    return Plan((RemoveSandbox(seen.sandbox.id),)) if seen.sandbox is not None and seen.sandbox.running else Plan()


class _Draft:
    """A plan in the making."""

    def __init__(
        self, want: PodWant, seen: PodSeen, health: Health, backoffs: Mapping[str, BackoffEntry], rule: BackoffRule,
        now_s: float,
    ) -> None:
        self.want, self.seen, self.health = want, seen, health
        self.backoffs, self.rule, self.now_s = backoffs, rule, now_s
        self.actions: list[Action] = []
        self.waiting: dict[str, Waiting] = {}
        self.look_again_s: float | None = None

    def plan(self) -> Plan:
        return Plan(tuple(self.actions), self.waiting, self.look_again_s)

    # --- init containers

    def init(self) -> bool:
        """Plans init containers in order. True when regular containers may run."""
        begun = any(self._here(item) is not None for item in self.want.spec.containers)
        for container in self.want.spec.init_containers:
            if is_sidecar(container):
                if not self._sidecar(container, begun):
                    return False
            elif not begun and not self._init_step(container):
                return False
        return True

    def _here(self, container: Container) -> ContainerSeen | None:
        """Its newest instance in this sandbox: with a new sandbox everything begins again."""
        item, sandbox = self.seen.containers.get(container.name), self.seen.sandbox
        return item if item is not None and sandbox is not None and item.sandbox == sandbox.id else None

    def _sidecar(self, container: Container, begun: bool) -> bool:
        if begun and self.regular_done():
            return True  # not restarted any more; ends with the pod
        item = self.seen.containers.get(container.name)
        if item is None or not item.running:
            self._start_or_wait(container, item, "Always")
            return begun
        self._check_running(container, item, "Always")
        return begun or container.name in self.health.started

    def _init_step(self, container: Container) -> bool:
        """True when this one has completed."""
        item = self._here(container)
        if item is None:
            if container.name in self.want.init_done and container.name not in self.seen.containers:
                return True
            self._start_or_wait(container, None, self.want.spec.restart_policy)
            return False
        if item.running:
            return False
        if item.exited and item.exit_code is None:
            self.actions.append(AskExitCode(item.name, item.id))
            return False
        if item.exited and item.exit_code == 0:
            return True
        if item.exited and self.want.spec.restart_policy == "Never":
            return False  # the pod has failed; pod_status says so
        self._start_or_wait(container, item, "Always")
        return False

    def regular_done(self) -> bool:
        return all(
            (item := self.seen.containers.get(container.name)) is not None and item.exited
            and item.exit_code is not None and not _restarts(self.want.spec.restart_policy, item)
            for container in self.want.spec.containers
        )

    # --- regular containers

    def regular(self) -> None:
        policy = self.want.spec.restart_policy
        for container in self.want.spec.containers:
            item = self.seen.containers.get(container.name)
            if item is not None and item.running:
                self._check_running(container, item, policy)
            elif item is None and policy == "Never" and container.name in self.want.restarts:
                continue  # it ran and was lost with its node
            elif item is None or item.life is Life.CREATED:
                self._start_or_wait(container, item, policy)
            elif policy == "OnFailure" and item.exit_code is None and not item.restart_anyway:
                self.actions.append(AskExitCode(item.name, item.id))
            elif _restarts(policy, item) or self._changed(container, item):
                self._start_or_wait(container, item, policy)

    def _changed(self, container: Container, item: ContainerSeen) -> bool:
        return item.spec_hash != self.want.hashes[container.name]

    def _check_running(self, container: Container, item: ContainerSeen, policy: str) -> None:
        if item.stopping:
            return
        name = container.name
        tail = "will be restarted" if policy != "Never" else "will be killed"
        if self._changed(container, item):
            message = f"Container {name} definition changed, will be restarted"
            self.actions.append(StopContainer(name, item.id, StopCause.CHANGED, message))
        elif self.health.failed(name, ProbeType.LIVENESS):
            message = f"Container {name} failed liveness probe, {tail}"
            self.actions.append(StopContainer(name, item.id, StopCause.LIVENESS, message))
        elif self.health.failed(name, ProbeType.STARTUP):
            message = f"Container {name} failed startup probe, {tail}"
            self.actions.append(StopContainer(name, item.id, StopCause.STARTUP, message))

    def _start_or_wait(self, container: Container, item: ContainerSeen | None, policy: str) -> None:
        name = container.name
        known = self.want.restarts.get(name, -1)
        if item is None or item.life is Life.CREATED:
            attempt = max(known + 1, item.attempt if item is not None else 0)
            self.actions.append(StartContainer(name, attempt, _counted(self.backoffs.get(name), attempt)))
            return
        attempt = max(item.attempt, known) + 1
        entry = self.backoffs.get(name)
        finished_s = self._backoff_base_s(item, entry)
        if finished_s is None:
            self.actions.append(StartContainer(name, attempt, _counted(entry, attempt)))
            return
        left_s = remaining_s(self.rule, entry, finished_s, self.now_s)
        if left_s > 0 and entry is not None:
            self.waiting[name] = Waiting(
                "CrashLoopBackOff",
                f"back-off {_duration(entry.delay_s)} restarting failed container={name} pod={self.want.name}",
            )
            due = self.now_s + left_s
            self.look_again_s = due if self.look_again_s is None else min(due, self.look_again_s)
            return
        self.actions.append(StartContainer(
            name, attempt, advanced(self.rule, entry, finished_s, self.now_s, attempt)
        ))

    def _backoff_base_s(self, item: ContainerSeen, entry: BackoffEntry | None) -> float | None:
        """The end that back-off counts from. For a container that we ended ourselves it is the end of the one before
        it (upstream kills and starts in one sync, with the status read before it); None: no back-off at all.

        An end that lies before the restart which led to it cannot be: the engine tells it in wall time, and the wall
        clock has jumped. It counts from when we learned of it, which errs on the side of waiting."""
        if not item.restart_anyway:
            finished_s = item.finished_s if item.finished_s is not None else self.now_s
            impossible = entry is not None and finished_s < entry.updated_s
            return item.learned_s if impossible and item.learned_s is not None else finished_s
        before = self.seen.previous.get(item.name)
        return before.finished_s if before is not None else None


def _restarts(policy: str, item: ContainerSeen) -> bool:
    """Whether an ended container is started again. An exit code that is not known yet does not matter to Always."""
    if policy == "Never":
        return False
    if item.restart_anyway or policy == "Always":
        return True
    return item.exit_code is None or item.exit_code != 0


def _counted(entry: BackoffEntry | None, attempt: int) -> BackoffEntry | None:
    """A start that is no crash: the wait stays as it is, and the entry knows of the container."""
    return replace(entry, attempt=max(entry.attempt, attempt)) if entry is not None else None


def _duration(seconds: float) -> str:
    """``10s``, ``1m20s``, ``5m0s`` as Go prints durations."""
    whole = int(seconds)
    if seconds < 60:
        return f"{seconds:g}s"
    return f"{whole // 60}m{whole % 60}s"
