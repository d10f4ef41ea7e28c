"""A node of kind engine: a container with its own Docker engine and its agent inside.

Decides what it is given: the machine's own Python and this package, read-only, so that the agent is the very code that
runs on other nodes; the cluster's directory; a volume for its engine's data, which outlives its power. No part of it
is privileged in the engine's sense (``--privileged`` needs CAP_SYS_RESOURCE, which a machine may lack), but it has the
rights of root on this machine in all but name. What runs inside is ``compose/images/node/node.py``; that it must run is
decided by the machine room.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from shutil import which
from typing import Any

from testbed.api import labels
from testbed.api.instance import ENGINE, MACHINE_ENGINE, SWARM, SWARM_NETWORK_PART, Instance, NodeInstance
from testbed.errors import EnvironmentProblem, HostError, NoSuchContainer, NoSuchImage
from testbed.machines.processes import child_environment
from testbed.runtime.containers import ContainerSpec, ContainerState, Mount
from testbed.runtime.factory import engine_address
from testbed.runtime.host_protocol import Host, ProcessIdentity
from testbed.runtime.protocol import Engine

Json = dict[str, Any]
IMAGE = "testbed-node:1"
_ROOM = Path("/machine")  # the agent's root directory
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_DATA = "/var/lib/docker"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_SOCKET_PATH = 107  # sun_path, unix(7)
_UPLINK = "eth0"


def container_name(instance: Instance, node: str) -> str:
    return f"testbed-{instance.name}-{node}"


def volume_name(instance: Instance, node: str) -> str:
    return f"testbed-{instance.id}_engine-{node}"


def node_labels(instance: Instance, node: str) -> dict[str, str]:
    return {labels.INSTANCE: instance.id, labels.INSTANCE_NAME: instance.name, labels.ROLE: labels.ROLE_NODE,
            labels.NODE: node}


def engine_socket(url: str) -> str:
    """Path of the machine's engine's socket. Raises: EnvironmentProblem when it has none."""
    where = engine_address(url)
    if not where.startswith("unix://"):
        raise EnvironmentProblem(f"nodes of kind engine need an engine on this machine, not {where}",
                                 hint="unset DOCKER_HOST, or use nodes of kind slice")
    return where.removeprefix("unix://")


async def check(engine: Engine, url: str) -> None:
    """Whether such nodes can run here. Raises: EnvironmentProblem, EngineUnavailable."""
    engine_socket(url)
    if which("ip", path=_PATH) is None:
        raise EnvironmentProblem("nodes of kind engine need the program ip on this machine",
                                 hint="apt-get install iproute2, or use nodes of kind slice")
    try:
        await engine.image(IMAGE)
    except NoSuchImage as error:
        raise EnvironmentProblem(f"image {IMAGE} is missing", hint="build it: testbed setup") from error


def container_spec(instance: Instance, node: NodeInstance) -> ContainerSpec:
    """Raises: EnvironmentProblem."""
    directory, name = str(instance.directory), node.name
    for use in ("control", "engine", "agent", "api"):
        if len(os.fsencode(instance.node_socket(name, use))) > _MAX_SOCKET_PATH:
            raise EnvironmentProblem(f"{instance.node_socket(name, use)} is too long for a socket's path",
                                     hint="set XDG_STATE_HOME to a shorter directory, or use shorter names")
    inside = tuple(Mount(str(_ROOM / path.relative_to("/")), str(path), read_only=True) for path in _programs()
                   if not path.is_relative_to(instance.directory))
    return ContainerSpec(
        name=container_name(instance, name), image=IMAGE, labels=node_labels(instance, name),
        env=(("NODE", json.dumps(_told(instance, node))),), network=instance.network,
        address=instance.uplink_address(node.pod_cidr), hostname=name,
        mounts=(
            *inside, Mount(directory, directory), Mount(str(_ROOM) + directory, directory),
            Mount(str(_ROOM) + MACHINE_ENGINE, engine_socket(instance.engine_url)),
            Mount(_DATA, volume_name(instance, name)),
        ),
        cgroup_parent=instance.node_cgroup(name), own_cgroups=True,
        cap_add=("ALL",), cap_drop=("SYS_RESOURCE",), security_opt=("seccomp=unconfined", "apparmor=unconfined"),
        sysctls=(
            ("net.ipv4.ip_forward", "1"),
            # A packet between two pods of this node comes back from the gateway with its own sender.
            *((f"net.ipv4.conf.{where}.rp_filter", "0") for where in ("all", "default", _UPLINK)),
        ),
    )


def _programs() -> list[Path]:
    """What of this machine the agent runs with: the system's libraries and tools, Python, where that finds modules."""
    wanted = [Path(path) for path in _SYSTEM]
    environment = child_environment().get("PYTHONPATH", "")
    for text in (sys.prefix, sys.base_prefix, *environment.split(os.pathsep), *sys.path):
        if text and Path(text).is_dir():
            wanted += [Path(text).absolute(), Path(text).resolve()]
    chosen: list[Path] = []
    for path in sorted({path for path in wanted if path.is_dir()}, key=lambda path: len(path.parts)):
        if path != Path("/") and not any(path.is_relative_to(other) for other in chosen):
            chosen.append(path)
    return chosen


