"""A small world for the chaos daemon: the real API in process, and a made-up engine, host and machine room."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.abilities import Abilities, Everything
from faults.daemon import ChaosDaemon
from faults.holders import Holders, NoHolders
from faults.ledger import Ledger
from faults.protocol import Site
from testbed.api import labels
from testbed.api.clock import SystemClock
from testbed.api.resources import NAMESPACES, NODES, PODS, ResourceType
from testbed.client.inprocess import InProcessClient
from testbed.core.profile import FAST
from testbed.errors import AlreadyExists, EnvironmentProblem, HostError, NoSuchContainer
from testbed.machines.protocol import CableHold, NodeState, RoomStatus
from testbed.runtime.containers import ContainerState
from testbed.runtime.host_protocol import ProcessIdentity
from testbed.server.registry import Registry
from testbed.store.store import Store

Json = dict[str, Any]


@dataclass
class World:
    """Engine, host and room in one. ``dead``: acts that do nothing (an injection that does not take)."""

    containers: dict[str, ContainerState] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)
    frozen_cgroups: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    cut: dict[str, float | None] = field(default_factory=dict)
    cable_keys: dict[str, set[str]] = field(default_factory=dict)
    nodes: tuple[str, ...] = ("n1", "n2", "n3")
    ineffective: bool = False
    stuck: bool = False  # undoing fails
    log: list[str] = field(default_factory=list)

    # --- engine

    async def list(self, wanted: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]:
        return tuple(state for state in self.containers.values()
                     if all(state.labels.get(key) == value for key, value in wanted.items()))

    async def inspect(self, container: str) -> ContainerState:
        if container not in self.containers:
            raise NoSuchContainer(container)
        return self.containers[container]

    # --- host

    async def identify(self, pid: int) -> ProcessIdentity:
        if pid in self.killed:
            raise HostError(f"there is no process {pid}")
        return ProcessIdentity(pid, pid * 10)

    async def alive(self, process: ProcessIdentity) -> bool:
        return process.pid not in self.killed

    async def wait_exit(self, process: ProcessIdentity) -> int:
        if process.pid not in self.killed:
            await asyncio.get_running_loop().create_future()
        return 0

    async def signal(self, process: ProcessIdentity, signal: int) -> None:
        self.log.append(f"signal {process.pid} {signal}")
        if not self.ineffective:
            self.killed.add(process.pid)

    async def cgroup_of(self, process: ProcessIdentity) -> str:
        return next(f"/testbed-id/n1/{state.id}" for state in self.containers.values() if state.pid == process.pid)

    async def freeze(self, cgroup: str) -> None:
        self.log.append(f"freeze {cgroup}")
        if not self.ineffective:
            self.frozen_cgroups.add(cgroup)

    async def thaw(self, cgroup: str) -> None:
        self.log.append(f"thaw {cgroup}")
        if self.stuck:
            raise HostError("the freezer does not answer")
        self.frozen_cgroups.discard(cgroup)

    async def frozen(self, cgroup: str) -> bool:
        return cgroup in self.frozen_cgroups

    # --- room

    async def status(self) -> RoomStatus:
        return RoomStatus("test", "id", "fast", 1, 1, (), tuple(
            NodeState(name, name not in self.off, name in self.cut, "", 1,
                      tuple(CableHold(key, True, "both", 0.0) for key in self.cable_keys.get(name, ())))
            for name in self.nodes))

    async def set_power(self, name: str, *, on: bool) -> None:
        self.log.append(f"power {name} {on}")
        if on:
            self.off.discard(name)
        elif not self.ineffective:
            self.off.add(name)

    async def set_cable(
        self, name: str, *, cut: bool, deadline_s: float | None = None, direction: str = "both", delay_s: float = 0.0,
        key: str = "",
    ) -> None:
        self.log.append(f"cable {name} {cut}")
        keys = self.cable_keys.setdefault(name, set())
        if cut:
            self.cut[name] = deadline_s
            keys.add(key)
        else:
            keys.discard(key)
            if not keys:
                self.cut.pop(name, None)

    async def round_trip_s(self, name: str, *, within_s: float) -> float:
        if name in self.cut:
            raise EnvironmentProblem("no answer")
        return 0.001

    async def add_node(self, name: str = "", *, cpu: str = "", memory: str = "") -> str:
        raise NotImplementedError

    async def remove_node(self, name: str) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError


class Bench:
    """The API, the world, and daemons that come and go."""

    def __init__(self, directory: Path) -> None:
        self.world = World()
        self.registry = Registry(Store(":memory:"), clock=SystemClock(), random=random.Random(1), profile=FAST,
                                 service_range="10.99.128.0/17", node_ports=())
        self.client = InProcessClient(self.registry)
        self.directory = directory
        self.ledger_path = directory / "ledger.sqlite"
        self.holders: Holders = NoHolders()
        self.abilities: Abilities = Everything()
        self._serial = 100
        self._daemon: asyncio.Task[None] | None = None
        self._ledger: Ledger | None = None

    async def begin(self) -> None:
        for name in ("default", "kube-system", "other"):
            with contextlib.suppress(AlreadyExists):
                await self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace",
                                                      "metadata": {"name": name}})
        for name in self.world.nodes:
            await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})

    async def pod(
        self, name: str, node: str = "n1", namespace: str = "default", app: str = "web",
        owner: tuple[str, str] | None = None,
    ) -> Json:
        """A running pod with one container ``app``. ``owner``: kind and name of its controller."""
        owners = [{"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": owner[1], "controller": True}
                  ] if owner else []
        pod = await self.client.create(PODS, {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}, "ownerReferences": owners},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "app", "image": "sample:v1"}]},
        }, namespace)
        await self.client.patch(PODS, name, {"status": {"phase": "Running"}}, namespace, subresource="status")
        self.container(pod)
        return pod

    def container(self, pod: Json, attempt: int = 0) -> ContainerState:
        self._serial += 1
        state = ContainerState(
            id=f"{self._serial:064x}", name=f"c{self._serial}", image="sample:v1", image_id="", status="running",
            pid=self._serial, labels={
                labels.INSTANCE: "id", labels.ROLE: labels.ROLE_CONTAINER, labels.POD_UID: pod["metadata"]["uid"],
                labels.CONTAINER_NAME: "app", labels.ATTEMPT: str(attempt)})
        self.world.containers[state.id] = state
        return state

    # --- the daemon

    def start_daemon(self) -> None:
        self._ledger = Ledger(self.ledger_path)
        daemon = ChaosDaemon(self.client, self.world, self.world, self.world, self._ledger, SystemClock(),
                             random.Random(7), site=Site("id", self.directory, "/testbed-id"), holders=self.holders,
                             abilities=self.abilities)
        self._daemon = asyncio.create_task(daemon.run())

    async def kill_daemon(self) -> None:
        if self._daemon is not None and self._ledger is not None:
            self._daemon.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._daemon
            self._ledger.close()
            self._daemon = None

    # --- faults

    async def fault(self, resource: ResourceType, spec: Mapping[str, Any], name: str = "f", **metadata: Any) -> Json:
        obj = {"apiVersion": resource.api_version, "kind": resource.kind,
               "metadata": {"name": name, "namespace": "default", **metadata}, "spec": dict(spec)}

        async def create() -> Json | None:
            with contextlib.suppress(Exception):
                return await self.client.create(resource, obj, "default")
            return None

        made = await self.until(create)
        assert isinstance(made, dict)
        return made

    async def conditions(self, resource: ResourceType, name: str = "f") -> dict[str, str]:
        obj = await self.client.get(resource, name, "default")
        return {item["type"]: item["status"] for item in (obj.get("status") or {}).get("conditions") or ()}

    async def records(self, resource: ResourceType, name: str = "f") -> list[Json]:
        obj = await self.client.get(resource, name, "default")
        return list(((obj.get("status") or {}).get("experiment") or {}).get("containerRecords") or ())

    async def until(self, check: Callable[[], Awaitable[Any]], deadline_s: float = 10.0) -> Any:
        """Waits for a condition. Raises: AssertionError when it does not come."""
        end = time.monotonic() + deadline_s
        while True:
            value = await check()
            if value:
                return value
            assert time.monotonic() < end, "the condition did not come"
            await asyncio.sleep(0.01)

    async def until_condition(self, resource: ResourceType, kind: str, status: str = "True", name: str = "f") -> None:
        async def holds() -> bool:
            return (await self.conditions(resource, name)).get(kind) == status

        await self.until(holds)
