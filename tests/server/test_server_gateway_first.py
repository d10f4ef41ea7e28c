"""A change of readiness is on its way to the gateway before anything else is made of it: requests wait for that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.api.clock import SystemClock
from testbed.api.resources import DEPLOYMENTS, NODES, PODS, SERVICES, ResourceType
from testbed.client.events import EventRecorder
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import PatchType
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import KUBERNETES
from testbed.network import feeder
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
RESOURCES = {"cpu": "8", "memory": "8Gi", "pods": "100"}
NODE = {"metadata": {"name": "n1"}, "status": {
    "capacity": RESOURCES, "allocatable": RESOURCES, "conditions": [{"type": "Ready", "status": "True"}]}}
SERVICE = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
DEPLOYMENT = {"metadata": {"name": "web"}, "spec": {
    "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}},
                 "spec": {"containers": [{"name": "app", "image": "sample:v1"}]}}}}


class Noting(InProcessClient):
    """Notes what is written, in order."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.order: list[str] = []

    async def create(self, resource: ResourceType, *args: Any, **more: Any) -> Json:
        self.order.append(resource.plural)
        return await super().create(resource, *args, **more)

    async def update(self, resource: ResourceType, *args: Any, **more: Any) -> Json:
        self.order.append(resource.plural)
        return await super().update(resource, *args, **more)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def settled(control: ControlPlane, client: Noting) -> None:
    """Nothing of the last act is still being done."""
    async with asyncio.timeout(20):
        seen = -1
        while seen != len(client.order) or not control.idle:
            seen = len(client.order)
            await asyncio.sleep(0.1)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A gateway that has done everything."""
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            revision = json.loads(line)["revision"]
            writer.write(json.dumps({"revision": revision, "changed": True, "applied_ns": 1}).encode() + b"\n")
    writer.close()


def condition(ready: bool) -> Json:
    return {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}


async def test_the_gateway_hears_of_a_flip_before_replicas_are_counted(tmp_path: Path, monkeypatch: Any) -> None:
    registry = Registry(Store(), clock=SystemClock(), random=random.Random(1), profile=KUBERNETES,
                        service_range="10.9.128.0/17", node_ports=tuple(range(30000, 30016)))
    ensure_system_objects(registry, "10.9.128.1")
    client = Noting(registry)
    ask = feeder.Line.ask

    async def noted(line: feeder.Line, message: Json) -> Json:
        client.order.append("gateway")
        return await ask(line, message)

    monkeypatch.setattr(feeder.Line, "ask", noted)
    server = await asyncio.start_unix_server(answer, tmp_path / "control.sock")
    recorder = EventRecorder(client, "gateway", SystemClock())
    control = ControlPlane(client, profile=KUBERNETES, clock=SystemClock(), random=random.Random(2))
    tasks = [asyncio.create_task(control.run()),
             asyncio.create_task(feeder.GatewayFeeder(client, tmp_path / "control.sock", recorder).run())]

    async def flip(pod: Json, ready: bool) -> None:
        status = {"phase": "Running", "podIP": "10.9.0.1", "podIPs": [{"ip": "10.9.0.1"}],
                  "conditions": [condition(ready)]}
        await client.patch(PODS, pod["metadata"]["name"], {"status": status}, "default",
                           patch_type=PatchType.STRATEGIC, subresource="status")

    try:
        await client.create(NODES, NODE)
        await client.create(SERVICES, SERVICE, "default")
        await client.create(DEPLOYMENTS, DEPLOYMENT, "default")
        await until(lambda: len(registry.store.list("pods")) == 2)
        pod = registry.store.list("pods")[0].value
        for ready in (True, False, True):
            await settled(control, client)
            client.order.clear()
            await flip(pod, ready)
            await until(lambda: "deployments" in client.order and "gateway" in client.order)
            assert client.order[:2] == ["endpointslices", "gateway"]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