def _told(instance: Instance, node: NodeInstance) -> Json:
    """What its process 1 is told."""
    name, owner = node.name, instance.directory.stat()
    kept = ("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX", "TZ")
    ours = {key: value for key, value in child_environment().items() if key in kept}
    return {
        "name": name, "agent": [] if instance.foreign else [
            sys.executable, "-m", "testbed.node", "--instance", str(instance.directory), "--node", name],
        "environment": ours | {"PATH": _PATH, "HOME": "/", "LANG": "C.UTF-8"},
        "owner": [owner.st_uid, owner.st_gid], "logs": str(instance.directory / "logs"),
        "host": instance.host_address, "gateway": instance.gateway_address, "cluster_range": instance.subnet,
        "pod_range": instance.pod_range, "pod_cidr": node.pod_cidr, "router": instance.router_address(node.pod_cidr),
        "agent_port": node.agent_port, "to_api_port": node.to_api_port,
        "nodes_range": instance.pod_cidr(0) if instance.foreign else "",
        "network": instance.network, "node_address": instance.node_address(node.pod_cidr),
        # A swarm makes the network itself, where it places something, from what each node says of its part.
        "swarm_network": SWARM_NETWORK_PART if instance.supervisor == SWARM else "",
        **{f"{use}_socket": str(instance.node_socket(name, use)) for use in ("control", "engine", "agent", "api")},
    }


async def ensure_node(engine: Engine, host: Host, instance: Instance, node: NodeInstance) -> ContainerState:
    """The node's container runs and its pods can be reached. Twice is harmless.

    Raises: EnvironmentProblem (image missing), EngineError, EngineUnavailable, HostError.
    """
    spec = container_spec(instance, node)
    try:
        state = await engine.inspect(spec.name)
        if not state.running or state.labels.get(labels.INSTANCE) != instance.id:
            await engine.remove(state.id)  # a machine that boots begins anew; its disk is the volume
            raise NoSuchContainer(spec.name)
    except NoSuchContainer:
        mine = node_labels(instance, node.name)
        # This user's, before the agent, which is root, makes it: the machine room counts boots in it.
        instance.node_directory(node.name).mkdir(parents=True, exist_ok=True)
        await engine.create_volume(volume_name(instance, node.name), labels=mine)
        try:
            state = await engine.start(await engine.create(spec))
        except NoSuchImage as error:
            raise EnvironmentProblem(f"image {IMAGE} is missing", hint="build it: testbed setup") from error
    await route_pods(host, instance, node)
    await route_gateway(engine, host, instance)
    return state


async def route_pods(host: Host, instance: Instance, node: NodeInstance) -> None:
    """This machine reaches the node's pods through the node, and the ports at the node's own address, as those of all
    nodes, through the gateway. Both go with the bridge. Raises: HostError."""
    uplink, address = instance.uplink_address(node.pod_cidr), instance.node_address(node.pod_cidr)
    for where, via in ((node.pod_cidr, uplink), (f"{address}/32", instance.gateway_address)):
        result = await host.run(("ip", "route", "replace", where, "via", via, "dev", instance.bridge))
        if result.exit_code:
            raise HostError(f"cannot set the route to {where}: {result.stderr.decode(errors='replace').strip()}")


async def route_gateway(engine: Engine, host: Host, instance: Instance) -> None:
    """The gateway reaches the pods of all such nodes through their nodes. One that does not run is told when it does.

    Raises: HostError, EngineError, EngineUnavailable.
    """
    routes = [f"route replace {node.pod_cidr} via {instance.uplink_address(node.pod_cidr)} dev {_UPLINK}\n"
              for node in instance.nodes if node.kind == ENGINE]
    with contextlib.suppress(NoSuchContainer):
        if routes:
            await _in_gateway(engine, host, instance, "".join(routes))


async def _in_gateway(engine: Engine, host: Host, instance: Instance, batch: str) -> None:
    state = await engine.inspect(instance.gateway_container)
    if not state.running:
        return
    process: ProcessIdentity = await host.identify(state.pid)
    result = await host.run_in(process, ("ip", "-force", "-batch", "-"), stdin=batch.encode())
    if result.exit_code:
        raise HostError(f"cannot set the gateway's routes: {result.stderr.decode(errors='replace').strip()}")


async def forget_node(engine: Engine, host: Host, instance: Instance, node: NodeInstance) -> None:
    """Its disk and the routes to it go, so that another node may have its addresses."""
    mine = {labels.INSTANCE: instance.id}
    await engine.remove_volume(volume_name(instance, node.name), labels=mine)
    await host.run(("ip", "route", "del", node.pod_cidr, "dev", instance.bridge))
    with contextlib.suppress(NoSuchContainer, HostError):
        await _in_gateway(engine, host, instance, f"route del {node.pod_cidr}\n")
    for use in ("control", "engine", "agent", "api"):
        with contextlib.suppress(OSError):
            instance.node_socket(node.name, use).unlink(missing_ok=True)
