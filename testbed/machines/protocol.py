"""What may be asked of the machine room (``room.py`` serves it on the control socket, ``client.py`` asks).

HTTP over a unix socket (0600), JSON bodies: ``GET /status``; ``POST /nodes`` ``{name?, cpu?, memory?, kind?}``;
``DELETE /nodes/<name>``; ``PUT /nodes/<name>/power`` ``{"on": bool}``;
``PUT /nodes/<name>/cable`` ``{"cut": bool, "deadline_s": float|null, "direction"?, "delay_s"?, "key"?}``;
``PUT /processes/api/down`` ``{"key": str, "down": bool, "deadline_s"?: float}``;
``GET /nodes/<name>/engine``, ``PUT /nodes/<name>/engine`` ``{"key": str, "act": "kill"|"freeze"|"", "deadline_s"?}``;
``POST /stop``.
Errors answer 4xx/5xx with ``{"message", "hint", "exit_code"}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ProcessState:
    """One process of the cluster. ``name``: ``api``, ``chaos``, ``agent-<node>``, ``cable-<node>``, ``gateway``.
    Of a node of kind engine ``agent-<node>`` is process 1 of its container. ``held_down``: the keys of those who keep
    it from being started again."""

    name: str
    pid: int
    running: bool
    restarts: int
    held_down: tuple[str, ...] = ()


@dataclass(frozen=True)
class CableHold:
    """What one ``key`` makes of a cable: silent, or late by ``delay_s``, for what goes "to" the API, "from" it, or
    "both" ways."""

    key: str
    cut: bool
    direction: str
    delay_s: float


@dataclass(frozen=True)
class NodeState:
    """``cable_cut``: in at least one direction."""

    name: str
    powered: bool
    cable_cut: bool
    pod_cidr: str
    agent_pid: int
    cable: tuple[CableHold, ...] = ()
    kind: str = "slice"


@dataclass(frozen=True)
class EngineState:
    """A node's own container engine. ``process``: the state of its process as proc(5) has it, "T" is stopped, "" there
    is none. ``held_by``: the keys of those who keep it so."""

    process: str
    held_by: tuple[str, ...] = ()


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

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "", kind: str = "slice") -> str:
        """Returns the node's name. Its agent registers the Node object itself. ``kind``: "slice" or "engine"."""
        ...

    async def remove_node(self, name: str) -> None:
        """Power off, then forget: containers, cgroup, cable, Node object."""
        ...

    async def set_power(self, name: str, *, on: bool) -> None:
        """Off: every sandbox's link goes down first, then SIGKILL to the agent and all in the node's cgroup, so the
        node is silent on the wire. On: what is left of it is removed, then the agent starts."""
        ...

    async def set_cable(
        self, name: str, *, cut: bool, deadline_s: float | None = None, direction: str = "both", delay_s: float = 0.0,
        key: str = "",
    ) -> None:
        """Cut: nothing passes between agent and API that way; open connections go silent, no RST, and new ones are
        silent altogether. ``direction``: "to" the API, "from" it, "both". ``delay_s``: what passes that way is late.
        ``deadline_s``: seconds from now after which the cable heals by itself. ``key``: who tells it; what several
        tell adds up, and each takes back its own (neither cut nor late)."""
        ...

    async def round_trip_s(self, name: str, *, within_s: float) -> float:
        """Seconds that one exchange with the API takes through the node's cable, on a connection of its own.

        Raises: EnvironmentProblem when there is no answer ``within_s``.
        """
        ...

    async def hold_down(self, process: str, key: str, *, deadline_s: float) -> None:
        """SIGKILL to ``process`` (only ``api``), which is not started again until every key that holds it down has let
        it up, or its time is over. A room that was killed meanwhile still knows."""
        ...

    async def let_up(self, process: str, key: str) -> None:
        """Takes ``hold_down`` back. Harmless when there is nothing to take back."""
        ...

    async def hold_engine(self, name: str, key: str, *, act: str, deadline_s: float) -> None:
        """Of a node of kind engine: its container engine's process gets SIGKILL and stays away ("kill"), or is stopped
        ("freeze"), until every key that holds it so has let it go, or its time is over, whoever has died meanwhile.

        Raises: EnvironmentProblem when the node does not answer, InvalidInput for a node of another kind.
        """
        ...

    async def free_engine(self, name: str, key: str) -> None:
        """Takes ``hold_engine`` back. Harmless when there is nothing to take back. Raises: as ``hold_engine``."""
        ...

    async def engine_state(self, name: str) -> EngineState:
        """Raises: as ``hold_engine``."""
        ...

    async def engine_answers(self, name: str, *, within_s: float) -> bool:
        """Whether the node's engine answers a question, asked at its own socket: the room has no part in it."""
        ...

    async def stop(self) -> None:
        """Takes the whole cluster down and removes exactly what this instance made."""
        ...
