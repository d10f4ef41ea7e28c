"""The feeder: sends whole states, again to a gateway started anew, and tells when endpoints were programmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.api.labels import ENDPOINTS, SERVICE_NAME
from testbed.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, ResourceType
from testbed.client.protocol import ObjectList, WatchEvent
from testbed.network.feeder import GatewayFeeder

Json = dict[str, Any]


class Gateway:
    """Answers as the real one does and keeps what it was sent."""

    def __init__(self, socket: Path) -> None:
        self.socket, self.received, self.in_force = socket, list[Json](), list[Json]()
        self.refuse = False
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.in_force = []
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                message = json.loads(line)
                self.received.append(message)
                changed, self.in_force = message["services"] != self.in_force, message["services"]
                answer = {"revision": message["revision"], "changed": changed, "applied_ns": 42, "took_ns": 1}
                writer.write(json.dumps({"error": "no"} if self.refuse else answer).encode() + b"\n")


class World:
    """A client of three kinds whose objects the test changes."""

    def __init__(self) -> None:
        kinds = (SERVICES, ENDPOINT_SLICES, NODES, PODS)
        self.objects: dict[str, dict[str, Json]] = {kind.plural: {} for kind in kinds}
        self._watches: list[tuple[str, asyncio.Queue[WatchEvent]]] = []
        self._version = 1

    def put(self, resource: ResourceType, obj: Json) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self.objects[resource.plural][obj["metadata"]["name"]] = obj
        for plural, queue in self._watches:
            if plural == resource.plural:
                queue.put_nowait(WatchEvent("MODIFIED", obj))

    async def list(self, resource: ResourceType, namespace: str | None = None, **selectors: str) -> ObjectList:
        return ObjectList(tuple(self.objects[resource.plural].values()), str(self._version))

    async def watch(
        self, resource: ResourceType, namespace: str | None = None, **more: str
    ) -> AsyncIterator[WatchEvent]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._watches.append((resource.plural, queue))
        while True:
            yield await queue.get()


class Recorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, int | None]] = []

    def event(
        self, obj: Mapping[str, Any], type: str, reason: str, message: str, *, monotonic_ns: int | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self.told.append((obj["metadata"]["name"], reason, (annotations or {})[ENDPOINTS], monotonic_ns))


def service(name: str = "web") -> Json:
    return {"metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"clusterIP": "10.9.128.20", "ports": [{"port": 80}]}}


def slices(*addresses: str, owner: str = "web") -> Json:
    return {"metadata": {"name": owner, "namespace": "default", "uid": owner + "-s", "labels": {SERVICE_NAME: owner}},
            "ports": [{"port": 8080}], "endpoints": [{"addresses": [one]} for one in addresses]}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[World, Gateway, Recorder]]:
    world, gateway, recorder = World(), Gateway(tmp_path / "control.sock"), Recorder()
    world.put(SERVICES, service())
    world.put(ENDPOINT_SLICES, slices("10.9.1.1"))
    await gateway.start()
    feeder = GatewayFeeder(world, gateway.socket, recorder)  # type: ignore[arg-type]
    task = asyncio.create_task(feeder.run())
    await until(lambda: len(recorder.told) == 1)
    yield world, gateway, recorder
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gateway.stop()


Scene = tuple[World, Gateway, Recorder]


async def test_first_state_is_sent_whole_and_told(scene: Scene) -> None:
    _, gateway, recorder = scene
    assert gateway.in_force[0]["endpoints"] == [["10.9.1.1", 8080]]
    assert recorder.told == [("web", "EndpointsProgrammed", "10.9.1.1", 42)]


async def test_each_change_of_endpoints_is_told_once(scene: Scene) -> None:
    world, gateway, recorder = scene
    world.put(ENDPOINT_SLICES, slices("10.9.1.1", "10.9.1.2"))
    await until(lambda: len(recorder.told) == 2)
    world.put(SERVICES, service() | {"status": {}})
    world.put(ENDPOINT_SLICES, slices())
    await until(lambda: len(recorder.told) == 3)
    assert [told[2] for told in recorder.told] == ["10.9.1.1", "10.9.1.1,10.9.1.2", ""]
    assert gateway.in_force[0]["endpoints"] == []


async def test_changes_of_one_moment_travel_together(scene: Scene) -> None:
    world, gateway, recorder = scene
    before = len(gateway.received)
    for last in range(2, 30):
        world.put(ENDPOINT_SLICES, slices(*(f"10.9.1.{n}" for n in range(1, last))))
    await until(lambda: len(gateway.in_force[0]["endpoints"]) == 28)
    assert len(gateway.received) - before <= 3


async def test_gateway_that_was_started_anew_gets_everything_and_nothing_is_told(scene: Scene) -> None:
    world, gateway, recorder = scene
    await gateway.stop()
    await gateway.start()
    await until(lambda: bool(gateway.in_force))
    world.put(ENDPOINT_SLICES, slices("10.9.1.3"))
    await until(lambda: len(recorder.told) == 2)
    assert recorder.told[-1][2] == "10.9.1.3"


async def test_successor_of_a_killed_feeder_tells_nothing_that_was_so_before(scene: Scene) -> None:
    world, gateway, recorder = scene
    second = Recorder()
    before = len(gateway.received)
    task = asyncio.create_task(GatewayFeeder(world, gateway.socket, second).run())  # type: ignore[arg-type]
    await until(lambda: len(gateway.received) > before)
    world.put(ENDPOINT_SLICES, slices("10.9.1.9"))
    await until(lambda: gateway.in_force[0]["endpoints"] == [["10.9.1.9", 8080]])
    assert all(told[2] != "10.9.1.1" for told in second.told)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_state_that_was_refused_is_sent_again(scene: Scene) -> None:
    world, gateway, recorder = scene
    gateway.refuse = True
    world.put(ENDPOINT_SLICES, slices("10.9.1.4"))
    await until(lambda: gateway.in_force[0]["endpoints"] == [["10.9.1.4", 8080]])
    gateway.refuse, gateway.in_force = False, []
    await until(lambda: len(recorder.told) == 2)
