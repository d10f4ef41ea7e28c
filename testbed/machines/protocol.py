"""What may be asked of the machine room (``room.py`` serves it on the control socket, ``client.py`` asks).

HTTP over a unix socket (0600), JSON bodies: ``GET /status``; ``POST /nodes`` ``{name?, cpu?, memory?}``;
``DELETE /nodes/<name>``; ``PUT /nodes/<name>/power`` ``{"on": bool}``;
``PUT /nodes/<name>/cable`` ``{"cut": bool, "deadline_s": float|null}``; ``POST /stop``.
Errors answer 4xx/5xx with ``{"message", "hint", "exit_code"}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ProcessState:
    """One process of the cluster. ``name``: ``api``, ``chaos``, ``agent-<node>``, ``cable-<node>``, ``gateway``."""

    name: str
    pid: int
    running: bool
    restarts: int


@dataclass(frozen=True)
class NodeState:
    name: str
    powered: bool
    cable_cut: bool
    pod_cidr: str
    agent_pid: int


@dataclass(frozen=True)
class RoomStatus:
    name: str
    id: str
    profile: str
    room_pid: int
    api_port: int
    processes: tuple[ProcessState, ...]
    nodes: tuple[NodeState, ...]
    ingress_ports: tuple[int, ...] = ()


class MachineRoom(Protocol):
    """The physical world of a cluster. Every call may be repeated without harm."""

    async def status(self) -> RoomStatus: ...

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "") -> str:
        """Returns the node's name. Its agent registers the Node object itself."""
        ...

    async def remove_node(self, name: str) -> None:
        """Power off, then forget: containers, cgroup, cable, Node object."""
        ...

    async def set_power(self, name: str, *, on: bool) -> None:
        """Off: every sandbox's link goes down first, then SIGKILL to the agent and all in the node's cgroup, so the
        node is silent on the wire. On: what is left of it is removed, then the agent starts."""
        ...

    async def set_cable(self, name: str, *, cut: bool, deadline_s: float | None = None) -> None:
        """Cut: nothing passes between agent and API in either direction; open connections go silent, no RST.
        ``deadline_s``: seconds from now after which the cable heals by itself."""
        ...

    async def stop(self) -> None:
        """Takes the whole cluster down and removes exactly what this instance made."""
        ...
