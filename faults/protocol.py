"""What a fault is to the chaos daemon, and what it may use.

A fault is one small class derived from ``Fault``, registered as an entry point of group ``testbed.faults`` named
``<Kind>/<action>`` (``FreezeChaos`` has no actions: ``FreezeChaos/``). WRITING_A_FAULT.md teaches it. The daemon
calls, in this order: ``prepare`` (looks, changes nothing; its answer, the *plan*, identifies the target for good and
says how to undo; it is on disk before anything is done), ``inject``, ``verify``, and later ``undo`` and ``undone``. All
of them may be called again after a crash: each must be harmless then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from faults.effects import Effect
from faults.node_engines import NodeEngines, NoNodeEngines
from testbed.api.resources import ResourceType
from testbed.client.protocol import Client
from testbed.errors import Mistake, TestbedError
from testbed.machines.protocol import MachineRoom
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

Json = dict[str, Any]
Act = dict[str, Any]  # one thing that a holder process does; see holder.py

SELECTED = "."  # Chaos Mesh's keys of a fault's selections
PEERS = ".Target"


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
    """What one injection hits. ``container`` empty: the whole pod; ``node`` alone: a node; all empty: the cluster.
    ``key``: by which of the fault's selections it was chosen. ``workload``: what a pod belongs to
    (blast_radius.workload_of)."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    node: str = ""
    key: str = SELECTED
    workload: str = ""

    @property
    def id(self) -> str:
        """Chaos Mesh's record id: ``namespace/pod`` or ``namespace/pod/container``; a node's name; ``cluster``."""
        if not self.pod:
            return self.node or "cluster"
        return "/".join(part for part in (self.namespace, self.pod, self.container) if part)


@dataclass(frozen=True)
class Aim:
    """What one injection is about.

    Attributes:
        entry_id: names the injection in the ledger, and everything that is made for it.
        spec: of the fault object.
        chosen: all targets of the fault object, by the selection's key.
        deadline_ns: CLOCK_MONOTONIC by which it is undone; 0 for what cannot be undone.
    """

    entry_id: str
    target: Target
    spec: Mapping[str, Any]
    chosen: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    deadline_ns: int = 0


@dataclass(frozen=True)
class Site:
    """Which cluster this is: the ids by which its containers and cgroups are known, and where its state lies."""

    instance_id: str
    directory: Path
    cgroup: str  # parent of all its nodes' cgroups
    api_url: str = ""
    room_socket: str = ""
    instance_name: str = ""

    def node_cgroup(self, node: str) -> str:
        return f"{self.cgroup}/{node}"


@dataclass(frozen=True)
class Tools:
    """What faults act through."""

    client: Client
    engine: Engine
    host: Host
    room: MachineRoom
    site: Site
    node_engines: NodeEngines = field(default_factory=NoNodeEngines)


@dataclass(frozen=True)
class Drawing:
    """How a fault is shown in timelines and charts: one word and a colour (``#rrggbb``)."""

    word: str
    colour: str


class Fault(ABC):
    """One fault.

    Attributes:
        kind, action: the objects it serves. ``action`` is empty for a kind without actions.
        summary: what happens, in one line.
        level: what one injection hits: "pod", "container", "node" or "cluster". first_container: an object that names
            no containers means the first of each pod, not all.
        fields: JSON schema of its own fields, beside the common ones (crd.py). required: which of them must be there.
        needs: abilities of this machine without which it is refused (abilities.py); ``"netem or nfqueue"``: one of
            them.
        node_kinds: kinds of node on which it can be done, "slice" and "engine"; refused elsewhere (reach.py). What acts
            through the API, the machine room, or this machine's processes and cgroups alone (containers.py) reaches
            the inside of a node with an engine of its own.
        elsewhere: it can be done too where another orchestrator looks after the containers (testbed.supervisors), and
            there is no sandbox, agent or gateway of ours.
        after_restart: "pod" when it stays through restarts of containers, "container" when such a restart cures it,
            "node" and "cluster" accordingly, "never" when there is nothing to stay.
        example: its fields in the smallest object that has an effect which can be seen, for docs and tests.
        drawn: how it is shown.
        left_out: actions of its kind that are refused by name, with the reason.
    """

    kind: ClassVar[ResourceType]
    action: ClassVar[str] = ""
    summary: ClassVar[str]
    level: ClassVar[str]
    first_container: ClassVar[bool] = False
    reversible: ClassVar[bool] = True
    fields: ClassVar[Mapping[str, Json]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    node_kinds: ClassVar[tuple[str, ...]] = ("slice",)
    elsewhere: ClassVar[bool] = False
    after_restart: ClassVar[str]
    example: ClassVar[Json] = {}
    drawn: ClassVar[Drawing]
    left_out: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        return f"{self.kind.kind}/{self.action}"

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        """What is wrong with its own fields, beyond their schema. ``Mistake.field`` is a path from ``spec``."""
        return ()

    def selections(self, spec: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Whom it concerns: key to an object with ``selector``, ``mode`` and ``value``."""
        return {SELECTED: spec}

    def reaches(self, spec: Mapping[str, Any]) -> tuple[str, ...]:
        """Kinds of node on which this object can be carried out."""
        return self.node_kinds

    def held_s(self, spec: Mapping[str, Any]) -> float | None:
        """Seconds until the undo is due, where that is not the object's ``duration`` (None); 0: it is never undone."""
        return None if self.reversible else 0.0

    def in_effect_s(self, plan: Json) -> float | None:
        """Seconds from the verified effect until the undo is due, where that is sooner than ``held_s`` says; None: it
        is not. For what is short and takes its time to begin."""
        return None

    def verify_within_s(self, plan: Json) -> float:
        """How long it may take until ``verify`` succeeds."""
        return 5.0

    @abstractmethod
    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        """Finds the target and says, as JSON, what identifies it and how it was. Raises: TargetGone, Refused."""

    @abstractmethod
    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        """Does it. Raises: TargetGone, TestbedError. ``remaining_s``: seconds until the undo is due."""

    @abstractmethod
    async def verify(self, tools: Tools, plan: Json) -> str:
        """What shows, seen from outside, that it is in effect, in words. Raises: NotInEffect."""

    @abstractmethod
    async def undo(self, tools: Tools, plan: Json) -> None:
        """Takes it back; nothing when there is nothing to take back."""

    @abstractmethod
    async def undone(self, tools: Tools, plan: Json) -> bool:
        """Whether nothing of it is left (also: because the target is gone)."""

    def container_of(self, plan: Json) -> str:
        """Id of the container that the plan is about; empty when it is not about one. Who follows a restart asks."""
        return str(plan.get("container_id") or "")

    def shares(self, plan: Json) -> str:
        """What several injections hold together, where one undo would end it for all: it is then taken back with the
        last of them. Empty: each holds its own."""
        return ""

    def stands_on(self, plan: Json) -> str:
        """Id of a container, not the target's own, that the injection lives in: when that has ended, it is injected
        again. Empty: there is none."""
        return ""

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        """What a holder process does at the deadline when nobody else has; by default it runs the daemon's own undo.
        Empty: no holder is needed."""
        return ({"do": "undo"},)

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        """What a simulated world does while a holder container of this plan runs (effects.py); nothing for a fault
        whose acts the simulated engine, host and room understand themselves."""
        return ()
