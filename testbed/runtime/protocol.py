"""What the rest asks of a container engine (``Engine``) and of the machine (``Host``).

Both have a real and a simulated implementation that pass one conformance body. All calls are coroutines with a
deadline. Three answers are kept apart: running, gone (NoSuchContainer) and unknown (EngineUnavailable).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Mount:
    """A bind of a host path (``source``), a volume of the engine (a name, without ``/``), or a tmpfs (empty)."""

    target: str
    source: str = ""
    read_only: bool = False
    tmpfs_size_bytes: int = 0


@dataclass(frozen=True)
class PublishedPort:
    container_port: int
    host_port: int
    host_address: str = "127.0.0.1"
    protocol: str = "tcp"


@dataclass(frozen=True)
class Limits:
    """cgroup limits. 0 means none."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0  # per 100 ms
    memory_bytes: int = 0
    pids: int = 0


@dataclass(frozen=True)
class ContainerSpec:
    """All that is asked of the engine for one container. It restarts nothing: we are the supervisor (but see
    ``supervision``).

    ``network``: name of an engine network (then ``address`` is its fixed address), ``container:<id>`` to join a
    sandbox, ``host``, or ``none``. ``command`` replaces the image's entrypoint, ``args`` its arguments; None keeps it.
    """

    name: str
    image: str
    labels: Mapping[str, str]
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    network: str = "none"
    address: str = ""
    hostname: str = ""
    dns_servers: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    pid_mode: str = ""  # "", "host" or "container:<id>"
    own_cgroups: bool = False  # a cgroup namespace: its own group is the root of what it sees
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    cgroup_parent: str = ""
    limits: Limits = field(default_factory=Limits)
    oom_score_adj: int = 0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ("no-new-privileges",)
    sysctls: tuple[tuple[str, str], ...] = ()
    read_only_root: bool = False
    stop_signal: str = ""
    stdin: bool = False
    tty: bool = False
    init: bool = False
    ipc_mode: str = ""
    privileged: bool = False
    devices: tuple[str, ...] = ()  # of the machine, such as /dev/fuse


@dataclass(frozen=True)
class HealthLook:
    """One health check of the engine's own. ``at``: its end."""

    at: datetime | None
    exit_code: int
    output: str


@dataclass(frozen=True)
class HealthState:
    """``status``: starting, healthy or unhealthy. ``looks``: the latest, oldest first."""

    status: str
    looks: tuple[HealthLook, ...] = ()


@dataclass(frozen=True)
class ContainerState:
    """What the engine says of one container. ``status``: created running paused restarting removing exited dead."""

    id: str
    name: str
    labels: Mapping[str, str]
    image: str
    image_id: str
    status: str
    pid: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    address: str = ""
    health: HealthState | None = None  # where the engine checks it

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused")


@dataclass(frozen=True)
class EngineEvent:
    """A hint that something happened: ``action`` create start die oom destroy pause unpause kill ..."""

    action: str
    container_id: str
    labels: Mapping[str, str]
    time_ns: int
    exit_code: int | None = None


@dataclass(frozen=True)
class ExecResult:
    exit_code: int
    output: bytes


@dataclass(frozen=True)
class ContainerUsage:
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class DiskUsage:
    """What went to and from one device. ``reads`` and ``writes``: how often."""

    device: str
    reads: int
    read_bytes: int
    writes: int
    write_bytes: int


@dataclass(frozen=True)
class GroupUsage:
    """What a cgroup has used (CPU, disks, ``oom_kills``) and uses now, with all below it. ``periods``: of its CPU
    quota; ``working_set_bytes``: memory without inactive page cache."""

    cpu_seconds: float
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    periods: int = 0
    throttled_periods: int = 0
    throttled_seconds: float = 0.0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    cache_bytes: int = 0
    mapped_bytes: int = 0
    swap_bytes: int = 0
    oom_kills: int = 0
    threads: int = 0
    disks: tuple[DiskUsage, ...] = ()


