"""What the rest asks of a container engine (``Engine``).

It has a real and a simulated implementation that pass one conformance body. All calls are coroutines with a deadline.
Three answers are kept apart: running, gone (NoSuchContainer) and unknown (EngineUnavailable). What is asked of the
machine itself is in ``host_protocol``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from testbed.runtime.assets import ImageState, NetworkState, VolumeState
from testbed.runtime.containers import ContainerSpec, ContainerState, ExecResult, Limits
from testbed.runtime.usage import ContainerUsage


@dataclass(frozen=True)
class EngineEvent:
    """A hint that something happened: ``action`` create start die oom destroy pause unpause kill ..."""

    action: str
    container_id: str
    labels: Mapping[str, str]
    time_ns: int
    exit_code: int | None = None


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
