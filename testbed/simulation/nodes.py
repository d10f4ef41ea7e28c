"""Simulated nodes and the machine room that owns their power and cables (``machines.protocol.MachineRoom``).

A node's agent is the real ``node.Agent`` in a ``SimulatedProcess``: it stands still when its cgroup is frozen, and
is no more when it is killed.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.client.events import EventRecorder
from testbed.core.profile import Profile
from testbed.errors import ApiError, EngineUnavailable, EnvironmentProblem, InvalidInput, NotFound
from testbed.machines.cleanup import sweep_containers
from testbed.machines.power import power_off
from testbed.machines.protocol import CableHold, EngineState, NodeState, ProcessState, RoomStatus
from testbed.node.agent import Agent
from testbed.node.facts import NodeFacts
from testbed.runtime.host_protocol import ProcessIdentity
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.runtime.simulated_machine import Process
from testbed.simulation.api import LineClient, SimulatedApi
from testbed.simulation.engines import OwnEngine
from testbed.simulation.line import Line, told
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
        self.engine = OwnEngine(machine, facts.name)
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
            client, SimulatedEngine(self._machine, who, self.engine.hiccups),
            SimulatedHost(self._machine, facts.instance_id, who), facts, self._profile, self._clock, draw, _no_routes,
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

    def set_cable(self, hold: CableHold) -> None:
        """What neither cuts nor delays takes back what its key told before."""
        self.cable.holds.pop(hold.key, None)
        if hold.cut or hold.delay_s:
            self.cable.holds[hold.key] = hold

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
        self, machine: SimulatedMachine, instance_id: str, cgroup: str, make: Callable[[str], SimulatedNode],
        api: SimulatedApi,
    ) -> None:
        self._machine, self._id, self._cgroup, self._make, self._api = machine, instance_id, cgroup, make, api
        api.died = self._api_died
        self._engine = SimulatedEngine(machine, "room")
        self._host = SimulatedHost(machine, instance_id, "room")
        self.nodes: dict[str, SimulatedNode] = {}
        self.leaving: set[str] = set()
        self._heals: dict[tuple[str, str], asyncio.TimerHandle] = {}  # by node and key
        self._down: dict[str, asyncio.TimerHandle] = {}  # by key: who holds the API down
        self._restarts = 0
        self._over = False

    def _node(self, name: str) -> SimulatedNode:
        if name not in self.nodes:
            raise NotFound(f"there is no node {name}")
        return self.nodes[name]

    async def status(self) -> RoomStatus:
        nodes = tuple(
            NodeState(node.name, node.powered, node.cable.cut, node.facts.pod_cidr,
                      node.process.pid if node.process is not None and node.process.alive else 0,
                      told(node.cable.holds), node.facts.kind)
            for node in self.nodes.values()
        )
        kernel = self._api.in_kernel
        api = ProcessState("api", kernel.pid if kernel is not None else 0, kernel is not None and kernel.alive,
                           self._restarts, tuple(sorted(self._down)))
        return RoomStatus("simulation", self._id, "", 1, 0, (api,), nodes)

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "", kind: str = "slice") -> str:
        name = name or f"n{len(self.nodes) + 1}"
        node = self.nodes[name] = self._make(name)
        if kind != node.facts.kind:
            node.facts = replace(node.facts, kind=kind, labels={**node.facts.labels, labels.NODE_KIND: kind})
        node.boot()
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
            node.engine.forget()
        self._machine.log(f"power {name} {'on' if on else 'off'}")

    async def _sweep(self, name: str) -> None:
        await sweep_containers(self._engine, {labels.INSTANCE: self._id, labels.NODE: name})

    async def set_cable(
        self, name: str, *, cut: bool, deadline_s: float | None = None, direction: str = "both", delay_s: float = 0.0,
        key: str = "",
    ) -> None:
        node = self._node(name)
        if (name, key) in self._heals:
            self._heals.pop((name, key)).cancel()
        node.set_cable(CableHold(key, cut, direction, delay_s))
        what = f"cut {direction}" if cut else f"late by {delay_s:g} s {direction}" if delay_s else "whole"
        self._machine.log(f"cable {name} {what}")
        if (cut or delay_s) and deadline_s is not None:
            whole = CableHold(key, False, direction, 0.0)
            self._heals[name, key] = self._machine.later(deadline_s, partial(node.set_cable, whole))

    async def round_trip_s(self, name: str, *, within_s: float) -> float:
        client = LineClient(self._api, self._node(name).cable, self._machine.draw)
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(within_s):
                await client.connect()
        except (TimeoutError, ApiError) as error:
            raise EnvironmentProblem(f"no answer through the cable of node {name} within {within_s:g} s") from error
        return asyncio.get_running_loop().time() - began

    # --- nodes' own engines

    async def hold_engine(self, name: str, key: str, *, act: str, deadline_s: float) -> None:
        self._engine_of(name).hold(key, act, deadline_s)

    async def free_engine(self, name: str, key: str) -> None:
        self._engine_of(name).free(key)

    async def engine_state(self, name: str) -> EngineState:
        return self._engine_of(name).state()

    async def engine_answers(self, name: str, *, within_s: float) -> bool:
        engine = self._engine_of(name)
        if engine.hiccups.silent:
            await asyncio.sleep(within_s)
        return not (engine.hiccups.silent or engine.hiccups.down)

    def _engine_of(self, name: str) -> OwnEngine:
        node = self._node(name)
        if node.facts.kind != "engine":
            raise InvalidInput(f"node {name} has no engine of its own", hint="nodes of kind engine have one")
        if not node.powered:
            raise EnvironmentProblem(f"node {name} has no power")
        return node.engine

    # --- the API's process

    async def hold_down(self, process: str, key: str, *, deadline_s: float) -> None:
        await self.let_up(process, key)
        self._down[key] = self._machine.later(deadline_s, self._let_up, key)
        if self._api.in_kernel is not None:
            self._machine.send_signal(self._api.in_kernel, signal.SIGKILL, "room")

    async def let_up(self, process: str, key: str) -> None:
        if process != "api":
            raise InvalidInput(f"process {process!r} may not be held down", hint="only api may")
        if key in self._down:
            self._down[key].cancel()
            self._let_up(key)

    def _let_up(self, key: str) -> None:
        del self._down[key]
        if not self._api.up:
            self._api_died()

    def _api_died(self) -> None:
        self._machine.later(_RESTART_S, self._start_api)

    def _start_api(self) -> None:
        if self._api.up or self._down or self._over:
            return
        self._restarts += 1
        task = asyncio.get_running_loop().create_task(self._api.start(), context=self._machine.context)
        self._machine.tasks.add(task)
        task.add_done_callback(self._machine.tasks.discard)

    async def stop(self) -> None:
        self._over = True
        for timer in (*self._heals.values(), *self._down.values()):
            timer.cancel()
        for node in self.nodes.values():
            node.close()


@dataclass(frozen=True)
class NodeShape:
    """What the nodes of a world are like. ``zones``: over how many they are spread; 0: they name none."""

    cpu: str = "8"
    memory: str = "16Gi"
    disk: str = "100Gi"
    kind: str = "slice"
    zones: int = 0


def facts_of(name: str, index: int, instance_id: str, directory: Path, shape: NodeShape) -> NodeFacts:
    """``index``: from 1."""
    zone = {labels.ZONE: f"zone-{(index - 1) % shape.zones + 1}"} if shape.zones else {}
    return NodeFacts(
        name=name, instance_id=instance_id, instance_name="simulation", pod_cidr=f"10.200.{index}.0/24",
        address=f"10.200.{index}.1", network="testbed-simulation", cgroup=f"/testbed-{instance_id}/{name}",
        directory=directory / "nodes" / name, cpu=shape.cpu, memory=shape.memory, ephemeral_storage=shape.disk,
        labels=zone,
    )
