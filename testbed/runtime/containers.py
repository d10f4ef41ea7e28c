"""One container: what is asked of an engine (``ContainerSpec``), and what it answers (``ContainerState``).

Values only. ``protocol`` says how an engine is asked; what a container uses is in ``usage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


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
class ExecResult:
    exit_code: int
    output: bytes
