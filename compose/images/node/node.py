"""Process 1 of a node of kind engine: its engine, its agent, its end of the cable, and a control socket.

Where another orchestrator than ours runs the cluster there is no agent, and the engine keeps what it knows of its last
boot: what becomes of that is the orchestrator's matter.

It decides nothing about workloads. When it ends, the kernel ends everything in this container. One JSON object in
``NODE`` says what to run (testbed/machines/node_container.py writes it). Standard library only.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ground
import relay
from keeper import Holds, Kept, state

_ENGINE_PID_FILES = ("/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid")
_ENGINES_NETWORKS = "/var/lib/docker/network/files/local-kv.db"
_LOOK_S = 0.05
_BRIDGE_LOOK_S = 0.2


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def engine_argv(socket: str, group: int) -> list[str]:
    """No firewall of its own: pods are routed by the node and translated by the gateway, never masqueraded here."""
    return ["dockerd", "--host", "unix:///var/run/docker.sock", "--host", f"unix://{socket}", "--group", str(group),
            "--iptables=false", "--ip-masq=false", "--ip-forward=false", "--bridge=none", "--userland-proxy=false"]


def forget_dead_engine() -> None:
    """An engine that was killed leaves its number, which a process of ours may have by now (moby: pkg/pidfile)."""
    alive = {_name(entry) for entry in Path("/proc").glob("[0-9]*")}
    for file, name in zip(_ENGINE_PID_FILES, ("dockerd", "containerd"), strict=True):
        if name not in alive:
            Path(file).unlink(missing_ok=True)


def forget_swarm_networks() -> None:
    """A swarm's agent makes its networks at each start and stumbles over one of a bridge that an engine without a clean
    end has kept ("network ... exists"). All networks that such a node has are made anew."""
    forget_dead_engine()
    Path(_ENGINES_NETWORKS).unlink(missing_ok=True)


def _name(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "comm").read_text().strip()
    return ""


async def docker(*words: str) -> str:
    """Raises: OSError."""
    return await asyncio.get_running_loop().run_in_executor(None, ground.run, "docker", *words)


async def engine_answers() -> None:
    while True:
        with contextlib.suppress(OSError):
            await docker("version")
            return
        await asyncio.sleep(_LOOK_S)


async def clear_containers() -> None:
    """The power came on: what the last boot left is dead."""
    if left := (await docker("ps", "--all", "--quiet", "--no-trunc")).split():
        await docker("rm", "--force", "--volumes", *left)


async def be_silent_for_the_dead() -> None:
    """For ever: an engine makes and removes its bridge as it likes."""
    known = ""
    while True:
        if (bridge := ground.bridge()) != known:
            if bridge:
                ground.be_silent_for_the_dead()
            known = bridge
        await asyncio.sleep(_BRIDGE_LOOK_S)


async def ensure_network(name: str, cidr: str, router: str) -> None:
    if name not in (await docker("network", "ls", "--format", "{{.Name}}")).split():
        await docker("network", "create", "--driver", "bridge", "--subnet", cidr, "--gateway", router,
                     "--opt", f"com.docker.network.bridge.name={ground.PODS}", name)


async def configure_swarm_network(name: str, cidr: str, router: str, reserved: str) -> None:
    """What of a swarm's network is this node's own: its range. ``reserved``: the node's own address."""
    if name not in (await docker("network", "ls", "--format", "{{.Name}}")).split():
        await docker("network", "create", "--config-only", "--subnet", cidr, "--gateway", router,
                     "--aux-address", f"node={reserved}", "--opt",
                     f"com.docker.network.bridge.name={ground.PODS}", name)


class Node:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        logs, self.owner = Path(told["logs"]), (told["owner"][0], told["owner"][1])
        self.engine = Kept(engine_argv(told["engine_socket"], self.owner[1]), logs / f"engine-{told['name']}.log",
                           self.owner, before=forget_swarm_networks if told["swarm_network"] else forget_dead_engine)
        self.agent = Kept(["chroot", str(ground.ROOM), *told["agent"]], logs / f"agent-{told['name']}.log",
                          self.owner, env=told["environment"]) if told["agent"] else None
        self.holds = Holds(self.engine)

    async def boot(self, group: asyncio.TaskGroup) -> None:
        told = self.told
        group.create_task(self.engine.run())
        if self.agent is None:
            group.create_task(be_silent_for_the_dead())
            if told["swarm_network"]:
                group.create_task(self.keep_swarm_network())
            else:
                await engine_answers()
                await ensure_network(told["network"], told["pod_cidr"], told["router"])
            return
        await relay.from_port(told["to_api_port"], Path(told["api_socket"]))
        await relay.from_socket(Path(told["agent_socket"]), told["agent_port"], self.owner)
        await engine_answers()
        await clear_containers()
        await ensure_network(told["network"], told["pod_cidr"], told["router"])
        ground.be_silent_for_the_dead()
        group.create_task(self.agent.run())
        say(f"{told['name']}: engine and agent run")

    async def keep_swarm_network(self) -> None:
        """For ever: before the swarm's agent asks for it, if that can be, at each start of the engine."""
        told, done = self.told, 0
        while True:
            if self.engine.pid not in (0, done):
                pid = self.engine.pid
                with contextlib.suppress(OSError):  # it does not answer yet
                    await configure_swarm_network(told["swarm_network"], told["pod_cidr"], told["router"],
                                                  told["node_address"])
                    done = pid
            await asyncio.sleep(_LOOK_S)

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """``{"op": "hold", "key", "act": "kill" or "freeze", "until_ns"}``, ``{"op": "release", "key"}``, or
        ``{"op": "status"}``. ``engine`` in the answer: the state of its process (proc(5)), empty when there is none."""
        if request.get("op") == "hold":
            self.holds.hold(str(request["key"]), str(request["act"]), int(request["until_ns"]) / 1e9)
        elif request.get("op") == "release":
            self.holds.release(str(request["key"]))
        return {"engine": state(self.engine.pid) if self.engine.pid else "", "holds": self.holds.keys(),
                "agent_pid": self.agent.pid if self.agent is not None else 0}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                try:
                    answer = self.handle(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()


def log_to(file: Path, owner: tuple[int, int]) -> None:
    """What goes wrong here is looked for where the agent tells its own."""
    log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchown(log, *owner)
    os.dup2(log, sys.stderr.fileno())
    os.close(log)


async def main(told: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log_to(Path(told["logs"]) / f"agent-{told['name']}.log", (told["owner"][0], told["owner"][1]))
    ground.prepare_mounts()
    ground.set_routes(told["host"], told["gateway"], told["cluster_range"], told["pod_range"],
                      told["nodes_range"])
    node = Node(told)
    await relay.own_socket(Path(told["control_socket"]), node.serve, node.owner)
    async with asyncio.TaskGroup() as group:
        booting = group.create_task(node.boot(group))
        await stop.wait()
        booting.cancel()
        if node.agent is not None:
            node.agent.signal(signal.SIGTERM)
        node.engine.signal(signal.SIGTERM)
        os._exit(0)


def reap(child: int) -> int:
    """Process 1 waits for everybody's orphans; it ends with its own child, whose exit code this is."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: os.kill(child, got))
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    if child := os.fork():
        sys.exit(abs(reap(child)))
    asyncio.run(main(json.loads(os.environ["NODE"])))
