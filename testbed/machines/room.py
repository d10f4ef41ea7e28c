"""The machine room: starts, restarts, adopts and stops every process of one cluster; owns each node's power.

It decides nothing about workloads. It can be killed and started again without anyone noticing: processes are found
again by ``processes.json``, nodes that are switched off by ``room.json``; cables keep their own state. Engine work is
done by ``errands``; its control socket is ``room_service``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from testbed.api.instance import ENGINE, SLICE, Instance, NodeInstance
from testbed.api.instance_files import save_instance
from testbed.api.process_logs import about
from testbed.errors import HostError, InvalidInput, NotFound, TestbedError
from testbed.machines import cables, engines
from testbed.machines.errands import Errands
from testbed.machines.logs import keep_bounded
from testbed.machines.new_node import new_node
from testbed.machines.node_keeper import NodeKeeper
from testbed.machines.power import power_off
from testbed.machines.processes import Processes, Program, ended, pause_before_restart_s
from testbed.machines.protocol import CableHold, EngineState, NodeState, ProcessState, RoomStatus
from testbed.node.boots import count_boot
from testbed.runtime.host_protocol import Host

log = logging.getLogger("room")
API = "api"
DRIVER = "driver"


class Room:
    """``host``: acts on this machine. ``root``: whether sandboxes can be found through ``/proc``. ``command``: runs a
    module of ours."""

    def __init__(
        self, instance: Instance, host: Host, *, root: bool, environment: dict[str, str],
        command: tuple[str, ...] = (sys.executable, "-m"),
    ) -> None:
        self.instance = instance
        self._command = command
        self._host, self._root = host, root
        self._processes = Processes(
            instance.directory / "processes.json", instance.log_file, host.join_cgroup, environment
        )
        self._errands = Errands(command, instance.directory, environment, instance.log_file("room"))
        self._containers = NodeKeeper(self._errands.run)
        self._off: set[str] = set()
        self._gateway = ProcessState("gateway", 0, False, 0)
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.finished = asyncio.Event()

    # --- life

    async def start(self) -> None:
        """Brings everything up that is not, and adopts what is. Returns at once; things get ready meanwhile."""
        self._off = _read_off(self.instance.directory / "room.json")
        if not self.instance.foreign:
            for node in self.instance.nodes:
                self._processes.keep(self._cable(node))
        await self._start_api()
        if self.instance.foreign:  # another orchestrator stands where our agents do: its driver
            self._processes.keep(self._program(DRIVER, "testbed.supervisors"))
        if self.instance.routed:
            self._spawn(self._keep_gateway())
        self._spawn(keep_bounded(self.instance.directory / "logs"))
        for node in self.instance.nodes:
            if node.name not in self._off:
                await self._start_agent(node)
        self._processes.keep(self._program("chaos", "faults"))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stops watching; the cluster goes on."""
        for task in tuple(self._tasks):
            task.cancel()
        await self._containers.close()
        await self._processes.close()

    def _program(self, name: str, module: str, node: str = "", cgroup: str = "") -> Program:
        argv = [*self._command, module, "--instance", str(self.instance.directory)]
        return Program(name, (*argv, "--node", node) if node else tuple(argv), cgroup)

    def _cable(self, node: NodeInstance) -> Program:
        return self._program(f"cable-{node.name}", "testbed.machines.cable", node.name)

    async def _start_api(self) -> None:
        """In a cgroup of its own, so that it can be frozen from outside."""
        self._processes.keep(
            self._program(API, "testbed.server", cgroup=await self._made(self.instance.control_plane_cgroup)))

    async def _start_agent(self, node: NodeInstance) -> None:
        if node.kind == ENGINE:
            self._containers.keep(node.name)
            return
        cgroup = await self._made(f"{self.instance.node_cgroup(node.name)}/agent")
        self._processes.keep(self._program(f"agent-{node.name}", "testbed.node", node.name, cgroup))

    async def _made(self, cgroup: str) -> str:
        try:
            await self._host.create_cgroup(cgroup)
        except HostError as error:
            log.warning("cgroup %s: %s", cgroup, error)
        return cgroup

    async def _keep_gateway(self) -> None:
        failures = restarts = 0
        while True:
            try:
                answer = await self._errands.run("gateway")
                self._gateway = ProcessState("gateway", int(answer["pid"]), True, restarts)
                log.info("gateway: runs as pid %s", answer["pid"])
                failures = 0
                await ended(int(answer["pid"]), int(answer["ticks"]))
                log.warning("gateway: ended")
            except TestbedError as error:
                failures += 1
                log.warning("gateway: %s", error)
            restarts += 1
            self._gateway = ProcessState("gateway", 0, False, restarts)
            await asyncio.sleep(pause_before_restart_s(failures + 1) if failures else 0)

    # --- what may be asked (``protocol.MachineRoom``)

    async def status(self) -> RoomStatus:
        states = {state.name: state for state in (*self._processes.states(), *self._containers.states())}
        told = await asyncio.gather(*(self._cable_holds(node.name) for node in self.instance.nodes))
        nodes = tuple(
            NodeState(node.name, node.name not in self._off, any(hold.cut for hold in holds), node.pod_cidr,
                      _pid(states, f"agent-{node.name}"), holds, node.kind)
            for node, holds in zip(self.instance.nodes, told, strict=True)
        )
        return RoomStatus(
            name=self.instance.name, id=self.instance.id, profile=self.instance.profile, room_pid=os.getpid(),
            api_port=self.instance.api_port, nodes=nodes, ingress_ports=self.instance.ingress_ports,
            processes=(*states.values(), self._gateway) if self.instance.routed else tuple(states.values()),
        )

    async def _cable_holds(self, node: str) -> tuple[CableHold, ...]:
        return () if self.instance.foreign else await cables.cable_holds(self.instance.cable_socket(node))

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "", kind: str = SLICE) -> str:
        self._check_grows()
        async with self._lock(""):
            node = new_node(self.instance, name, cpu, memory, kind=kind)
            if kind == ENGINE:
                await self._errands.run("check-engine-nodes")
            self._write(self.instance.with_nodes((*self.instance.nodes, node)))
            self._processes.keep(self._cable(node))
            await self._start_agent(node)
            return node.name

    async def remove_node(self, name: str) -> None:
        self._check_grows()
        self._node(name)
        await self.set_power(name, on=False)
        async with self._lock(name), self._lock(""):
            await self._errands.run("forget", name)
            await self._processes.stop(f"cable-{name}")
            self._write(self.instance.with_nodes(tuple(one for one in self.instance.nodes if one.name != name)))
            self._set_off(name, off=False)
            self.instance.cable_socket(name).unlink(missing_ok=True)

    async def set_power(self, name: str, *, on: bool) -> None:
        node = self._node(name)
        async with self._lock(name):
            if on:
                await self._power_on(node)
            else:
                await self._power_off(node)

    async def _power_off(self, node: NodeInstance) -> None:
        self._set_off(node.name, off=True)  # first, so that a room that dies here does not start the agent again
        await self._containers.release(node.name)
        agent = await self._processes.release(f"agent-{node.name}")
        known = None if self._root else (await self._errands.run("sandboxes", node.name))["pids"]
        await power_off(self._host, self.instance.node_cgroup(node.name), known)
        if agent and agent.pid:
            await ended(agent.pid, agent.ticks)
        log.info("%s: power off", node.name, extra=about(node=node.name))

    async def _power_on(self, node: NodeInstance) -> None:
        if node.name not in self._off:
            return
        await self._errands.run("sweep", node.name)
        count_boot(self.instance.node_directory(node.name))
        self._set_off(node.name, off=False)
        await self._start_agent(node)
        log.info("%s: power on", node.name, extra=about(node=node.name))

    async def set_cable(
        self, name: str, *, cut: bool, deadline_s: float | None = None, direction: str = "both", delay_s: float = 0.0,
        key: str = "",
    ) -> None:
        node = self._node(name)
        await cables.set_cable(self.instance.cable_socket(node.name), cut=cut, deadline_s=deadline_s,
                               direction=direction, delay_s=delay_s, key=key)
        what = f"cut ({direction})" if cut else f"late by {delay_s:g} s ({direction})" if delay_s else "whole"
        log.info("%s: cable %s%s", name, what, f", says {key}" if key else "", extra=about(node=name))

    async def hold_down(self, process: str, key: str, *, deadline_s: float) -> None:
        _check_may_be_down(process)
        self._processes.hold_down(process, key, deadline_s)
        log.info("%s: held down for %g s, says %s", process, deadline_s, key)

    async def let_up(self, process: str, key: str) -> None:
        _check_may_be_down(process)
        self._processes.let_up(process, key)

    async def hold_engine(self, name: str, key: str, *, act: str, deadline_s: float) -> None:
        await engines.hold(self._engine_of(name), key, act=act, deadline_s=deadline_s)
        log.info("%s: its engine: %s for %g s, says %s", name, act, deadline_s, key, extra=about(node=name))

    async def free_engine(self, name: str, key: str) -> None:
        await engines.free(self._engine_of(name), key)

    async def engine_state(self, name: str) -> EngineState:
        return await engines.state(self._engine_of(name))

    def _engine_of(self, name: str) -> Path:
        """Its node's control socket. Raises: NotFound, InvalidInput."""
        if self._node(name).kind != ENGINE:
            raise InvalidInput(f"node {name} has no engine of its own", hint="nodes of kind engine have one")
        return self.instance.node_socket(name, "control")

    async def stop(self) -> None:
        log.info("taking the cluster down")
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._containers.close()
        await self._processes.close()
        await self._errands.run("down")
        self.finished.set()

    async def follow(self, pid: int, ticks: int) -> None:
        """The cluster ends with the process it was made for."""
        await ended(pid, ticks)
        log.info("process %d, for which this cluster was made, has ended", pid)
        try:
            await self.stop()
        except TestbedError as error:
            log.error("cannot take everything down: %s", error)
            self.finished.set()

    def follow_owner(self, pid: int, ticks: int) -> None:
        self._spawn(self.follow(pid, ticks))

    # --- state

    def _check_grows(self) -> None:
        """Raises: InvalidInput where the number of nodes is chosen at the start."""
        if self.instance.foreign:
            raise InvalidInput(f"nodes of a cluster that {self.instance.supervisor} runs do not come and go",
                               hint="take it down, and up again with other --nodes")

    def _node(self, name: str) -> NodeInstance:
        """Raises: NotFound."""
        try:
            return self.instance.node(name)
        except InvalidInput as error:
            raise NotFound(error.message, hint=error.hint) from error

    def _lock(self, node: str) -> asyncio.Lock:
        return self._locks.setdefault(node, asyncio.Lock())

    def _set_off(self, name: str, *, off: bool) -> None:
        self._off = self._off | {name} if off else self._off - {name}
        file = self.instance.directory / "room.json"
        temporary = file.with_suffix(".json.new")
        temporary.write_text(json.dumps({"off": sorted(self._off)}))
        temporary.replace(file)

    def _write(self, instance: Instance) -> None:
        save_instance(instance)
        self.instance = instance


def _check_may_be_down(process: str) -> None:
    """Raises: InvalidInput for what nobody may hold down."""
    if process != API:
        raise InvalidInput(f"process {process!r} may not be held down", hint=f"only {API} may")


def _pid(states: dict[str, ProcessState], name: str) -> int:
    return states[name].pid if name in states and states[name].running else 0


def _read_off(file: Path) -> set[str]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return {str(name) for name in json.loads(file.read_text())["off"]}
    return set()
