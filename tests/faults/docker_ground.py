"""A cluster on Docker as a ground for the contract of faults: looked at from outside, in the kernel itself.

What is looked at: queueing disciplines, packet filters and links of the pods' network namespaces, the processes and
mounts of their containers, the limits and states of their cgroups and of the nodes', our networks, our containers with
helpers and holders, holder files and processes, the machine room's power and cables, the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults_contract import APP, Json, Snapshot, condition
from support.cluster import Cluster

from faults.ledger import Entry, Ledger
from faults.pod_failure import PAUSE_IMAGE
from testbed.api import labels
from testbed.api.instance import Instance
from testbed.api.resources import NODES, PODS, ResourceType
from testbed.client.aio import HttpClient
from testbed.errors import ApiError, TestbedError
from testbed.machines.client import RoomClient
from testbed.runtime.containers import ContainerState
from testbed.runtime.factory import open_engine

_CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("freezer", "cpu", "memory", "blkio", "unified", ".")
_LIMITS = ("freezer.state", "cgroup.freeze", "cpu.cfs_quota_us", "cpu.max", "memory.limit_in_bytes", "memory.max",
           "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device",
           "blkio.throttle.write_iops_device", "io.max")
_COUNTERS = re.compile(r"\[\d+:\d+\]")
_ENGINES = re.compile(r"DOCKER_(OUTPUT|POSTROUTING)")  # its DNS, at ports that it chooses anew for each container
_NUMBERS = re.compile(r"(?<=qdisc )(\w+) \w+:|@if\d+|@\w+")


class DockerGround:
    engine_node = ""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.instance: Instance = cluster.instance
        self._client = HttpClient.of_instance(self.instance)
        self._engine = open_engine(self.instance.engine_url)

    async def close(self) -> None:
        await self._client.close()
        await self._engine.close()

    # --- the API

    async def create(self, resource: ResourceType, obj: Json) -> None:
        async def made() -> bool:
            try:
                await self._client.create(resource, obj, "default")
            except ApiError as error:
                if error.code in (503, 404):  # the API is away, or the daemon has not registered the kind yet
                    return False
                raise
            return True

        await self.until(f"{resource.kind} to be taken", made)

    async def get(self, resource: ResourceType, name: str) -> Json:
        return await self._client.get(resource, name, "default")

    async def delete(self, resource: ResourceType, name: str) -> None:
        await self._client.delete(resource, name, "default")

    async def undo_all(self) -> None:
        await asyncio.to_thread(self.cluster.testbed, "faults", "undo", "--all")

    def entries(self) -> Sequence[Entry]:
        return entries(self.instance)

    async def until(self, what: str, condition: Callable[[], Awaitable[Any]], within_s: float = 60.0) -> Any:
        deadline = time.monotonic() + within_s
        while True:
            if found := await condition():
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {within_s:g} s in vain: {what}")
            await asyncio.sleep(0.05)

    async def whole(self) -> bool:
        """Both pods are ready where nodes are well, and nothing of others is left."""
        try:
            pods = (await self._client.list(PODS, "default")).items
            nodes = (await self._client.list(NODES)).items
        except ApiError:
            return False
        ready = [pod for pod in pods if condition(pod, "Ready") == "True" and not pod["metadata"].get(
            "deletionTimestamp") and pod["metadata"]["labels"].get("app") == APP]
        well = all(condition(node, "Ready") == "True" and not node["spec"].get("taints") and not node["spec"].get(
            "unschedulable") for node in nodes)
        return len(ready) == len(pods) == 2 and well and await self._only(
            {pod["metadata"]["uid"] for pod in pods})

    async def _only(self, uids: set[str]) -> bool:
        return all(state.labels.get(labels.POD_UID, "") in {"", *uids} for state in await self.containers())

    async def settle(self) -> None:
        await self.until("the cluster to be whole again", self.whole, 90)

    # --- the world

    async def containers(self, wanted: Mapping[str, str] | None = None) -> tuple[ContainerState, ...]:
        """Of the cluster, with these labels."""
        return await self._engine.list({labels.INSTANCE: self.instance.id, **(wanted or {})})

    async def snapshot(self) -> Snapshot:
        found = await self.containers()
        pods = [state for state in found if state.running and state.labels.get(labels.POD_UID)]
        room = await RoomClient(self.instance.room_socket).status()
        return {
            "containers": Counter((state.labels.get(labels.ROLE), state.labels.get(labels.CONTAINER_NAME), state.image,
                                   state.status) for state in found
                                  if state.running or not state.labels.get(labels.POD_UID)),
            "namespaces": Counter(line for state in pods if state.labels[labels.ROLE] == labels.ROLE_SANDBOX
                                  for line in network_of(state.pid)),
            "processes": Counter(line for state in pods for line in processes_of(self._groups(state.id))),
            "mounts": Counter(line for state in pods for line in mounts_of(state.pid)),
            "limits": Counter(f"{state.labels[labels.ROLE]}: {line}" for state in pods
                              for line in limits_of(self._groups(state.id))),
            "nodes": sorted(f"{node.name} {line}" for node in self.instance.nodes
                            for line in limits_of(self._groups(node.name))),
            "networks": sorted(item.name for item in await self._engine.networks({labels.INSTANCE: self.instance.id})),
            "bridge": run("tc", "qdisc", "show", "dev", self.instance.bridge),
            "ours": Counter(one.module for one in processes(self.instance)),
            "power": {node.name: (node.powered, node.cable) for node in room.nodes},
            "rooms": {process.name: process.held_down for process in room.processes},
        }

    def _groups(self, name: str) -> list[Path]:
        """The cgroup of a node, or of a pod's container, in each hierarchy."""
        found = [_CGROUPS / controller / f"testbed-{self.instance.id}" / node / name
                 for controller in _CONTROLLERS for node in ("", *(node.name for node in self.instance.nodes))]
        return [group for group in found if group.is_dir()]

    async def left(self) -> list[str]:
        found = await self.containers()
        pods = [state for state in found if state.running and state.labels.get(labels.POD_UID)]
        sandboxes = [state for state in pods if state.labels[labels.ROLE] == labels.ROLE_SANDBOX]
        holders = self.instance.directory / "holders"
        return [
            *(f"holder container {state.name} {state.status}" for state in found
              if state.labels.get(labels.ROLE) == labels.ROLE_HOLDER),
            *(f"in a sandbox: {line}" for state in sandboxes for line in network_of(state.pid) if is_rule(line)),
            *(f"mounted: {line}" for state in pods for line in mounts_of(state.pid) if "fuse" in line),
            *(f"frozen: {state.name}" for state in pods if is_frozen(self._groups(state.id))),
            *(f"frozen: {node.name}" for node in self.instance.nodes if is_frozen(self._groups(node.name))),
            *(f"{one.module} is stopped" for one in processes(self.instance) if one.state == "T"),
            *(f"holder file {file.name}" for file in (holders.iterdir() if holders.is_dir() else ())),
            *(f"holder process {one.words}" for one in processes(self.instance) if one.module == "faults.holder"),
            *await self._left_in_room(),
            *(f"in the ledger: {entry.id} {entry.phase}" for entry in entries(self.instance) if entry.active),
            *await self._failing(),
        ]

    async def _left_in_room(self) -> list[str]:
        """Nothing can be said of a room that has been killed; its cables go on, and heal by themselves."""
        try:
            room = await RoomClient(self.instance.room_socket).status()
        except TestbedError:
            return []
        return [
            *(f"{node.name} has no power" for node in room.nodes if not node.powered),
            *(f"cable of {node.name}: {hold}" for node in room.nodes for hold in node.cable),
            *(f"{process.name} is held down" for process in room.processes if process.held_down),
        ]

    async def _failing(self) -> list[str]:
        try:
            pods = (await self._client.list(PODS, "default")).items
        except ApiError as error:
            return [f"the API does not answer: {error.reason}"]
        return [f"{pod['metadata']['name']} has the pause image" for pod in pods
                if any(container["image"] == PAUSE_IMAGE for container in pod["spec"]["containers"])]


