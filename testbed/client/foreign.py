"""The client of a cluster that is not ours: credentials of a kubeconfig, and an API that may ask for patience.

An API that is busy answers 429 with ``Retry-After`` before it has done anything (kubernetes: API priority and
fairness), so such a call is made again; everything else is the caller's affair, as with every client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

from testbed.api.resources import ResourceType
from testbed.client.aio import HttpClient
from testbed.client.credentials import Credentials
from testbed.client.kubeconfig import Access
from testbed.client.protocol import WatchEvent
from testbed.errors import ApiUnavailable, TooManyRequests, Unauthorized

BUSY_S = 30.0  # how long a busy API is asked again
_LONGEST_PAUSE_S = 10.0
UNAUTHORIZED, BUSY = 401, 429


class ForeignClient(HttpClient):
    """Reaches the API of one context of a kubeconfig."""

    def __init__(self, access: Access) -> None:
        super().__init__(access.server, "")
        self._server_name = access.server_name or None
        self._credentials = Credentials(access)

    async def _tls(self) -> ssl.SSLContext | bool:
        return await self._credentials.tls()

    async def _authorization(self) -> dict[str, str]:
        token = (await self._credentials.current()).token
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any, content_type: str,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        loop = asyncio.get_running_loop()
        until, may_renew = loop.time() + BUSY_S, True
        while True:
            status, content, headers = await super()._exchange(method, path, query, body, content_type)
            if status == UNAUTHORIZED and may_renew and await self._renewed():
                may_renew = False
                continue
            pause_s = _retry_after_s(headers)
            # A refused eviction is 429 too, and a decision: it is told to whoever asked.
            if status != BUSY or pause_s is None or path.endswith("/eviction") or loop.time() + pause_s > until:
                return status, content, headers
            await asyncio.sleep(pause_s)

    async def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """As every client's; a token that has ended meanwhile is a connection that broke."""
        try:
            async for event in super().watch(resource, namespace, resource_version=resource_version,
                                             label_selector=label_selector, field_selector=field_selector):
                yield event
        except Unauthorized as error:
            if not await self._renewed():
                raise
            raise ApiUnavailable(error.message) from error
        except TooManyRequests as error:
            raise ApiUnavailable(error.message) from error

    async def _renewed(self) -> bool:
        """Forgets what was refused; whether another try may succeed."""
        if self._credentials.by_plugin_certificate:
            await self.close()  # the next connection is made with the next certificate
        return self._credentials.refused()


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isdigit() else None