@dataclass(frozen=True)
class InterfaceUsage:
    """What came in and went out by one network interface."""

    name: str
    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int


@dataclass(frozen=True)
class ImageState:
    id: str
    tags: tuple[str, ...]
    size_bytes: int
    labels: Mapping[str, str]
    stop_signal: str = ""
    user: str = ""


@dataclass(frozen=True)
class EngineVersion:
    version: str
    api_version: str
    cgroup_version: int
    cgroup_driver: str
    kernel: str


class Engine(Protocol):
    """A container engine. Every call has a deadline and then raises EngineUnavailable."""

    async def version(self) -> EngineVersion: ...

    async def list(self, labels: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]:
        """All containers with these labels, with pid and exit code (as by ``inspect``)."""
        ...

    async def inspect(self, container: str) -> ContainerState:
        """``container``: id or name. Raises: NoSuchContainer."""
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Returns the id. After a time-out the name is looked up, never blindly created again.

        Raises: NameConflict, NoSuchImage, EngineError (the engine's refusal).
        """
        ...

    async def start(self, container: str) -> ContainerState:
        """Returns the state with pid and ``started_at``. Starting twice is harmless."""
        ...

    async def signal(self, container: str, signal: str) -> None:
        """Through the engine: a *person's* kill. Not an error when it has already ended."""
        ...

    async def pause(self, container: str) -> None: ...

    async def unpause(self, container: str) -> None: ...

    async def remove(self, container: str) -> None:
        """Forced, with its anonymous volumes. Not an error when it is gone; returns when it is no longer listed."""
        ...

    async def exec(
        self, container: str, argv: tuple[str, ...], *, timeout_s: float, limit_bytes: int = 10240
    ) -> ExecResult:
        """Runs and waits. Raises: TimeoutError (the process was ended), EngineError (could not be run)."""
        ...

    def exec_stream(self, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> ExecStream:
        """An interactive exec."""
        ...

    def logs(
        self, container: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]: ...

    def events(self, labels: Mapping[str, str]) -> AsyncIterator[EngineEvent]:
        """Never ends by itself: reconnects with an overlapping ``since``. After each (re)connection an event with
        action ``reconnect`` and empty id is given: the receiver lists again. Hints only."""
        ...

    async def usage(self, container: str) -> ContainerUsage: ...

    async def written_bytes(self, container: str) -> int:
        """What it has written into its own file system: the engine looks through it, so this is not asked often.

        Raises: NoSuchContainer.
        """
        ...

    async def update_limits(self, container: str, limits: Limits) -> None: ...

    async def image(self, reference: str) -> ImageState:
        """Raises: NoSuchImage."""
        ...

    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[ImageState, ...]: ...

    async def pull(self, reference: str) -> None:
        """Raises: NoSuchImage when no registry has it or none can be reached."""
        ...

    async def in_registry(self, reference: str) -> bool:
        """Whether the registry that a name begins with has it; nothing is pulled. Raises: EngineError when the registry
        gives no answer."""
        ...

    async def create_network(
        self, name: str, *, subnet: str, gateway: str, bridge: str, labels: Mapping[str, str], ip_range: str = "",
    ) -> str:
        """``ip_range``: out of which the engine itself gives addresses; "" is the whole subnet."""
        ...

    async def networks(self, labels: Mapping[str, str] | None = None) -> tuple[NetworkState, ...]:
        """``labels=None``: all networks of the engine, to find a free range."""
        ...

    async def remove_network(self, name: str) -> None:
        """Not an error when it is gone."""
        ...

    async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> VolumeState:
        """One that is there with these labels is given back. Raises: NameConflict for one with others."""
        ...

    async def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]: ...

    async def remove_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        """With its data. Not an error when it is gone. Raises: EngineError when a container uses it, or it lacks one
        of ``labels``: then it is not ours."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class VolumeState:
    """``mountpoint``: where its data lies on the engine's machine."""

    name: str
    labels: Mapping[str, str]
    mountpoint: str


@dataclass(frozen=True)
class NetworkState:
    id: str
    name: str
    subnets: tuple[str, ...]
    labels: Mapping[str, str]


class ExecStream(Protocol):
    """A running interactive exec. ``async with`` starts and ends it."""

    async def __aenter__(self) -> ExecStream: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, columns: int, rows: int) -> None: ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1 stdout or 2 stderr, bytes) until it ends."""
        ...

    async def exit_code(self) -> int: ...


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same number.

    ``start_ticks``: field 22 of ``/proc/<pid>/stat``.
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class RunResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


class Host(Protocol):
    """Acts on processes, cgroups and namespaces of this machine. In process when root, else through a helper
    container. Refuses anything that is not inside a container or cgroup of this instance."""

    async def identify(self, pid: int) -> ProcessIdentity:
        """Raises: HostError when there is no such process."""
        ...

    async def alive(self, process: ProcessIdentity) -> bool: ...

    async def wait_exit(self, process: ProcessIdentity) -> int:
        """Returns CLOCK_MONOTONIC ns when the process has ended (pidfd). Cancellable."""
        ...

    async def signal(self, process: ProcessIdentity, signal: int) -> None:
        """A *crash*: the engine is not told. Not an error when it has ended."""
        ...

    async def cgroup_of(self, process: ProcessIdentity) -> str:
        """The freezer (v1) or unified (v2) cgroup path, relative to the hierarchy's root."""
        ...

    async def numbers_of(self, pid: int) -> tuple[int, ...]:
        """What a process is called in each pid namespace that it is in, this machine's first.

        Raises: HostError when there is no such process.
        """
        ...

    async def pids_in(self, cgroup: str) -> tuple[int, ...]:
        """Processes in this cgroup and below."""
        ...

    async def memory_in(self, cgroup: str) -> int:
        """Bytes of the working sets of all containers in it (used memory without inactive page cache)."""
        ...

    async def usage_in(self, cgroup: str) -> GroupUsage:
        """Raises: HostError when there is no such cgroup."""
        ...

    async def interfaces_of(self, process: ProcessIdentity) -> tuple[InterfaceUsage, ...]:
        """Of the network that it is in, without its loopback; none when it has ended."""
        ...

    async def create_cgroup(self, cgroup: str) -> None: ...

    async def remove_cgroup(self, cgroup: str) -> None:
        """With everything below it. Not an error when it is gone."""
        ...

    async def join_cgroup(self, cgroup: str, pid: int) -> None:
        """A container's group: in every hierarchy, so that the process counts against its limits."""
        ...

    async def freeze(self, cgroup: str) -> None:
        """Returns when everything in it is stopped."""
        ...

    async def thaw(self, cgroup: str) -> None:
        """Not an error when it is not frozen or gone."""
        ...

    async def frozen(self, cgroup: str) -> bool: ...

    async def kill_cgroup(self, cgroup: str) -> None:
        """SIGKILL to everything in it, until nothing is left. Thaws where it must."""
        ...

    async def run_in(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, namespaces: tuple[str, ...] = ("net",),
        stdin: bytes = b"", timeout_s: float = 5.0,
    ) -> RunResult:
        """Runs a *host* program inside namespaces (net mnt pid ipc uts) of a process."""
        ...

    async def exec_in_container(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None,
        timeout_s: float, limit_bytes: int = 10240,
    ) -> ExecResult:
        """Runs a program *of the container* in all its namespaces, cgroup, user and capabilities, and kills it on
        time-out. Raises: TimeoutError, HostError (could not be run)."""
        ...

    async def run(self, argv: tuple[str, ...], *, timeout_s: float = 5.0) -> RunResult:
        """Runs a network tool (ip, nft, tc, iptables) in the host's own namespace: routes to Services only."""
        ...

    async def close(self) -> None: ...
