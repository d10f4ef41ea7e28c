"""What the rest asks of the machine (``Host``): acts on processes, cgroups and namespaces.

It has a real and a simulated implementation that pass one conformance body. All calls are coroutines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from testbed.runtime.containers import ExecResult
from testbed.runtime.usage import GroupUsage, InterfaceUsage


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
