"""What an agent is told about its node and cluster when it starts, and the few things it is handed to act with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from testbed.api.instance import SLICE, memory_directory
from testbed.runtime.host_protocol import ProcessIdentity

PAUSE_IMAGE = "testbed-pause:1"
MAX_PODS = 110

RouteSandbox = Callable[[ProcessIdentity], Awaitable[None]]


class Recorder(Protocol):
    """Writes Events (``testbed.client.events.EventRecorder``). Never blocks, never raises."""

    def event(
        self, obj: Mapping[str, Any], type: str, reason: str, message: str, *, monotonic_ns: int | None = None,
        field_path: str = "", whom: Mapping[str, str] | None = None,
    ) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class NodeFacts:
    """``address``: its own, of the cluster's network. ``directory``: the agent's own files. ``cpu`` and ``memory``:
    capacity as quantities; ``limited``: they are a real limit to which containers are clamped, not just the machine's
    size."""

    name: str
    instance_id: str
    instance_name: str
    pod_cidr: str
    address: str
    network: str
    cgroup: str
    directory: Path
    cpu: str
    memory: str
    limited: bool = False
    kind: str = SLICE
    ephemeral_storage: str = "100Gi"  # its own disk, else the size of the file system that all nodes' volumes are on
    disk_limited: bool = False  # its own: what lies in ``directory`` may not be more
    dns_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    agent_port: int = 0
    runtime_version: str = ""
    kernel_version: str = ""
    architecture: str = "amd64"
    pause_image: str = PAUSE_IMAGE
    boot_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    allow_privileged: bool = False  # containers that ask for it get it

    @property
    def host_path_root(self) -> Path:
        """Below it, and nowhere else, hostPath volumes may lie; all nodes of a cluster share it."""
        return self.directory.parent.parent / "hostpath"

    @property
    def memory_directory(self) -> Path:
        """Where emptyDirs of medium Memory of this node lie."""
        return memory_directory(self.instance_id) / self.name


def now_s() -> float:
    return asyncio.get_running_loop().time()


def now_ns() -> int:
    """Monotonic nanoseconds of now, for the evidence of timelines."""
    return int(asyncio.get_running_loop().time() * 1e9)