# --- looking, as root


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    return done.stdout if done.returncode == 0 else ""


def network_of(pid: int) -> list[str]:
    """Queueing disciplines, links, rules and chains of users in a process's network namespace."""
    inside = ("nsenter", "-t", str(pid), "-n")
    disciplines = run(*inside, "tc", "qdisc", "show").splitlines()
    filters = run(*inside, "tc", "filter", "show", "dev", "eth0").splitlines()
    links = [" ".join(line.split()[1:3]) for line in run(*inside, "ip", "-o", "link").splitlines()]
    saved = (run(*inside, "iptables-save") + run(*inside, "ip6tables-save")).splitlines()
    rules = [line for line in saved if line.startswith("-A") or re.match(r":\S+ -", line)]
    return [_NUMBERS.sub(r"\1", _COUNTERS.sub("", line)).strip()
            for line in (*disciplines, *filters, *links, *rules) if not _ENGINES.search(line)]


def is_rule(line: str) -> bool:
    """Whether it is there only because of a fault: pods have neither rules nor disciplines but the kernel's own."""
    return line.startswith(("-A", ":", "filter")) or any(
        f"qdisc {kind}" in line for kind in ("netem", "tbf", "htb", "prio", "ingress", "clsact"))


def processes_of(groups: Sequence[Path]) -> list[str]:
    found = []
    for pid in (read(groups[0] / "cgroup.procs") or "").split() if groups else ():
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
    return found


def mounts_of(pid: int) -> list[str]:
    """Where what kind of file system is mounted."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        return [f"{line.split()[4]} {line.partition(' - ')[2].split()[0]}" for line in lines]
    return []


def limits_of(groups: Sequence[Path]) -> list[str]:
    return [f"{group.relative_to(_CGROUPS).parts[0]} {file}: {text}"
            for group in groups for file in _LIMITS if (text := read(group / file)) is not None]


def is_frozen(groups: Sequence[Path]) -> bool:
    states = [read(group / file) for group in groups for file in ("freezer.state", "cgroup.freeze")]
    return any(state in ("FROZEN", "FREEZING", "1") for state in states)


def read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


@dataclass(frozen=True)
class Process:
    """``state``: as proc(5) has it. ``words``: its command line."""

    pid: int
    module: str
    state: str
    words: tuple[str, ...]


def processes(instance: Instance) -> Iterator[Process]:
    """Those of the cluster on this machine."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            words = tuple((entry / "cmdline").read_bytes().decode().split("\0"))
            if "-m" in words and any(word.startswith(str(instance.directory)) for word in words):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                yield Process(int(entry.name), words[words.index("-m") + 1], state, words)


def entries(instance: Instance) -> tuple[Entry, ...]:
    ledger = Ledger(instance.ledger)
    try:
        return ledger.all()
    finally:
        ledger.close()
