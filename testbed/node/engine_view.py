"""What this agent knows of its containers: the engine's list, corrected by what it saw itself.

The list is the truth; events and pidfds only make it fresher. A process that was seen to end has ended, whatever an
older answer of the engine says. A container is forgotten only when a list that began after our last act on it does
not have it: silence of the engine forgets nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.api.measures import Histogram
from testbed.api.process_logs import about
from testbed.core.pod_seen import ContainerSeen, PodSeen, SandboxSeen
from testbed.errors import EngineError, EngineUnavailable, HostError, NoSuchContainer
from testbed.node.facts import now_s
from testbed.node.record import Record, container_seen
from testbed.runtime.containers import ContainerState
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine, EngineEvent

log = logging.getLogger("testbed.node")
_ROLES = (labels.ROLE_SANDBOX, labels.ROLE_CONTAINER)  # a fault's holder in a pod is not the agent's business
LISTS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_EVENTS = frozenset({"start", "die", "destroy", "pause", "unpause", "restart", "create"})


class EngineView:
    """``wake(uid)``: something of that pod changed. ``on_death(record)``: called once, at the moment it is seen.
    ``lists``, ``list_gaps``: how long the engine's lists took, and how far apart they were begun, in seconds."""

    def __init__(
        self, engine: Engine, host: Host, clock: WallClock, selector: Mapping[str, str],
        wake: Callable[[str], None], on_death: Callable[[Record], None],
    ) -> None:
        self.engine, self.host = engine, host
        self._clock, self._selector = clock, dict(selector)
        self._wake, self._on_death = wake, on_death
        self.records: dict[str, Record] = {}
        self._by_pod: dict[str, dict[str, Record]] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self.listed_s: float | None = None
        self.lists, self.list_gaps = Histogram(LISTS_S), Histogram(LISTS_S)

    # --- learning

    async def relist(self) -> None:
        """Raises: EngineUnavailable; then nothing has changed."""
        begun = now_s()
        states = await self.engine.list(self._selector)
        self.lists.observe(now_s() - begun)
        if self.listed_s is not None:
            self.list_gaps.observe(begun - self.listed_s)
        present = {state.id for state in states}
        for state in states:
            if state.labels.get(labels.ROLE) in _ROLES:
                self.learn(state, begun)
        for record in list(self.records.values()):
            if record.id not in present and record.touched_s < begun:
                self._forget(record)
        self.listed_s = begun

    def learn(self, state: ContainerState, asked_s: float | None = None) -> Record:
        """Takes in one answer of the engine. ``asked_s``: when it was asked; older than our last act, it is stale."""
        moment = now_s()
        record = self.records.get(state.id)
        new = record is None
        if record is None:
            record = Record(state, moment)
            self.records[state.id] = record
            self._by_pod.setdefault(record.uid, {})[record.id] = record
        elif asked_s is not None and asked_s < record.touched_s and not state.running:
            if record.running:
                return record
        elif record.died_ns is not None and state.running:
            if record.process is None or state.pid == record.process.pid or not state.pid:
                return record  # the engine has not noticed yet
            record.died_ns, record.process, record.exit_known = None, None, False  # a person started it again
            record.message, record.message_read = "", False
        changed = new or _differs(record, state)
        record.state = state
        if asked_s is None:
            record.touched_s = moment
        self._date(record)
        if changed:
            self._wake(record.uid)
        if record.running and record.id not in self._watchers and state.pid:
            self._watch(record)
        return record

    def _date(self, record: Record) -> None:
        """Monotonic times of what the engine tells in wall time."""
        state, moment, wall = record.state, now_s(), self._clock.now()
        if record.started_s is None and state.started_at is not None:
            record.started_s = moment - max(0.0, (wall - state.started_at).total_seconds())
        if state.status in ("exited", "dead") or (state.status == "created" and not record.never_started):
            record.exit_known = True
            if record.finished_s is None:
                finished = state.finished_at or wall
                record.finished_s = moment - max(0.0, (wall - finished).total_seconds())
            record.finished_at = state.finished_at or record.finished_at or wall

    async def refresh(self, container: str) -> Record | None:
        """Asks the engine about one container now; None when it is gone.

        Raises: EngineUnavailable.
        """
        begun = now_s()
        try:
            return self.learn(await self.engine.inspect(container), begun)
        except NoSuchContainer:
            record = self.records.get(container)
            if record is not None and record.touched_s < begun:
                self._forget(record)
            return None

    def on_event(self, event: EngineEvent) -> None:
        """A hint: an ended container is marked at once, everything else is looked up."""
        if event.action not in _EVENTS or not event.container_id or event.labels.get(labels.ROLE) not in _ROLES:
            return
        record = self.records.get(event.container_id)
        if event.action == "destroy":
            if record is not None:
                self._forget(record)
            return
        if event.action == "die" and record is not None and record.running and not self._watched(record):
            self._died(record, int(now_s() * 1e9))
        task = asyncio.get_running_loop().create_task(self._look(event.container_id))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    def _watched(self, record: Record) -> bool:
        return record.process is not None and record.id in self._watchers

    async def _look(self, container: str) -> None:
        try:
            await self.refresh(container)
        except (EngineUnavailable, EngineError) as error:
            log.info("container %s not looked up: %s", container[:12], error.message,
                     extra=about(container_id=container))

    # --- seeing death

    def _watch(self, record: Record) -> None:
        task = asyncio.get_running_loop().create_task(self._wait(record))
        self._watchers[record.id] = task
        task.add_done_callback(lambda done: self._watchers.pop(record.id, None))

    async def _wait(self, record: Record) -> None:
        """Without a process to hold (a host that cannot), events and lists are what is left."""
        try:
            record.process = await self.host.identify(record.state.pid)
            record.cgroup = await self.host.cgroup_of(record.process)
            self._wake(record.uid)
            died_ns = await self.host.wait_exit(record.process)
        except HostError:
            await self._look(record.id)
            return
        self._died(record, died_ns)

    def _died(self, record: Record, died_ns: int) -> None:
        if record.died_ns is not None:
            return
        moment = now_s()
        record.died_ns, record.finished_s = died_ns, min(moment, died_ns / 1e9)
        record.finished_at = self._clock.now() - timedelta(seconds=max(0.0, moment - died_ns / 1e9))
        record.touched_s = moment
        self._wake(record.uid)  # first: the start of the next container must not wait for what is told
        self._on_death(record)

    def _forget(self, record: Record) -> None:
        self.records.pop(record.id, None)
        of_pod = self._by_pod.get(record.uid, {})
        of_pod.pop(record.id, None)
        if not of_pod:
            self._by_pod.pop(record.uid, None)
        watcher = self._watchers.get(record.id)
        if watcher is not None:
            watcher.cancel()
        self._wake(record.uid)

    # --- telling

    def of_pod(self, uid: str) -> list[Record]:
        """Newest attempt last."""
        found = self._by_pod.get(uid, {}).values()
        return sorted(found, key=lambda record: (record.attempt, record.id))

    def uids(self) -> set[str]:
        return {uid for uid in self._by_pod if uid}

    @property
    def unsettled(self) -> bool:
        """Whether the engine still owes an answer about something that was seen here."""
        return any(record.died_ns is not None and not record.exit_known for record in self.records.values())

    def newest(self, uid: str, name: str) -> Record | None:
        """The container of that name that was started last."""
        found: Record | None = None
        for record in self._by_pod.get(uid, {}).values():
            if record.name == name and not record.never_started and (found is None or record.attempt > found.attempt):
                found = record
        return found

    def sandbox_address(self, uid: str) -> str:
        """Of the running sandbox, or the one before it."""
        best: Record | None = None
        for record in self._by_pod.get(uid, {}).values():
            newer = best is None or (record.running, record.attempt) > (best.running, best.attempt)
            if record.sandbox and newer:
                best = record
        return (best.state.labels.get(labels.POD_IP) or best.state.address) if best is not None else ""

    def seen(self, uid: str) -> PodSeen:
        sandbox: SandboxSeen | None = None
        containers: dict[str, ContainerSeen] = {}
        previous: dict[str, ContainerSeen] = {}
        for record in self.of_pod(uid):
            if record.sandbox:
                if sandbox is None or record.running or not sandbox.running:
                    address = record.state.labels.get(labels.POD_IP) or record.state.address
                    sandbox = SandboxSeen(record.id, record.attempt, record.running, address)
            elif not record.never_started:
                if record.name in containers:
                    previous[record.name] = containers[record.name]
                containers[record.name] = container_seen(record)
        return PodSeen(sandbox, containers, previous)

    def spare(self, uid: str, name: str) -> Record | None:
        """A container of that name that was made in advance and not started."""
        for record in reversed(self.of_pod(uid)):
            if record.name == name and not record.sandbox and record.never_started and record.died_ns is None:
                return record
        return None

    async def close(self) -> None:
        tasks = [*self._watchers.values(), *self._looks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _differs(record: Record, state: ContainerState) -> bool:
    old = record.state
    return (old.status, old.exit_code, old.pid, record.exit_known) != (
        state.status, state.exit_code, state.pid, record.exit_known or state.status in ("exited", "dead"),
    )
