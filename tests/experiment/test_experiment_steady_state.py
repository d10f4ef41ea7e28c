"""Steady-state conditions, asked of a small HTTP server and of the real API in process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runner_world import FakePlatform, RunnerWorld, write_experiment

from testbed.api.resources import PODS
from testbed.experiment.applying import apply
from testbed.experiment.kind_steady import Condition
from testbed.experiment.steady_state import SteadyState, pick, say

BODIES = {
    "/ok": (200, "all is well"),
    "/down": (503, "no"),
    "/json": (200, json.dumps({"status": {"items": [{"name": "a"}]}, "n": 3})),
    "/api/v1/query": (200, json.dumps({"data": {"resultType": "vector", "result": [{"value": [0, "0.5"]}]}})),
}


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition("?")[0]
        status, body = BODIES.get(path, (404, ""))
        if path != "/silent":
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(("condition", "met"), [
    ({"http": {"service": "web", "path": "/ok"}}, True),
    ({"http": {"service": "web", "path": "/ok", "body": "well"}}, True),
    ({"http": {"service": "web", "path": "/ok", "body": "ill"}}, False),
    ({"http": {"service": "web", "path": "/down"}}, False),
    ({"http": {"service": "web", "path": "/down", "status": 503}}, True),
    ({"http": {"service": "web", "path": "/silent", "timeout": "100ms"}}, False),
    ({"tcp": {"service": "web"}}, True),
    ({"json": {"service": "web", "path": "/json", "at": "status.items[0].name", "equals": "a"}}, True),
    ({"json": {"service": "web", "path": "/json", "at": "n", "equals": 4}}, False),
    ({"json": {"service": "web", "path": "/json", "at": "none.of[7]", "equals": 1}}, False),
    ({"json": {"service": "web", "path": "/ok", "at": "n", "equals": 1}}, False),
    ({"promql": {"query": "up", "expect": "> 0.4"}}, True),
    ({"promql": {"query": "up", "expect": "> 0.6"}}, False),
])
async def test_over_the_network(address: str, tmp_path: Path, condition: dict[str, Any], met: bool) -> None:
    if "promql" in condition:
        condition["promql"]["url"] = f"http://{address}"
    async with RunnerWorld(tmp_path) as world:
        platform = FakePlatform(world.client, address)
        asked = Condition.model_validate(condition)
        answer, why = await SteadyState(platform, "default").ask(asked)
        assert answer is met, why
        assert why and say(asked)


async def test_nobody_listens(tmp_path: Path) -> None:
    async with RunnerWorld(tmp_path) as world:
        steady = SteadyState(FakePlatform(world.client), "default")
        for condition in ({"http": {"service": "web"}}, {"tcp": {"service": "web"}}):
            answer, why = await steady.ask(Condition.model_validate(condition))
            assert not answer and why


async def test_through_the_api(tmp_path: Path) -> None:
    async with RunnerWorld(tmp_path) as world:
        loaded = write_experiment(tmp_path)
        await apply(world.client, loaded.manifests, "default", lambda made: None)
        pod = {"metadata": {"name": "web-1", "labels": {"app": "web"}},
               "spec": {"containers": [{"name": "web", "image": "sample:v1"}]}}
        await world.client.create(PODS, pod, "default")
        steady = SteadyState(world.platform, "default")
        ready = Condition.model_validate({"ready": {"deployment": "web"}, "within": "5s"})
        loop = asyncio.get_running_loop()
        assert (await steady.hold(ready, "before", loop.time)).met
        absent = Condition.model_validate({"log": {"deployment": "web", "absent": "Traceback"}})
        assert (await steady.ask(absent))[0]
        present = Condition.model_validate({"log": {"deployment": "web", "contains": "started"}})
        assert not (await steady.ask(present))[0]
        missing = Condition.model_validate({"ready": {"deployment": "wep"}})
        assert "no Deployment" in (await steady.ask(missing))[1]


async def test_a_condition_that_never_holds_is_given_up_in_time(tmp_path: Path) -> None:
    async with RunnerWorld(tmp_path) as world:
        steady = SteadyState(FakePlatform(world.client), "default")
        loop = asyncio.get_running_loop()
        asked = Condition.model_validate({"tcp": {"service": "web"}, "within": "300ms"})
        found = await steady.hold(asked, "after", loop.time)
        assert not found.met and found.when == "after" and found.message


def test_picking_a_value() -> None:
    assert pick({"a": [{"b": 1}]}, "a[0].b") == 1
    with pytest.raises(LookupError):
        pick({"a": []}, "a[0]")
