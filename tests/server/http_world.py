"""A registry behind its real HTTP face: TLS on a free port of 127.0.0.1, in the test's own event loop."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from server_world import make_registry

from testbed.api.instance import Instance, NodeInstance
from testbed.api.instance_files import save_instance
from testbed.client.aio import HttpClient
from testbed.server import runbooks
from testbed.server.agents import Agents
from testbed.server.authentication import Gatekeeper
from testbed.server.certificates import write_credentials
from testbed.server.gateway_paths import GatewayPaths
from testbed.server.http import Face
from testbed.server.live import Live
from testbed.server.own_paths import OwnPaths
from testbed.server.page_sessions import PageSessions
from testbed.server.picture import cluster
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts
from testbed.server.serving import serve

Json = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_instance(directory: Path, *, nodes: tuple[NodeInstance, ...] = ()) -> Instance:
    instance = Instance(name="t", id="0123456789ab", directory=directory / "instance", subnet="10.9.0.0/16",
                        api_port=free_port(), node_ports=(30001, 30002), nodes=nodes)
    write_credentials(instance)
    save_instance(instance)
    return instance


class World:
    def __init__(
        self, instance: Instance, registry: Registry, session: aiohttp.ClientSession, requests: RequestCounts,
    ) -> None:
        self.instance, self.registry, self.session, self.requests = instance, registry, session, requests
        self.url = f"https://127.0.0.1:{instance.api_port}"
        self.token = instance.token_file.read_text()
        self.client = HttpClient.of_instance(instance)

    async def ask(
        self, method: str, path: str, *, token: str | None = None, headers: Json | None = None, **more: Any,
    ) -> tuple[int, Json, aiohttp.ClientResponse]:
        """Status, JSON body (text under ``text`` when it is none) and the response."""
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", **(headers or {})}
        async with self.session.request(method, self.url + path, headers=sent, **more) as answer:
            text = await answer.text()
            try:
                return answer.status, await answer.json(content_type=None), answer
            except ValueError:
                return answer.status, {"text": text}, answer


@asynccontextmanager
async def http_world(directory: Path, *, nodes: tuple[NodeInstance, ...] = ()) -> AsyncIterator[World]:
    instance = make_instance(directory, nodes=nodes)
    registry = make_registry()
    agents = Agents(instance)
    requests = RequestCounts()
    token = instance.token_file.read_text()
    own = OwnPaths(PageSessions(token, "testbed-page-t", registry.clock, secrets.token_bytes),
                   Live(registry, lambda: cluster(instance, registry.clock.now())),
                   GatewayPaths(instance.gateway_directory / "control.sock").routes, runbooks.ROUTES)
    face = Face(registry, Gatekeeper(token), agents=agents, own=own, requests=requests)
    runner = await serve(face.handle, "127.0.0.1", instance.api_port, certificate=instance.certificate,
                         key=instance.certificate_key)
    tls = ssl.create_default_context(cafile=str(instance.ca_certificate))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0)) as session:
        world = World(instance, registry, session, requests)
        try:
            yield world
        finally:
            await world.client.close()
            registry.store.end_watches()
            await runner.cleanup()
            await agents.close()
