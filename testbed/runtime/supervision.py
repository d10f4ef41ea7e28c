"""What is asked of an engine that supervises containers itself: restart policies and health checks.

Our own cluster never asks for it (there the agent is the supervisor); drivers of other orchestrators do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from testbed.runtime.containers import ContainerSpec, ContainerState
from testbed.runtime.protocol import Engine


@dataclass(frozen=True)
class HealthCheck:
    """``argv``: run inside the container, without a shell. ``retries``: failures in a row that make it unhealthy.
    ``start_period_s``: failures in that time after the start do not count."""

    argv: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0


@dataclass(frozen=True)
class SupervisedSpec(ContainerSpec):
    """``restart``: "no", "always", "unless-stopped" or "on-failure". ``aliases``: further names in the network's DNS.
    ``stop_grace_s``: between SIGTERM and SIGKILL of a stop that names no time itself.
    ``anonymous_volumes``: paths that outlive a restart and go with the container."""

    restart: str = "always"
    health: HealthCheck | None = None
    aliases: tuple[str, ...] = ()
    stop_grace_s: int = 10
    anonymous_volumes: tuple[str, ...] = ()


class SupervisingEngine(Engine, Protocol):
    """``create`` also takes a SupervisedSpec."""

    async def look(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """All containers with these labels as they are now, with the health that nobody is told of by an event."""
        ...

    async def stop(self, container: str, grace_s: int) -> None:
        """SIGTERM, after the grace SIGKILL; its restart policy does not bring it back. Not an error when it is gone."""
        ...

    async def restart(self, container: str, grace_s: int) -> None:
        """``stop`` and start. Raises: NoSuchContainer, EngineError."""
        ...

    async def read_file(self, container: str, path: str) -> bytes:
        """A regular file of a container, running or not. Raises: NoSuchContainer, EngineError."""
        ...
