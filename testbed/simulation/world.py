"""A whole cluster in virtual time: API, agents, room, chaos daemon, gateway and pulse over one simulated machine.

Everything that decides is the real code; what is simulated is what it stands on. ``World.log`` is the one trace of
all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.registry import Registry
from testbed.api import labels
from testbed.api.resources import DEPLOYMENTS, NODES, PODS, SERVICES, ResourceType
from testbed.client.protocol import Client
from testbed.core.profile import FAST, Profile
from testbed.errors import ApiError, TestbedError
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated import SimulatedEngine, SimulatedMachine
from testbed.simulation.api import GATEWAY_ADDRESS, Line, LineClient, SimulatedApi
from testbed.simulation.chaos import SimulatedChaos
from testbed.simulation.effects import Effects
from testbed.simulation.gateway import SimulatedGateway, run_gateway_container
from testbed.simulation.holders import HolderPrograms
from testbed.simulation.ingress import HTTP_PORT
from testbed.simulation.loop import VirtualClock, VirtualLoop
from testbed.simulation.network import SimulatedNetwork
from testbed.simulation.nodes import NodeShape, SimulatedNode, SimulatedRoom, facts_of
from testbed.simulation.trace import Trace
from testbed.store import Stored

Json = dict[str, Any]

IMAGES = ("testbed-pause:1", "testbed-gateway:1", "testbed-nettools:1", "testbed-registry:1", "sample:v1", "sample:v2",
          "sample:broken")
REGISTRY = "127.0.0.1:5000"
SERVICE_RANGE = "10.200.128.0/17"
SERVICE_PREFIX = "10.200.128."
POD_RANGE = "10.200.0.0/17"
HOST_ADDRESS = "10.200.0.1"
RESTLESS = "simulation.testbed.io/restless"  # a Deployment that is meant never to settle
_INSTANCE = "51aa51aa51aa"
_GATEWAY_SOCKET = "/simulation/gateway/control.sock"


class DidNotHappen(TestbedError):
    """What was waited for did not come true in (virtual) time."""


@dataclass
class Excuses:
    """What scenarios and faults have hurt on purpose, so that checkers do not blame the healer."""

    containers: set[str] = field(default_factory=set)
    nodes: dict[str, float] = field(default_factory=dict)  # name: until when (loop time)


class World:
    """``instance_id``: of the simulated cluster; everything of it carries that label. ``shape``: of its nodes."""

    def __init__(
        self, loop: VirtualLoop, seed: int, directory: Path, *, profile: Profile = FAST, shape: NodeShape | None = None,
    ) -> None:
        self.loop, self.seed, self.profile, self.shape = loop, seed, profile, shape or NodeShape()
        self.directory = directory
        self.instance_id = _INSTANCE
        self.clock = VirtualClock(loop)
        self.trace = Trace()
        self.draw = random.Random(f"{seed} scenario")
        self.machine = SimulatedMachine(random.Random(f"{seed} machine"), self.clock)
        self.machine.log = self.trace.add
        self.machine.volume_directory = directory / "volumes"
        self.machine.add_image(*IMAGES)
        self.effects = Effects(self.machine, HOST_ADDRESS)
        self.network = SimulatedNetwork(self.machine, self.effects)
        self.gateway = SimulatedGateway(
            self.machine, SERVICE_RANGE, HOST_ADDRESS, GATEWAY_ADDRESS, POD_RANGE)
        self.network.translate = self.gateway.translate
        self.machine.resolve = self.gateway.resolve
        self.network.sockets[_GATEWAY_SOCKET] = self.gateway.accept
        self.network.fronts[GATEWAY_ADDRESS, HTTP_PORT] = self.gateway.front.accept
        loop.network = self.network
        self.api = SimulatedApi(
            loop, directory / "store.sqlite", profile=profile, clock=self.clock, seed=str(seed), log=self.trace.add,
            service_range=SERVICE_RANGE, kubernetes_address=f"{SERVICE_PREFIX}1", gateway_socket=Path(_GATEWAY_SOCKET),
            machine=self.machine, cgroup=f"/testbed-{self.instance_id}/_api",
        )
        self.room = SimulatedRoom(self.machine, self.instance_id, f"/testbed-{self.instance_id}", self._make_node,
                                  self.api)
        self.chaos = SimulatedChaos(
            loop, self.api, self.machine, self.room, instance_id=self.instance_id, directory=directory,
            clock=self.clock, seed=str(seed),
        )
        HolderPrograms(self.machine, self.effects, Registry(), self.chaos.plan_of)
        self.client: Client = LineClient(self.api, Line(), random.Random(f"{seed} person"))
        self.excuses = Excuses()
        self._seen: tuple[tuple[int, int], dict[str, list[Json]]] = ((0, 0), {})
        self._made = 0

    def _make_node(self, name: str) -> SimulatedNode:
        self._made += 1
        facts = facts_of(name, self._made, self.instance_id, self.directory, self.shape)
        facts.directory.mkdir(parents=True, exist_ok=True)
        return SimulatedNode(
            self.loop, facts, self.machine, self.api, profile=self.profile, clock=self.clock, seed=str(self.seed)
        )

    async def start(self, nodes: int = 3) -> None:
        """Returns when all nodes are Ready."""
        run_gateway_container(self.machine, self.instance_id, GATEWAY_ADDRESS)
        await self.api.start()
        for _ in range(nodes):
            await self.room.add_node(kind=self.shape.kind)
        self.chaos.start()
        await self.until(self.nodes_ready, what="all nodes are Ready")

    async def close(self) -> None:
        self.chaos.close()
        await self.room.stop()
        self.api.kill()

    # --- acting, as a person would

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = "default") -> Json:
        made: Json = await self._patiently(lambda: self.client.create(resource, obj, namespace))
        return made

    async def patch(self, resource: ResourceType, name: str, patch: Any, namespace: str | None = "default") -> Json:
        patched: Json = await self._patiently(lambda: self.client.patch(resource, name, patch, namespace))
        return patched

    async def delete(self, resource: ResourceType, name: str, namespace: str | None = "default") -> None:
        await self._patiently(lambda: self.client.delete(resource, name, namespace))

    async def start_registry(self) -> str:
        """As ``testbed registry start``: one that has what the machine has; its ``host:port``."""
        engine = SimulatedEngine(self.machine, "person")
        await engine.start(await engine.create(ContainerSpec(
            name="testbed-simulation-registry", image="testbed-registry:1", labels={
                labels.INSTANCE: self.instance_id, labels.ROLE: labels.ROLE_REGISTRY, labels.REGISTRY: REGISTRY})))
        return REGISTRY

    async def remove_node(self, name: str) -> None:
        """As ``testbed node remove``: switched off, swept, and its object deleted."""
        await self.room.remove_node(name)
        await self.delete(NODES, name, None)

    async def _patiently(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """A person tries again while the API is down."""
        for _ in range(200):
            try:
                return await act()
            except ApiError as error:
                if error.code != 503:
                    raise
                await asyncio.sleep(0.5)
        raise DidNotHappen("the API did not come back")

    # --- looking, past the API, at the store itself

    def objects(self, resource: ResourceType) -> list[Json]:
        """As they are in the store, also while the API is down (then as it last was). Read them only."""
        now = self._now()
        if resource.plural not in now:
            now[resource.plural] = [item.value for item in self.stored(resource)]
        return now[resource.plural]

    def stored(self, resource: ResourceType) -> list[Stored]:
        if self.api.registry is None:
            return []
        return self.api.registry.store.list(resource.group_resource)

    @property
    def stored_revision(self) -> int:
        return self.api.registry.store.revision if self.api.registry is not None else 0

    def _now(self) -> dict[str, list[Json]]:
        """What has been read since the last write."""
        key = (self.api.epoch, self.stored_revision)
        if self._seen[0] != key:
            self._seen = (key, {})
        return self._seen[1]

    def pods(self, **labels: str) -> list[Json]:
        return [
            pod for pod in self.objects(PODS)
            if all((pod["metadata"].get("labels") or {}).get(key) == value for key, value in labels.items())
        ]

    async def nodes_ready(self) -> bool:
        nodes = self.objects(NODES)
        return len(nodes) >= len(self.room.nodes) > 0 and all(is_true(node, "Ready") for node in nodes)

    def address_of(self, service: str) -> tuple[str, int]:
        for item in self.objects(SERVICES):
            if item["metadata"]["name"] == service:
                return item["spec"]["clusterIP"], int(item["spec"]["ports"][0]["port"])
        raise DidNotHappen(f"there is no Service {service}")

    def settled(self) -> str:
        """Empty when the cluster is as its objects want it; else what is not."""
        for node in self.objects(NODES):
            if not is_true(node, "Ready") or node["spec"].get("taints"):
                return f"node {node['metadata']['name']} is not Ready or tainted"
        names = {node["metadata"]["name"] for node in self.objects(NODES)}
        for pod in self.pods():
            if pod["spec"].get("nodeName") not in names:
                return f"pod {pod['metadata']['name']} is on no node"
            if pod["metadata"].get("deletionTimestamp"):
                return f"pod {pod['metadata']['name']} is being deleted"
        for deployment in self.objects(DEPLOYMENTS):
            if RESTLESS in (deployment["metadata"].get("annotations") or {}):
                continue
            if problem := self._unsettled(deployment):
                return problem
        return self._stray()

    def _unsettled(self, deployment: Json) -> str:
        name, wanted = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        status = deployment.get("status") or {}
        pods = [pod for pod in self.pods(app=name) if not terminal(pod)]
        if len(pods) != wanted or not all(is_true(pod, "Ready") for pod in pods):
            return f"{name}: {len(pods)} pods of {wanted}, {sum(is_true(pod, 'Ready') for pod in pods)} ready"
        if status.get("updatedReplicas", 0) != wanted or status.get("availableReplicas", 0) != wanted:
            return f"{name}: status {status}"
        address, port = self.address_of(name)
        inside = sorted(endpoint[0] for endpoint in self.gateway.services.get((address, port), ()))
        return "" if inside == sorted(pod["status"]["podIP"] for pod in pods) else f"{name}: in rotation {inside}"

    def _stray(self) -> str:
        """Containers that no pod owns, or that are not as the pods' statuses say."""
        uids = {pod["metadata"]["uid"] for pod in self.objects(PODS)}
        for pod in self.pods():
            if problem := self._told_otherwise(pod):
                return problem
        for container in self.machine.containers.values():
            uid = container.spec.labels.get("io.kubernetes.pod.uid", "")
            if uid and uid not in uids:
                return f"container {container.spec.name} is of no pod"
            if container.running and container.application is not None and container.application.hung:
                return f"container {container.spec.name} hangs"
            if container.running and any(by.startswith("agent") for _, _, by in container.signals):
                return f"container {container.spec.name} is asked to end"  # and has its grace
        return ""

    def _told_otherwise(self, pod: Json) -> str:
        """A death of a moment ago that nobody has told yet is not a settled cluster."""
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            container = self.machine.containers.get(str(status.get("containerID", "")).rpartition("/")[2])
            if "running" in status.get("state", {}) and (container is None or not container.running):
                return f"pod {pod['metadata']['name']} is told to run {status['name']}, which has ended"
        return ""

    async def until(
        self, condition: Callable[[], Awaitable[bool]] | Callable[[], bool], *, within_s: float = 120.0, what: str = ""
    ) -> float:
        """Waits in virtual time. Returns the seconds it took. Raises: DidNotHappen."""
        began = self.loop.time()
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return self.loop.time() - began
            if self.loop.time() - began > within_s:
                raise DidNotHappen(f"not within {within_s:g} s of virtual time: {what}")
            await asyncio.sleep(0.05)

    async def until_settled(self, within_s: float = 120.0) -> float:
        """I14. Raises: DidNotHappen, saying what is not as it should be."""
        try:
            return await self.until(lambda: not self.settled(), within_s=within_s)
        except DidNotHappen as error:
            raise DidNotHappen(f"{error}: {self.settled()}") from None


@contextlib.asynccontextmanager
async def open_world(
    loop: VirtualLoop, seed: int, *, nodes: int = 3, profile: Profile = FAST, shape: NodeShape | None = None,
) -> AsyncIterator[World]:
    """A world that is up; its files are removed with it. They lie in memory where the machine offers that."""
    directory = _directory()
    world = World(loop, seed, directory, profile=profile, shape=shape)
    try:
        await world.start(nodes)
        yield world
    finally:
        await world.close()
        shutil.rmtree(directory, ignore_errors=True)


def _directory() -> Path:
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    return Path(tempfile.mkdtemp(prefix="testbed-simulation-", dir=base))


def is_true(obj: Json, condition: str) -> bool:
    found = (obj.get("status") or {}).get("conditions") or ()
    return any(item["type"] == condition and item["status"] == "True" for item in found)


def terminal(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
