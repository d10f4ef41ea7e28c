"""Chooses what a new cluster has for itself: addresses, ports, nodes and its state directory, one `up` at a time.

What can be chosen is ``addresses``; here it is chosen under a lock and written down, so that no two clusters of this
user get the same.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from testbed.api.instance import TESTBED, Instance
from testbed.api.instance_files import load_instance, save_instance
from testbed.errors import EnvironmentProblem, TestbedError
from testbed.machines import addresses
from testbed.machines.new_node import new_node
from testbed.machines.room_start import already_up
from testbed.machines.shape import Shape
from testbed.runtime.protocol import Engine

_MAX_SOCKET_PATH = 107  # sun_path, unix(7)


async def reserve(directory: Path, name: str, shape: Shape, engine: Engine, engine_url: str) -> Instance:
    """Chooses addresses and ports and writes ``instance.json``, one `up` at a time."""
    longest = directory / "gateway" / "control.sock"
    if len(os.fsencode(longest)) > _MAX_SOCKET_PATH:
        raise EnvironmentProblem(f"{longest} is too long for a socket's path ({_MAX_SOCKET_PATH} bytes)",
                                 hint="set XDG_STATE_HOME to a shorter directory, or use a shorter name")
    networks = [subnet for network in await engine.networks() for subnet in network.subnets]
    with _locked(directory.parent):
        if (directory / "instance.json").exists():
            raise already_up(directory)
        others = list(_other_instances(directory))
        source = random.Random()
        taken = {port for other in others for port in _ports(other)}
        subnet = addresses.choose_subnet(
            [*networks, *addresses.machine_networks(), *(other.subnet for other in others)], source
        )
        identity = secrets.token_hex(6)
        api_port, driver_port, *ingress_ports = addresses.choose_ports(4, taken, source)
        instance = Instance(
            name=name, id=identity, directory=directory, subnet=subnet, api_port=api_port,
            node_ports=addresses.choose_node_ports(taken, source), profile=shape.profile,
            engine_url=engine_url, ingress_ports=tuple(ingress_ports), zones=shape.zones,
            allow_privileged=shape.allow_privileged, supervisor=shape.supervisor,
            supervisor_options=dict(shape.supervisor_options),
            driver_port=0 if shape.supervisor == TESTBED else driver_port,
        )
        for _ in range(shape.nodes):
            node = new_node(instance, "", shape.node_cpu, shape.node_memory, avoid=taken, kind=shape.node_kind)
            node = replace(node, disk=shape.node_disk)
            instance = instance.with_nodes((*instance.nodes, node))
        _make_directories(instance)
        (directory / "id").write_text(identity)  # found again even when instance.json is only half written
        save_instance(instance)
    return instance


def _make_directories(instance: Instance) -> None:
    try:
        instance.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        instance.directory.chmod(0o700)
        for directory in (instance.gateway_directory, instance.directory / "logs"):
            directory.mkdir(mode=0o700, exist_ok=True)
        # The gateway's root has no DAC_OVERRIDE and writes here as "others"; the directory above keeps people out.
        instance.gateway_directory.chmod(0o777)
    except OSError as error:
        raise EnvironmentProblem(f"cannot make {error.filename}: {error.strerror}",
                                 hint="set XDG_STATE_HOME to a directory that you own") from error


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Holds the lock under which ports and ranges of this user's clusters are chosen. Ends with the process."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write in {root}: {error.strerror}",
                                 hint="set XDG_STATE_HOME to a directory that you own") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _other_instances(directory: Path) -> Iterator[Instance]:
    for file in directory.parent.glob("*/instance.json"):
        if file.parent != directory:
            with suppress(TestbedError):
                yield load_instance(file.parent)


def _ports(instance: Instance) -> Iterator[int]:
    yield instance.api_port
    yield instance.driver_port
    yield from instance.node_ports
    yield from instance.ingress_ports
    for node in instance.nodes:
        yield from (node.agent_port, node.to_agent_port, node.to_api_port)
