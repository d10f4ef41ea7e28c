"""A small world for the agent's tests: the real registry in process, and a real or simulated engine.

The scheduler is not part of it: pods name their node themselves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.api.clock import SystemClock, WallClock
from testbed.api.resources import EVENTS, PODS
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import Client
from testbed.core.profile import FAST, Profile
from testbed.node.agent import Agent
from testbed.node.facts import NodeFacts
from testbed.runtime.host_protocol import Host, ProcessIdentity
from testbed.runtime.protocol import Engine
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
NODE = "n1"


def make_registry(path: Path, profile: Profile, clock: WallClock, seed: int = 1) -> Registry:
    registry = Registry(
        Store(path), clock=clock, random=random.Random(seed), profile=profile,
        service_range="10.99.128.0/17", node_ports=tuple(range(30000, 30016)),
    )
    ensure_system_objects(registry, "10.99.128.1")
    return registry


def pod(name: str, image: str = "sample:v1", *, node: str = NODE, spec: Mapping[str, Any] | None = None,
        container: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> Json:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **(metadata or {})},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": image, **(container or {})}],
                 **(spec or {})},
    }


async def until(look: Callable[[], Any] | Callable[[], Awaitable[Any]], within_s: float = 20.0, what: str = "") -> Any:
    """The first true answer of ``look``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        answer = look()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        if loop.time() > deadline:
            raise AssertionError(f"did not happen within {within_s:g} s: {what or look}")
        await asyncio.sleep(0.02)


class World:
    def __init__(
        self, client: Client, engine: Engine, host: Host, facts: NodeFacts, profile: Profile, clock: WallClock
    ) -> None:
        self.clock = clock
        self.client, self.engine, self.host, self.facts, self.profile = client, engine, host, facts, profile
        self.agent: Agent | None = None
        self._task: asyncio.Task[None] | None = None
        self.routed: list[ProcessIdentity] = []

    async def start_agent(self, client: Client | None = None, kinds: Any = None, seed: int = 7) -> Agent:
        async def route(process: ProcessIdentity) -> None:
            self.routed.append(process)

        more = {"kinds": kinds} if kinds is not None else {}
        self.agent = Agent(client or self.client, self.engine, self.host, self.facts, self.profile, self.clock,
                           random.Random(seed), route, **more)
        self._task = asyncio.get_running_loop().create_task(self.agent.run())
        return self.agent

    async def kill_agent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = self.agent = None

    async def create(self, manifest: Json) -> Json:
        return await self.client.create(PODS, manifest, "default")

    async def get(self, name: str) -> Json:
        return await self.client.get(PODS, name, "default")

    async def status(self, name: str) -> Json:
        status: Json = (await self.get(name)).get("status") or {}
        return status

    async def container(self, name: str, container: str = "app") -> Json:
        status = await self.status(name)
        every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
        return next((item for item in every if item["name"] == container), {})

    async def ready(self, name: str) -> bool:
        return condition(await self.status(name), "Ready") == "True"

    async def events(self, reason: str = "") -> list[Json]:
        listing = await self.client.list(EVENTS, "default")
        return [item for item in listing.items if not reason or item["reason"] == reason]


def condition(status: Json, kind: str) -> str:
    return next((item["status"] for item in status.get("conditions") or () if item["type"] == kind), "")


@asynccontextmanager
async def world(
    tmp_path: Path, engine: Engine, host: Host, *, instance_id: str, network: str, cidr: str, address: str,
    profile: Profile = FAST, clock: WallClock | None = None, boot_id: str = "boot-1",
) -> AsyncIterator[World]:
    clock = clock or SystemClock()
    client = InProcessClient(make_registry(tmp_path / "store.sqlite", profile, clock))
    facts = NodeFacts(
        name=NODE, instance_id=instance_id, instance_name="test-node", pod_cidr=cidr, address=address,
        network=network, cgroup=f"/testbed-{instance_id}/{NODE}", directory=tmp_path / "node", cpu="4", memory="8Gi",
        boot_id=boot_id,
    )
    made = World(client, engine, host, facts, profile, clock)
    try:
        yield made
    finally:
        await made.kill_agent()
