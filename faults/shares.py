"""What CPUs, memory and disk a container or a node may have, and what of this machine's memory a fault may take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.protocol import Refused, Target, TargetGone, Tools
from testbed.api.instance import NodeInstance
from testbed.api.instance_files import load_instance
from testbed.api.meta import quantity
from testbed.api.resources import NODES, PODS
from testbed.errors import NotFound, TestbedError

MACHINE_SHARE = 4  # where nothing else limits it, a fault takes at most this part of the memory that is free


@dataclass(frozen=True)
class Share:
    """``memory_is_own``: a limit of its own, not just this machine's size."""

    cpus: float
    memory_bytes: int
    memory_is_own: bool
    cpus_are_own: bool = False


@dataclass(frozen=True)
class DiskShare:
    """For the volumes of a node's pods. ``is_own``: the node's, not just the machine's size."""

    total_bytes: int
    is_own: bool


async def of_container(tools: Tools, target: Target) -> Share:
    """Raises: TargetGone."""
    node = await of_node(tools, target.node)
    try:
        pod = await tools.client.get(PODS, target.pod, target.namespace)
    except NotFound:
        raise TargetGone(f"pod {target.id} is gone") from None
    limits: Mapping[str, Any] = {}
    for container in pod["spec"].get("containers") or ():
        if container["name"] == target.container:
            limits = (container.get("resources") or {}).get("limits") or {}
    cpus = min(float(quantity(limits["cpu"])), node.cpus) if "cpu" in limits else node.cpus
    memory = int(quantity(limits["memory"])) if "memory" in limits else 0
    own = bool(memory) and memory <= node.memory_bytes
    return Share(cpus, memory if own else node.memory_bytes, own or node.memory_is_own)


async def of_node(tools: Tools, name: str) -> Share:
    """Raises: TargetGone."""
    try:
        node = await tools.client.get(NODES, name)
    except NotFound:
        raise TargetGone(f"there is no node {name}") from None
    capacity = (node.get("status") or {}).get("capacity") or {}
    cpus, memory = float(quantity(capacity.get("cpu", "1"))), int(quantity(capacity.get("memory", "0")))
    own = _node_instance(tools, name)
    return Share(cpus, memory, bool(own and own.memory), bool(own and own.cpu))


async def disk_of_node(tools: Tools, name: str) -> DiskShare:
    """Raises: TargetGone."""
    try:
        node = await tools.client.get(NODES, name)
    except NotFound:
        raise TargetGone(f"there is no node {name}") from None
    capacity = (node.get("status") or {}).get("capacity") or {}
    own = _node_instance(tools, name)
    return DiskShare(int(quantity(capacity.get("ephemeral-storage", "0"))), bool(own and own.disk))


def _node_instance(tools: Tools, name: str) -> NodeInstance | None:
    """None where there is no such file: a simulated cluster's nodes have no limits of their own."""
    try:
        return load_instance(tools.site.directory).node(name)
    except (TestbedError, OSError):
        return None


def check_machine_spares(memory_bytes: int, whose: str, mend: str) -> None:
    """Raises: Refused when so much of this machine's own memory must not be taken."""
    most = available_bytes() // MACHINE_SHARE
    if memory_bytes > most:
        raise Refused(f"{whose} has no memory limit of its own, and {memory_bytes >> 20} MiB are more than a quarter "
                      f"of what is free on this machine ({most >> 20} MiB)", hint=mend)


def available_bytes() -> int:
    """Of this machine's memory, what can still be had (MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
