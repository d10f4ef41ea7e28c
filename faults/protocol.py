"""What a fault is to the chaos daemon, and what it may use.

A fault is one small class behind ``Injector``, registered as an entry point ``testbed.faults`` named
``<Kind>/<action>`` (``FreezeChaos`` has no actions: ``FreezeChaos/``). The daemon calls, in this order: ``prepare``
(looks, changes nothing; its answer, the *plan*, identifies the target for good and says how to undo; it is on disk
before anything is done), ``inject``, ``verify``, and later ``undo`` and ``undone``. All of them may be called again
after a crash: each must be harmless then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from testbed.client.protocol import Client
from testbed.errors import TestbedError
from testbed.machines.protocol import MachineRoom
from testbed.runtime.protocol import ContainerState, ProcessIdentity

Json = dict[str, Any]
Act = dict[str, Any]  # one thing that a holder does; see holder.py


class TargetGone(TestbedError):
    """The target does not exist (any more): nothing to break, and nothing to mend."""

    exit_code = 6


class NotInEffect(TestbedError):
    """The injection was made, and what it should do cannot be seen."""

    exit_code = 6


class Refused(TestbedError):
    """A fault that must not be injected; trying again does not help."""

    exit_code = 3


@dataclass(frozen=True)
class Target:
    """What one injection hits. ``container`` empty: the whole pod; ``node`` alone: a node."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    node: str = ""

    @property
    def id(self) -> str:
        """Chaos Mesh's record id: ``namespace/pod`` or ``namespace/pod/container``; a node's name."""
        if not self.pod:
            return self.node
        return "/".join(part for part in (self.namespace, self.pod, self.container) if part)


class ContainerLister(Protocol):
    """The part of an Engine that faults need."""

    async def list(self, labels: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]: ...


class HostActs(Protocol):
    """The part of a Host that faults need."""

    async def identify(self, pid: int) -> ProcessIdentity: ...

    async def alive(self, process: ProcessIdentity) -> bool: ...

    async def wait_exit(self, process: ProcessIdentity) -> int: ...

    async def signal(self, process: ProcessIdentity, signal: int) -> None: ...

    async def cgroup_of(self, process: ProcessIdentity) -> str: ...

    async def freeze(self, cgroup: str) -> None: ...

    async def thaw(self, cgroup: str) -> None: ...

    async def frozen(self, cgroup: str) -> bool: ...


@dataclass(frozen=True)
class Site:
    """Which cluster this is: the ids by which its containers and cgroups are known, and where its state lies."""

    instance_id: str
    directory: Path
    cgroup: str  # parent of all its nodes' cgroups
    api_url: str = ""
    room_socket: str = ""

    def node_cgroup(self, node: str) -> str:
        return f"{self.cgroup}/{node}"


@dataclass(frozen=True)
class Tools:
    """What injectors act through."""

    client: Client
    engine: ContainerLister
    host: HostActs
    room: MachineRoom
    site: Site


class Injector(Protocol):
    """One fault."""

    reversible: bool
    level: str  # what it hits: "pod", "container" or "node"

    def verify_within_s(self, plan: Json) -> float:
        """How long it may take until ``verify`` succeeds."""
        ...

    async def prepare(self, tools: Tools, target: Target, spec: Mapping[str, Any]) -> Json:
        """Finds the target and says, as JSON, what identifies it and how it was. Raises: TargetGone, Refused."""
        ...

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        """Does it. Raises: TargetGone, TestbedError. ``remaining_s``: seconds until the undo is due."""
        ...

    async def verify(self, tools: Tools, plan: Json) -> str:
        """What shows that it is in effect, in words. Raises: NotInEffect."""
        ...

    async def undo(self, tools: Tools, plan: Json) -> None:
        """Takes it back; nothing when there is nothing to take back."""
        ...

    async def undone(self, tools: Tools, plan: Json) -> bool:
        """Whether nothing of it is left (also: because the target is gone)."""
        ...

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        """What a holder does at the deadline when nobody else has; empty: no holder is needed."""
        ...
