"""One act that needs the container engine, done for the machine room by a process that ends afterwards.

So the room itself never carries the docker SDK, and an engine that hangs hangs an errand, not the room. Prints one JSON
object; an error of ours is printed as ``{"message", "hint", "exit_code"}`` with that exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.instance import ENGINE, Instance, memory_directory
from testbed.api.instance_files import load_instance
from testbed.api.process_identity import start_ticks
from testbed.api.process_logs import configure
from testbed.errors import HostError, NotFound, TestbedError
from testbed.machines import node_container
from testbed.machines.cleanup import clean, remove_tree, sweep_containers
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

Json = dict[str, Any]


async def gateway(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """The gateway runs and the host's route leads to it."""
    from testbed.network.gateway import ensure_gateway

    state = await ensure_gateway(engine, host, instance)
    await node_container.route_gateway(engine, host, instance)
    return {"pid": state.pid, "ticks": start_ticks(state.pid) or 0}


async def node(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """The container of a node of kind engine runs, and its pods can be reached."""
    state = await node_container.ensure_node(engine, host, instance, instance.node(node))
    return {"pid": state.pid, "ticks": start_ticks(state.pid) or 0}


async def check_engine_nodes(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """Such a node could run."""
    await node_container.check(engine, instance.engine_url)
    return {}


async def sandboxes(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """Main processes of the node's sandboxes, for a room that may not look into ``/proc``; of a node of kind engine its
    container's, which is on the wire for all of them."""
    role = labels.ROLE_NODE if instance.node(node).kind == ENGINE else labels.ROLE_SANDBOX
    wanted = {labels.INSTANCE: instance.id, labels.NODE: node, labels.ROLE: role}
    return {"pids": [state.pid for state in await engine.list(wanted, running_only=True) if state.pid]}


async def sweep(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """Removes what is left of a dead node: containers, a frozen cgroup, what lay in its memory."""
    cgroup = instance.node_cgroup(node)
    await host.thaw(cgroup)
    await host.kill_cgroup(cgroup)
    await sweep_containers(engine, {labels.INSTANCE: instance.id, labels.NODE: node})
    await remove_tree(engine, memory_directory(instance.id) / node, instance.id)
    return {}


async def forget(engine: Engine, host: Host, instance: Instance, node: str) -> Json:
    """``sweep``, and the node's cgroup, disk and Node object."""
    await sweep(engine, host, instance, node)
    if instance.node(node).kind == ENGINE:
        await node_container.forget_node(engine, host, instance, instance.node(node))
    with contextlib.suppress(HostError):
        await host.remove_cgroup(instance.node_cgroup(node))
    from testbed.api.resources import NODES
    from testbed.client.aio import HttpClient

    client = HttpClient.of_instance(instance)
    try:
        await client.delete(NODES, node)
    except NotFound:
        pass
    finally:
        await client.close()
    return {}


ACTS: dict[str, Callable[[Engine, Host, Instance, str], Awaitable[Json]]] = {
    "gateway": gateway, "node": node, "check-engine-nodes": check_engine_nodes, "sandboxes": sandboxes, "sweep": sweep,
    "forget": forget,
}


async def run(directory: Path, act: str, node: str, spared: int) -> Json:
    """Raises: TestbedError."""
    if act == "down":
        engine = open_engine()
        try:
            await clean(directory, engine, open_host, lambda step: None, spared={spared})
        finally:
            await engine.close()
        return {}
    instance = load_instance(directory)
    engine = open_engine(instance.engine_url)
    host = open_host(instance.id, engine)
    try:
        return await ACTS[act](engine, host, instance, node)
    finally:
        await host.close()
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.machines.errand", description=__doc__)
    parser.add_argument("--instance", required=True, type=Path)
    parser.add_argument("--node", default="")
    parser.add_argument("--spare", type=int, default=0, help="a process that `down` leaves alone")
    parser.add_argument("act", choices=[*ACTS, "down"])
    arguments = parser.parse_args()
    configure(f"errand/{arguments.act}", node=arguments.node)
    try:
        answer = asyncio.run(run(arguments.instance, arguments.act, arguments.node, arguments.spare))
    except TestbedError as error:
        sys.stdout.write(json.dumps({"message": error.message, "hint": error.hint, "exit_code": error.exit_code}))
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
