"""A person's browser in front of the live page, as far as HTTP sees it, and what its page asks for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from support.page_world import PageWorld

Json = dict[str, Any]
PODCHAOS = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
NODECHAOS = "/apis/testbed.io/v1alpha1/namespaces/default/nodechaos"
KILL = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": {"generateName": "page-"},
        "spec": {"action": "pod-kill", "mode": "one", "selector": {"pods": {"default": ["web-1"]}}}}
CUT = {"apiVersion": "testbed.io/v1alpha1", "kind": "NodeChaos", "metadata": {"generateName": "page-"},
       "spec": {"action": "kill", "mode": "one", "selector": {"nodes": ["node-1"]}, "duration": "20s"}}
SEES_NOTHING = ("node-1", "web-1", "script", "fast")


class Browser:
    """A cookie jar of its own, and the key that the page keeps: what a person's browser sends, and what it gets."""

    def __init__(self, world: PageWorld, session: aiohttp.ClientSession) -> None:
        self.world, self.session, self.key = world, session, ""

    async def ask(self, method: str, path: str, *, headers: Json | None = None, **more: Any) -> tuple[
            int, str, aiohttp.ClientResponse]:
        url = path if path.startswith("http") else self.world.url + path
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as answer:
            return answer.status, await answer.text(), answer

    async def enter(self) -> None:
        status, text, _ = await self.ask("GET", await self.world.entrance())
        assert status == 200 and 'location.replace("/ui/")' in text
        self.key = re.search(r'<meta name="key" content="([^"]+)">', text)[1]  # type: ignore[index]

    async def look(self, path: str, **headers: str) -> tuple[int, str]:
        """As the page does it; a header that is "" is left out."""
        status, text, _ = await self.ask("GET", path, headers=self._headers({"X-Testbed-Page": self.key}, headers))
        return status, text

    async def post(self, path: str, body: Json, **headers: str) -> tuple[int, str]:
        """As the page does it; a header that is "" is left out."""
        usual = {"Origin": self.world.url, "X-Testbed-Page": self.key}
        status, text, _ = await self.ask("POST", path, json=body, headers=self._headers(usual, headers))
        return status, text

    @staticmethod
    def _headers(usual: dict[str, str], others: dict[str, str]) -> dict[str, str]:
        sent = usual | {key.replace("_", "-"): value for key, value in others.items()}
        return {key: value for key, value in sent.items() if value}


@asynccontextmanager
async def browsing(world: PageWorld) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.tls()),
                                     cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Browser(world, session)
