"""Chooses a free /16 and free ports for a new cluster.

Decides by looking at this machine's routes, at the engine's networks and at the other clusters of this user; whoever
makes the network or binds the port is told by the engine or kernel if somebody was faster.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import EnvironmentProblem

Network = ipaddress.IPv4Network

# Below the ports that the kernel gives to outgoing connections (32768 and up) and above the well-known ones.
_PORTS = range(20000, 29500)
_NODE_PORTS = range(30000, 32768)  # kubernetes: --service-node-port-range
NODE_PORT_COUNT = 16


def routed_networks(table: str) -> list[Network]:
    """The networks of ``/proc/net/route``, without the default route. Addresses there are little-endian hex."""
    networks = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[7] == "00000000":
            continue
        address, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        networks.append(Network((address & mask, bin(mask).count("1"))))
    return networks


def choose_subnet(taken: Iterable[str | Network], random_source: random.Random) -> str:
    """A /16 of 10.64.0.0/10 and above that overlaps nothing in ``taken``.

    Raises: EnvironmentProblem when all are taken.
    """
    occupied = [Network(network) for network in taken if ":" not in str(network)]
    candidates = [Network(f"10.{second}.0.0/16") for second in range(64, 250)]
    random_source.shuffle(candidates)
    for candidate in candidates:
        if not any(candidate.overlaps(network) for network in occupied):
            return str(candidate)
    raise EnvironmentProblem(
        "no /16 between 10.64.0.0 and 10.249.255.255 is free on this machine",
        hint="remove networks that are not needed: testbed down, docker network ls",
    )


def machine_networks() -> list[Network]:
    """Networks that this machine has routes to."""
    try:
        return routed_networks(Path("/proc/net/route").read_text())
    except OSError:
        return []


def is_free(port: int) -> bool:
    """Whether nobody listens on 127.0.0.1:port (nor on all addresses)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(count: int, taken: set[int], random_source: random.Random) -> tuple[int, ...]:
    """``count`` free ports on 127.0.0.1, none of them in ``taken``.

    Raises: EnvironmentProblem.
    """
    start = random_source.randrange(len(_PORTS))
    order = [_PORTS[(start + offset) % len(_PORTS)] for offset in range(len(_PORTS))]
    chosen: list[int] = []
    for port in order:
        if len(chosen) == count:
            break
        if port not in taken and is_free(port):
            chosen.append(port)
    if len(chosen) < count:
        raise EnvironmentProblem(f"there are not {count} free ports between {_PORTS.start} and {_PORTS.stop}")
    return tuple(chosen)


def choose_node_ports(taken: set[int], random_source: random.Random) -> tuple[int, ...]:
    """A block of 16 free ports in Kubernetes' NodePort range.

    Raises: EnvironmentProblem.
    """
    starts = list(range(_NODE_PORTS.start, _NODE_PORTS.stop - NODE_PORT_COUNT, NODE_PORT_COUNT))
    random_source.shuffle(starts)
    for start in starts:
        block = tuple(range(start, start + NODE_PORT_COUNT))
        if not taken.intersection(block) and all(is_free(port) for port in block):
            return block
    raise EnvironmentProblem("no block of 16 ports is free between 30000 and 32767")
