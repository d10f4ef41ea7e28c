"""A machine that exists in memory: its processes, cgroups, containers, images and addresses, on the loop's time.

Decides what happens to a process that is signalled, frozen, thawed or out of time, and what then becomes visible when:
a death is seen at once by who holds the process, and later by the engine and its events. What the engine and the host
*answer* is ``simulated_engine`` and ``simulated_host``. Randomness comes from one seeded source.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.runtime.assets import ImageState, NetworkState, VolumeState
from testbed.runtime.containers import ContainerSpec, ContainerState, Limits, Mount
from testbed.runtime.protocol import EngineEvent
from testbed.runtime.simulated_behaviour import SIGTERM_CODE, Application, argv_of, behaviour_of
from testbed.runtime.simulated_damage import Damage
from testbed.runtime.simulated_files import SimulatedFiles
from testbed.runtime.simulated_process import Program

Result = TypeVar("Result")

IDLE_CPUS = 0.01  # what a container that does nothing keeps busy
EVENT_HISTORY = 256  # moby: daemon/events/events.go eventsLimit

#: Seconds, lower and upper bound, tried on engine 20.10.
LATENCY = {
    "call": (0.001, 0.003), "create": (0.005, 0.009), "sandbox": (0.23, 0.27), "joined": (0.050, 0.080),
    "remove": (0.030, 0.120), "notice": (0.015, 0.030), "event": (0.001, 0.015), "exec": (0.033, 0.048),
    "enter": (0.002, 0.005), "pidfd": (0.0003, 0.0009),
}


@dataclass
class Hiccups:
    """What is wrong with the engine just now. Scenarios set these."""

    silent: bool = False  # no call is answered
    down: bool = False  # connections are refused
    hung: set[str] = field(default_factory=set)  # containers whose calls are not answered
    lost_events: float = 0.0  # ratio
    lost_create_answers: float = 0.0
    failed_start_answers: float = 0.0
    stuck_removals: float = 0.0
    slow: float = 1.0  # factor on every latency


@dataclass
class Process:
    pid: int
    start_ticks: int
    cgroup: str
    ended: asyncio.Future[None]
    on_signal: Callable[[int], None]
    pending: set[int] = field(default_factory=set)  # sent while it was frozen: they wait until it runs again

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    @property
    def pending_kill(self) -> bool:
        return signal.SIGKILL in self.pending


@dataclass
class SimulatedContainer:
    id: str
    spec: ContainerSpec
    image_id: str
    created_at: datetime
    status: str = "created"
    process: Process | None = None
    application: Application | None = None
    program: Program | None = None  # of its own command; None where it runs what its image says
    mounts: tuple[Mount, ...] = ()  # those of the spec, volumes as directories
    files: SimulatedFiles = field(init=False)
    started_s: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    link_up: bool = True
    removing: bool = False
    limits: Limits = field(default_factory=Limits)
    memory_bytes: int = 20 << 20  # working set; scenarios set it
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    logs: list[tuple[datetime, bytes]] = field(default_factory=list)
    signals: list[tuple[float, int, str]] = field(default_factory=list)  # when (loop time), which, by whom
    asked: list[tuple[float, str]] = field(default_factory=list)  # for a signal, in time or not: when, by whom
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.files = SimulatedFiles(self.mounts or self.spec.mounts, read_only=self.spec.read_only_root)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def cgroup(self) -> str:
        return f"{self.spec.cgroup_parent or '/docker'}/{self.id}"

    def state(self) -> ContainerState:
        pid = self.process.pid if self.process is not None and self.status in ("running", "paused") else 0
        return ContainerState(
            id=self.id, name=self.spec.name, labels=dict(self.spec.labels), image=self.spec.image,
            image_id=self.image_id, status="removing" if self.removing else self.status, pid=pid,
            created_at=self.created_at, started_at=self.started_at, finished_at=self.finished_at,
            exit_code=self.exit_code, oom_killed=self.oom_killed, address=self.spec.address,
        )


#: Runs a container's own command to its end.
Main = Callable[["SimulatedMachine", SimulatedContainer, tuple[str, ...]], Coroutine[Any, Any, None]]

#: A script of an image of ours, as the simulation plays it: of which container, with which arguments.
Script = Callable[[Program, SimulatedContainer, list[str]], Coroutine[Any, Any, int]]


class SimulatedMachine:
    def __init__(self, draw: random.Random, clock: WallClock) -> None:
        self.draw = draw
        self.clock = clock
        self.hiccups = Hiccups()
        self.containers: dict[str, SimulatedContainer] = {}
        self.images: dict[str, ImageState] = {}
        self.networks: dict[str, NetworkState] = {}
        self.volumes: dict[str, VolumeState] = {}
        self.volume_directory = Path(tempfile.gettempdir())  # where a world wants them
        self.processes: dict[int, Process] = {}
        self.cgroups: set[str] = set()
        self.frozen: set[str] = set()
        self.history: deque[EngineEvent] = deque(maxlen=EVENT_HISTORY)
        self.readers: list[asyncio.Queue[EngineEvent | None]] = []
        self.log: Callable[[str], None] = lambda line: None
        #: What the machine does by itself belongs to none of the processes that asked for it.
        self.context = contextvars.Context()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.thaws: list[Callable[[], None]] = []  # called after each thaw
        #: An address of a cluster's name, written out in full; empty when there is none.
        self.resolve: Callable[[str], str] = lambda name: ""
        self.exits: list[Callable[[SimulatedContainer, int], None]] = []  # called at each death
        self.damage = Damage()
        self.scripts: dict[str, Script] = {}  # what ``python3 <path>`` runs
        self.starts = self.starting = 0
        self.parallel_starts = math.inf  # how many containers start at once without taking each other's time
        self._next_pid = 1000
        self._next_id = 0
        self._last_ns = 0

    # --- what there is

    def add_image(self, *references: str) -> None:
        for reference in references:
            digest = f"sha256:{abs(hash_text(reference)):064x}"
            self.images[reference] = ImageState(id=digest, tags=(reference,), size_bytes=1, labels={})

    def find(self, name_or_id: str) -> SimulatedContainer | None:
        found = self.containers.get(name_or_id)
        return found or next((item for item in self.containers.values() if item.spec.name == name_or_id), None)

    def registry(self, address: str) -> SimulatedContainer | None:
        """The container that is the registry of this ``host:port``."""
        return next((item for item in self.containers.values()
                     if item.spec.labels.get(labels.REGISTRY) == address), None) if address else None

    def new_id(self) -> str:
        self._next_id += 1
        return f"{self._next_id:08x}{self.draw.getrandbits(224):056x}"

    def mounted(self, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
        """With volumes as the directories that they are. Raises: KeyError for one that is not there."""
        return tuple(
            mount if not mount.source or mount.source.startswith("/")
            else replace(mount, source=self.volumes[mount.source].mountpoint) for mount in mounts
        )

    def users_of(self, volume: str) -> list[SimulatedContainer]:
        return [item for item in self.containers.values() if any(mount.source == volume for mount in item.spec.mounts)]

    def latency_s(self, what: str) -> float:
        low, high = LATENCY[what]
        return self.draw.uniform(low, high) * self.hiccups.slow

    def later(self, delay_s: float, act: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, act, *arguments, context=self.context)

    async def by_itself(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Goes on when whoever asked for it has died."""
        task = asyncio.get_running_loop().create_task(work, context=self.context)
        self.tasks.add(task)
        task.add_done_callback(self._done, context=self.context)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever asked, if anybody still listens

    # --- processes

    def spawn(self, cgroup: str, on_signal: Callable[[int], None]) -> Process:
        loop = asyncio.get_running_loop()
        self._next_pid += 1
        process = Process(self._next_pid, int(loop.time() * 100) + 1, cgroup, loop.create_future(), on_signal)
        self.processes[process.pid] = process
        self.cgroups.add(cgroup)
        return process

    def end(self, process: Process) -> None:
        """The process is no more; whoever holds it sees it within a millisecond."""
        self.processes.pop(process.pid, None)
        if process.alive:
            process.ended.set_result(None)

    def send_signal(self, process: Process, number: int, by: str = "") -> None:
        if not process.alive:
            return
        container = self.container_of(process)
        if container is not None:
            container.signals.append((asyncio.get_running_loop().time(), number, by))
        if self.is_frozen(process.cgroup):
            process.pending.add(number)
            return
        process.on_signal(number)

    def container_of(self, process: Process) -> SimulatedContainer | None:
        return next((item for item in self.containers.values() if item.process is process), None)

    # --- cgroups

    def is_frozen(self, cgroup: str) -> bool:
        return any(self.within(cgroup, frozen) for frozen in self.frozen)

    @staticmethod
    def within(cgroup: str, parent: str) -> bool:
        return cgroup == parent or cgroup.startswith(parent + "/")

    def members(self, cgroup: str) -> list[Process]:
        return [item for item in self.processes.values() if self.within(item.cgroup, cgroup)]

    def thaw(self, cgroup: str) -> None:
        self.frozen.discard(cgroup)
        for process in self.members(cgroup):
            if not self.is_frozen(process.cgroup):
                self._deliver_pending(process)
        for container in list(self.containers.values()):
            if container.running and self.within(container.cgroup, cgroup):
                self._out_of_time(container)
        for listener in self.thaws:
            listener()

    def _deliver_pending(self, process: Process) -> None:
        """SIGKILL first, and nothing after it. A signal that was sent twice comes once, as standard ones do (man 7
        signal)."""
        for number in sorted(process.pending, key=lambda number: (number != signal.SIGKILL, number)):
            if process.alive:
                process.on_signal(number)
        process.pending.clear()

    # --- containers' lives

    def run(self, container: SimulatedContainer, main: Main) -> None:
        """Its program starts. ``main``: runs the command that it was given, where it was given one."""
        loop = asyncio.get_running_loop()
        behaviour = behaviour_of(container.spec)
        container.process = self.spawn(container.cgroup, lambda number: self._signalled(container, number))
        container.application = Application(behaviour, dict(container.spec.env).get("POD_NAME", container.spec.name),
                                            wall_ns=lambda: self.wall_ns(container), draw=self.draw.random)
        container.status, container.exit_code, container.finished_at = "running", 0, None
        container.signals, container.asked = [], []
        container.files.begin()
        container.started_s, container.started_at = loop.time(), self.clock.now()
        self.starts += 1
        if argv := argv_of(container.spec):
            container.task = loop.create_task(main(self, container, argv), context=self.context)
        if behaviour.exit_after_s is not None:
            container.timers.append(self.later(behaviour.exit_after_s, self._out_of_time, container))
        self.emit("start", container)

    def sandbox_of(self, container: SimulatedContainer) -> SimulatedContainer:
        """The one whose network it has joined, or itself."""
        network = container.spec.network
        return (self.find(network[10:]) if network.startswith("container:") else None) or container

    def hostname_of(self, container: SimulatedContainer) -> str:
        """Its own, or its sandbox's."""
        return self.sandbox_of(container).spec.hostname or container.id[:12]

    def address_for(self, container: SimulatedContainer, name: str) -> str:
        """What ``name`` is inside it: an address, or a name of the cluster by its search path. Raises: OSError."""
        if name.replace(".", "").isdigit():
            return name
        sandbox = self.sandbox_of(container)
        # A name with fewer dots than ndots (5) is looked for below the search path first (man 5 resolv.conf).
        for suffix in (*(f".{item}" for item in sandbox.spec.dns_search), ""):
            whole = (name + suffix).lower().rstrip(".")
            if found := self.damage.answer_name(sandbox.id, whole) or self.resolve(whole):
                return found
        raise OSError(f"bad address '{name}'")

    def meet_file(self, container: SimulatedContainer, path: str, methods: tuple[str, ...]) -> float:
        return self.damage.meet_file(container.id, path, methods)

    def write_log(self, container: SimulatedContainer, line: bytes) -> None:
        container.logs.append((self.clock.now(), line))
        container.grown.set()

    def age_s(self, container: SimulatedContainer) -> float:
        return asyncio.get_running_loop().time() - container.started_s

    def wall_ns(self, container: SimulatedContainer) -> int:
        """What its processes read from CLOCK_REALTIME."""
        return int(self.clock.now().timestamp() * 1e6) * 1000 + int(self.damage.offset_s(container.id) * 1e9)

    def _out_of_time(self, container: SimulatedContainer) -> None:
        """Its own end has come; a frozen one ends when it is thawed."""
        behaviour = container.application.behaviour if container.application else None
        if behaviour is None or behaviour.exit_after_s is None or not container.running:
            return
        if self.is_frozen(container.cgroup) or self.age_s(container) < behaviour.exit_after_s - 1e-6:
            return
        self.exit(container, behaviour.exit_code)

    def _signalled(self, container: SimulatedContainer, number: int) -> None:
        application = container.application
        if application is None or not container.running:
            return
        if number in (signal.SIGKILL, signal.SIGABRT, signal.SIGILL):
            self.exit(container, 128 + number)
        elif container.program is not None:
            if not container.program.signalled(number) and container.spec.init:
                self.exit(container, 128 + number)
        elif number == signal.SIGTERM:
            if application.behaviour.drain_s is None or application.draining or application.hung:
                return
            application.draining = True
            timer = self.later(application.behaviour.drain_s, self._drained, container, container.process)
            container.timers.append(timer)

    def _drained(self, container: SimulatedContainer, process: Process | None) -> None:
        if process is not None and container.process is process and container.application is not None:
            if self.is_frozen(container.cgroup):
                process.pending.add(signal.SIGKILL)  # it ends as soon as it runs again
            else:
                self.exit(container, container.application.behaviour.term_code)

    def exit(self, container: SimulatedContainer, code: int, *, oom: bool = False) -> None:
        """Its process ends now; the engine notices a little later."""
        process = container.process
        if process is None or not process.alive:
            return
        for timer in container.timers:
            timer.cancel()
        container.timers.clear()
        if container.task is not None and container.task is not asyncio.current_task():
            container.task.cancel()
        container.task = container.program = None
        self.end(process)
        self.log(f"exit {container.spec.name} {code}")
        for listener in self.exits:
            listener(container, code)
        for other in list(self.containers.values()):  # with its first process a pid namespace ends
            if other.spec.pid_mode == f"container:{container.id}" and other.process is not None:
                self.send_signal(other.process, signal.SIGKILL, "kernel")
        self.later(self.latency_s("notice"), self._noticed, container, process, code, oom)

    def _noticed(self, container: SimulatedContainer, process: Process, code: int, oom: bool) -> None:
        if container.process is not process or container.status == "exited":
            return
        container.status, container.exit_code, container.oom_killed = "exited", code, oom
        container.finished_at = self.clock.now()
        container.grown.set()
        self.emit("die", container, code)

    def drop(self, container: SimulatedContainer) -> None:
        """The engine has forgotten it."""
        if self.containers.pop(container.id, None) is not None:
            container.grown.set()
            self.emit("destroy", container)

    # --- events

    def emit(self, action: str, container: SimulatedContainer, code: int | None = None) -> None:
        self._last_ns = max(self._last_ns + 1, int(self.clock.now().timestamp() * 1e9))
        event = EngineEvent(action, container.id, dict(container.spec.labels), self._last_ns, code)
        self.log(f"{action} {container.spec.name}")
        self.history.append(event)
        for reader in self.readers:
            if self.draw.random() >= self.hiccups.lost_events:
                self.later(self.latency_s("event"), reader.put_nowait, event)

    def break_event_streams(self) -> None:
        """Every stream ends; its reader opens a new one, which replays at most the history."""
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.put_nowait(None)

    # --- the engine's own death

    def crash_engine(self, *, exit_zero: bool = False) -> None:
        """Until ``hiccups.down`` is unset nothing is answered. ``exit_zero``: what dies meanwhile is shown with code 0
        (moby/moby#45800)."""
        self.hiccups.down = True
        self.break_event_streams()
        if exit_zero:
            for container in self.containers.values():
                if container.status == "running" and not container.running:
                    container.status, container.exit_code = "exited", 0

    # --- addresses

    def listener(self, address: str, port: int) -> tuple[str, SimulatedContainer | None]:
        """What a connection meets: ``open`` with who answers, ``refused`` or ``silent`` (also where nobody is)."""
        sandbox = next((
            item for item in self.containers.values() if item.spec.address == address and item.running
        ), None)
        if sandbox is None or not sandbox.link_up:
            return "silent", None
        for container in self._joined(sandbox):
            ports = container.application.behaviour.ports if container.application else ()
            if port in ports and self.age_s(container) >= 0.03:
                return "open", container
        return "refused", None

    def _joined(self, sandbox: SimulatedContainer) -> Iterator[SimulatedContainer]:
        for container in self.containers.values():
            if container.running and (container is sandbox or container.spec.network == f"container:{sandbox.id}"):
                yield container


def hash_text(text: str) -> int:
    """The same in every process (``hash`` is not)."""
    value = 1469598103934665603
    for byte in text.encode():
        value = (value ^ byte) * 1099511628211 % (1 << 64)
    return value


__all__ = [
    "EVENT_HISTORY", "IDLE_CPUS", "LATENCY", "SIGTERM_CODE", "Hiccups", "Process", "SimulatedContainer",
    "SimulatedMachine",
]
