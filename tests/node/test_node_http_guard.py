"""Who is refused at kubelet's paths, and with what."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from testbed.errors import EngineUnavailable, NoSuchContainer
from testbed.node.http_guard import guard


async def answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/gone":
            raise NoSuchContainer("no such container")
        case "/silent":
            raise EngineUnavailable("the engine does not answer")
    return web.Response(text="ok")


@pytest.mark.parametrize(("path", "token", "status"), [
    ("/logs", "secret", 200), ("/logs", "other", 401), ("/logs", "", 401), ("/healthz", "", 200),
    ("/gone", "secret", 404), ("/silent", "secret", 500),
])
async def test_only_the_token_lets_in_and_refusals_are_a_status(path: str, token: str, status: int) -> None:
    application = web.Application(middlewares=[guard(b"secret", {"/healthz"})])
    application.router.add_get("/{anything}", answer)
    async with TestClient(TestServer(application)) as client:
        reply = await client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
        assert reply.status == status
        if status != 200:
            body = await reply.json()
            assert (body["kind"], body["code"]) == ("Status", status)
