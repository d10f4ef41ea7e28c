"""Simulated nodes and the machine room that owns their power and cables (``machines.protocol.MachineRoom``).

A node's agent is the real ``node.Agent`` in a ``SimulatedProcess``: it stands still when its cgroup is frozen, and
is no more when it is killed.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.client.events import EventRecorder
from testbed.core.profile import Profile
from testbed.errors import EngineUnavailable, NotFound
from testbed.machines.cleanup import sweep_containers
from testbed.machines.power import power_off
from testbed.machines.protocol import NodeState, RoomStatus
from testbed.node.agent import Agent
from testbed.node.facts import NodeFacts
from testbed.runtime.protocol import ProcessIdentity
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.runtime.simulated_machine import Process
from testbed.simulation.api import Line, LineClient, SimulatedApi
from testbed.simulation.loop import SimulatedProcess, VirtualLoop

_RESTART_S = 0.3
_BOOT_S = 0.2
_SWEEP_AGAIN_S = 1.0


class SimulatedNode:
    """One node: its power, its cable and its agent, which is started again whenever it dies."""

    def __init__(
        self, loop: VirtualLoop, facts: NodeFacts, machine: SimulatedMachine, api: SimulatedApi, *,
        profile: Profile, clock: WallClock, seed: str,
    ) -> None:
        self._loop = loop
        self.facts, self._machine, self._api = facts, machine, api
        self._profile, self._clock, self._seed = profile, clock, seed
        self.powered = False
        self.cable = Line()
        self.agent: Agent | None = None
        self.process: Process | None = None
        self.boots = self.starts = 0
        self._gate: SimulatedProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._restarts: set[asyncio.TimerHandle] = set()

    @property
    def name(self) -> str:
        return self.facts.name

    def boot(self) -> None:
        self.powered = True
        self.boots += 1
        self._start()

    def _start(self) -> None:
        if not self.powered or (self.process is not None and self.process.alive):
            return
        self.starts += 1
        draw = random.Random(f"{self._seed} {self.name} {self.starts}")
        process = self.process = self._machine.spawn(f"{self.facts.cgroup}/agent", self._signalled)
        gate = self._gate = SimulatedProcess(self._loop, lambda: self._machine.is_frozen(process.cgroup))
        self._machine.thaws.append(gate.thawed)
        client, who = LineClient(self._api, self.cable, draw), f"agent {self.name}"
        facts = NodeFacts(**{**vars(self.facts), "boot_id": f"boot-{self.boots}"})
        self.agent = Agent(
            client, SimulatedEngine(self._machine, who), SimulatedHost(self._machine, facts.instance_id, who), facts,
            self._profile, self._clock, draw, _no_routes,
            recorder=EventRecorder(client, "kubelet", self._clock, host=self.name, random=draw),
        )
        self._task = asyncio.create_task(self.agent.run(), name=f"agent {self.name}", context=gate.context())
        self._machine.log(f"agent {self.name} start")

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGKILL, signal.SIGTERM) and self.process is not None:
            self._machine.log(f"agent {self.name} ends by {int(number)}")
            if self._gate is not None:
                self._gate.dead = True
                self._machine.thaws.remove(self._gate.thawed)
            self._machine.end(self.process)
            self._restarts = {self._machine.later(_RESTART_S, self._start)}

    def crash_agent(self) -> None:
        if self.process is not None:
            self._machine.send_signal(self.process, signal.SIGKILL)

    def set_cable(self, *, cut: bool) -> None:
        self.cable.cut = cut

    def close(self) -> None:
        self.powered = False
        for timer in self._restarts:
            timer.cancel()
        if self._gate is not None:
            self._gate.dead = True


async def _no_routes(process: ProcessIdentity) -> None:
    """The simulated network has no routes."""


class SimulatedRoom:
    """``make``: a new node for a name."""

    def __init__(
        self, machine: SimulatedMachine, instance_id: str, cgroup: str, make: Callable[[str], SimulatedNode]
    ) -> None:
        self._machine, self._id, self._cgroup, self._make = machine, instance_id, cgroup, make
        self._engine = SimulatedEngine(machine, "room")
        self._host = SimulatedHost(machine, instance_id, "room")
        self.nodes: dict[str, SimulatedNode] = {}
        self.leaving: set[str] = set()
        self._heals: dict[str, asyncio.TimerHandle] = {}

    def _node(self, name: str) -> SimulatedNode:
        if name not in self.nodes:
            raise NotFound(f"there is no node {name}")
        return self.nodes[name]

    async def status(self) -> RoomStatus:
        nodes = tuple(
            NodeState(node.name, node.powered, node.cable.cut, node.facts.pod_cidr,
                      node.process.pid if node.process is not None and node.process.alive else 0)
            for node in self.nodes.values()
        )
        return RoomStatus("simulation", self._id, "", 1, 0, (), nodes)

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "") -> str:
        name = name or f"n{len(self.nodes) + 1}"
        self.nodes[name] = self._make(name)
        self.nodes[name].boot()
        return name

    async def remove_node(self, name: str) -> None:
        """The Node object is left to whoever asked, as everything in the API is."""
        self.leaving.add(name)
        await self.set_power(name, on=False)
        while True:
            try:
                await self._sweep(name)
                break
            except EngineUnavailable:
                await asyncio.sleep(_SWEEP_AGAIN_S)
        del self.nodes[name]
        self.leaving.discard(name)

    async def set_power(self, name: str, *, on: bool) -> None:
        await self._machine.by_itself(self._set_power(name, on=on))

    async def _set_power(self, name: str, *, on: bool) -> None:
        node = self._node(name)
        if on and not node.powered:
            await self._sweep(name)
            await asyncio.sleep(_BOOT_S)
            node.boot()
        elif not on and node.powered:
            node.powered = False
            sandboxes = [
                item.process.pid for item in self._machine.containers.values()
                if item.spec.labels.get(labels.NODE) == name and item.running and item.process is not None
                and item.spec.labels.get(labels.ROLE) == labels.ROLE_SANDBOX
            ]
            await power_off(self._host, f"{self._cgroup}/{name}", sandboxes)
        self._machine.log(f"power {name} {'on' if on else 'off'}")

    async def _sweep(self, name: str) -> None:
        await sweep_containers(self._engine, {labels.INSTANCE: self._id, labels.NODE: name})

    async def set_cable(self, name: str, *, cut: bool, deadline_s: float | None = None) -> None:
        node = self._node(name)
        if name in self._heals:
            self._heals.pop(name).cancel()
        node.set_cable(cut=cut)
        self._machine.log(f"cable {name} {'cut' if cut else 'whole'}")
        if cut and deadline_s is not None:
            self._heals[name] = self._machine.later(deadline_s, partial(node.set_cable, cut=False))

    async def stop(self) -> None:
        for timer in self._heals.values():
            timer.cancel()
        for node in self.nodes.values():
            node.close()


def facts_of(name: str, index: int, instance_id: str, directory: Path) -> NodeFacts:
    return NodeFacts(
        name=name, instance_id=instance_id, instance_name="simulation", pod_cidr=f"10.200.{index}.0/24",
        address=f"10.200.{index}.1", network="testbed-simulation", cgroup=f"/testbed-{instance_id}/{name}",
        directory=directory / "nodes" / name, cpu="8", memory="16Gi",
    )
