"""Logs, exec and node documents go through the API to the pod's agent; a node that cannot be reached is a 503."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from http_world import World, free_port, http_world
from server_world import pod

from testbed.api import resources as r
from testbed.api.instance import NodeInstance
from testbed.api.instance_files import load_instance, save_instance
from testbed.server import agents
from testbed.server.kubeconfig import write_kubeconfig

PODS = "/api/v1/namespaces/default/pods"


class FakeAgent:
    """Answers as an agent does, behind the end of its cable."""

    def __init__(self, world: World) -> None:
        self.asked: list[str] = []
        self._world = world
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        application.router.add_get("/stats/summary", self._summary)
        self._runner = web.AppRunner(application)

    async def start(self) -> None:
        instance = self._world.instance
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(instance.certificate, instance.certificate_key)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", instance.nodes[0].to_agent_port, ssl_context=tls).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    def _check(self, request: web.Request) -> None:
        self.asked.append(request.path_qs)
        expected = f"Bearer {self._world.instance.agent_token_file.read_text()}"
        if request.headers.get("Authorization") != expected:
            raise web.HTTPUnauthorized

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        if request.query.get("previous"):
            raise web.HTTPBadRequest(text="previous terminated container not found")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await response.write(b"two\n")
        return response

    async def _exec(self, request: web.Request) -> web.WebSocketResponse:
        self._check(request)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        if request.query.get("stdin"):
            async for message in socket:
                if message.data[0] == 255:
                    break
                await socket.send_bytes(b"\x01" + message.data[1:])
        await socket.send_bytes(b"\x01" + " ".join(request.query.getall("command")).encode())
        await socket.send_bytes(b"\x03" + json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": {
            "causes": [{"reason": "ExitCode", "message": "3"}]}}).encode())
        await socket.close()
        return socket

    async def _summary(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"node": {"nodeName": "n1"}})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    node = NodeInstance("n1", "10.9.1.0/24", free_port(), free_port(), free_port())
    async with http_world(tmp_path, nodes=(node,)) as made:
        made.registry.create(r.NODES, {"metadata": {"name": "n1"}})
        made.registry.create(r.PODS, pod(), "default")
        made.registry.create_subresource(r.PODS, "a", "binding", {"target": {"name": "n1"}}, "default")
        yield made


@pytest.fixture
async def agent(world: World) -> AsyncIterator[FakeAgent]:
    made = FakeAgent(world)
    await made.start()
    yield made
    await made.stop()


async def test_logs_come_from_the_agent_with_their_options(world: World, agent: FakeAgent) -> None:
    status, body, answer = await world.ask("GET", f"{PODS}/a/log?tailLines=5&timestamps=true&pretty=1")
    assert (status, body["text"], answer.content_type) == (200, "one\ntwo\n", "text/plain")
    assert agent.asked == ["/containerLogs/default/a/main?tailLines=5&timestamps=true"]


async def test_a_refusal_of_the_agent_is_told(world: World, agent: FakeAgent) -> None:
    status, body, _ = await world.ask("GET", f"{PODS}/a/log?previous=true")
    assert (status, body["reason"]) == (400, "BadRequest") and "previous terminated" in body["message"]


async def test_which_container_must_be_said_when_there_are_two(world: World, agent: FakeAgent) -> None:
    two = pod("b", containers=[{"name": "x", "image": "i:1"}, {"name": "y", "image": "i:1"}])
    world.registry.create(r.PODS, two, "default")
    world.registry.create_subresource(r.PODS, "b", "binding", {"target": {"name": "n1"}}, "default")
    status, body, _ = await world.ask("GET", f"{PODS}/b/log")
    assert status == 400 and "choose one of: [x y]" in body["message"]
    assert (await world.ask("GET", f"{PODS}/b/log?container=z"))[0] == 400
    assert (await world.ask("GET", f"{PODS}/b/log?container=y"))[0] == 200


@pytest.mark.parametrize("stdin", [b"", b"hello"])
async def test_exec_passes_frames_both_ways(world: World, agent: FakeAgent, stdin: bytes) -> None:
    query = "command=echo&command=%3Brm+-rf&stdout=true" + ("&stdin=true" if stdin else "")
    headers = {"Authorization": f"Bearer {world.token}"}
    async with world.session.ws_connect(f"{world.url}{PODS}/a/exec?{query}", headers=headers,
                                        protocols=("v5.channel.k8s.io",)) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        if stdin:
            await socket.send_bytes(b"\x00" + stdin)
            await socket.send_bytes(b"\xff\x00")
        frames = [message.data async for message in socket]
    assert frames[:-1] == ([b"\x01" + stdin] if stdin else []) + [b"\x01echo ;rm -rf"]
    assert frames[-1][0] == 3 and b"ExitCode" in frames[-1]


async def kubectl(world: World, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """The real one: exit code, output, errors."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on PATH; its logs and exec are not tested here")
    write_kubeconfig(world.instance)
    environment = {"KUBECONFIG": str(world.instance.kubeconfig), "HOME": str(world.instance.directory),
                   "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment)
    async with asyncio.timeout(30):
        output, errors = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_kubectl_logs(world: World, agent: FakeAgent) -> None:
    assert await kubectl(world, "logs", "a", "--tail=2") == (0, "one\ntwo\n", "")
    code, _, errors = await kubectl(world, "logs", "a", "--previous")
    assert code == 1 and "previous terminated container not found" in errors


async def test_kubectl_exec_gives_output_and_exit_code(world: World, agent: FakeAgent) -> None:
    code, output, errors = await kubectl(world, "exec", "a", "--", "echo", "$(id); x")
    assert (code, output) == (3, "echo $(id); x") and "exit code 3" in errors
    code, output, _ = await kubectl(world, "exec", "-i", "a", "--", "cat", stdin=b"in and out;")
    assert (code, output) == (3, "in and out;cat")


async def test_exec_needs_token_origin_and_a_websocket(world: World, agent: FakeAgent) -> None:
    for headers, status in (({}, 401),
                            ({"Authorization": f"Bearer {world.token}", "Origin": "https://evil.example"}, 403)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await world.session.ws_connect(f"{world.url}{PODS}/a/exec?command=id", headers=headers)
        assert refused.value.status == status
    assert (await world.ask("GET", f"{PODS}/a/exec?command=id"))[0] == 400
    assert (await world.ask("POST", f"{PODS}/a/exec?command=id"))[0] == 400
    assert agent.asked == []


async def test_a_nodes_documents(world: World, agent: FakeAgent) -> None:
    _, body, _ = await world.ask("GET", "/api/v1/nodes/n1/proxy/stats/summary")
    assert body == {"node": {"nodeName": "n1"}}
    assert (await world.ask("GET", "/api/v1/nodes/n1/proxy/containerLogs/default/a/main"))[0] == 404
    assert (await world.ask("GET", "/api/v1/nodes/n2/proxy/metrics"))[0] == 404


async def test_a_dead_agent_is_unavailable(world: World) -> None:
    status, body, _ = await world.ask("GET", f"{PODS}/a/log")
    assert (status, body["reason"]) == (503, "ServiceUnavailable")
    assert "agent of node n1 cannot be reached" in body["message"]


async def test_a_cut_cable_is_unavailable_and_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "ANSWER_DEADLINE_S", 0.2)

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    cable = await asyncio.start_server(silence, "127.0.0.1", world.instance.nodes[0].to_agent_port)
    for path in (f"{PODS}/a/log", "/api/v1/nodes/n1/proxy/metrics"):
        status, body, _ = await world.ask("GET", path)
        assert status == 503 and "no answer in time" in body["message"]
    cable.close()


async def test_a_node_that_was_replaced_is_reached_at_its_new_ports(world: World, agent: FakeAgent) -> None:
    assert (await world.ask("GET", f"{PODS}/a/log"))[0] == 200
    await agent.stop()
    (old,) = world.instance.nodes
    save_instance(replace(world.instance, nodes=(replace(old, to_agent_port=free_port()),)))
    world.instance = load_instance(world.instance.directory)
    moved = FakeAgent(world)
    await moved.start()
    assert (await world.ask("GET", f"{PODS}/a/log"))[0] == 200
    await moved.stop()


async def test_a_pod_without_a_node_has_no_log(world: World) -> None:
    world.registry.create(r.PODS, pod("b"), "default")
    status, body, _ = await world.ask("GET", f"{PODS}/b/log")
    assert status == 400 and "does not have a host assigned" in body["message"]
