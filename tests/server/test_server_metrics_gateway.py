"""The gateway's and HAProxy's metrics through the control plane: what they say, or a 503 that says why not."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from http_world import World, http_world
from prometheus_client.parser import text_string_to_metric_families

from testbed.server import gateway_paths

sys.path.insert(0, str(Path(__file__).parents[1] / "network"))

from gateway_modules import DNS, GATEWAY, SETTINGS

Json = dict[str, Any]
OURS, HAPROXYS = "/testbed/v1/gateway/metrics", "/testbed/v1/haproxy/metrics"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with http_world(tmp_path) as made:
        made.instance.gateway_directory.mkdir()
        yield made


async def answering(world: World, answer: Any) -> asyncio.Server:
    """A gateway that says this, whatever it is asked; nothing for None."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if answer is not None:
            writer.write(json.dumps(answer).encode() + b"\n")
        await reader.read()
        writer.close()

    return await asyncio.start_unix_server(serve, world.instance.gateway_directory / "control.sock")


async def test_the_gateways_counts_are_served_as_metrics(world: World) -> None:
    gateway = GATEWAY.Gateway(SETTINGS, lambda text: None, DNS.DnsServer(DNS.Zone("cluster.local"), []))
    gateway.handle({"op": "program", "revision": 1, "services": [], "records": {}})
    async with await asyncio.start_unix_server(gateway.serve, world.instance.gateway_directory / "control.sock"):
        status, body, answer = await world.ask("GET", OURS)
    assert status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {sample.name: sample.value for family in text_string_to_metric_families(body["text"])
             for sample in family.samples if not sample.labels}
    assert found["testbed_gateway_service_ports"] == 0
    assert found["testbed_gateway_state_age_seconds"] >= 0


async def test_haproxys_text_is_passed_on_as_it_is(world: World) -> None:
    async with await answering(world, {"haproxy": "haproxy_process_uptime_seconds 7\n"}):
        status, body, _ = await world.ask("GET", HAPROXYS)
    assert (status, body) == (200, {"text": "haproxy_process_uptime_seconds 7\n"})


@pytest.mark.parametrize(("path", "answer", "words"), [
    (OURS, {"revision": 1, "programmed": True}, "its image is old"),
    (OURS, {"metrics": {"states": {}}}, "counts are of another form"),
    (OURS, {"error": "OSError: gone"}, "OSError: gone"),
    (OURS, [1], "no object"),
    (HAPROXYS, {"haproxy": None}, "there is no Ingress"),
    (HAPROXYS, {"error": "ValueError: haproxy answered [b'HTTP/1.1 503']"}, "haproxy answered"),
])
async def test_a_gateway_that_cannot_say_is_unavailable_in_words(
    world: World, path: str, answer: Any, words: str,
) -> None:
    async with await answering(world, answer):
        status, body, _ = await world.ask("GET", path)
    assert (status, body["reason"]) == (503, "ServiceUnavailable")
    assert words in body["message"]


@pytest.mark.parametrize("path", [OURS, HAPROXYS])
async def test_no_gateway_and_a_silent_one_are_unavailable_and_not_waited_for(
    world: World, path: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_paths, "ANSWER_S", 0.2)
    status, body, _ = await world.ask("GET", path)
    assert status == 503 and "the gateway does not answer" in body["message"]
    async with await answering(world, None):
        status, body, _ = await world.ask("GET", path)
    assert status == 503 and "did not answer within 0.2 s" in body["message"]


@pytest.mark.parametrize("path", ["/testbed/v1/gateway", "/testbed/v1/gateway/metrics/more", "/testbed/v1/haproxy/x"])
async def test_nothing_else_is_there(world: World, path: str) -> None:
    assert (await world.ask("GET", path))[0] == 404


@pytest.mark.parametrize("path", [OURS, HAPROXYS])
async def test_it_is_nobody_elses_to_see(world: World, path: str) -> None:
    assert (await world.ask("GET", path, token="wrong"))[0] == 401
    assert (await world.ask("POST", path, json={}))[0] == 405
