"""A watch over HTTP: one JSON document per change, written the moment it happens.

Source: kubernetes apiserver pkg/endpoints/handlers/watch.go.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from aiohttp import web

from testbed.errors import ApiError
from testbed.server.answers import compact, partial
from testbed.server.negotiation import Wanted
from testbed.server.registry import Registry
from testbed.server.served import Served
from testbed.server.tables import table
from testbed.server.watching import WatchStream
from testbed.store import Stored

Json = dict[str, Any]

BOOKMARK_S = 60.0
WRITE_DEADLINE_S = 60.0  # a client that reads nothing for so long is let go


class WatchAnswer:
    """``timeout_s``: the watch ends cleanly after that; ``bookmarks``: the client reads them."""

    def __init__(
        self, registry: Registry, served: Served, stream: WatchStream, wanted: Wanted, *, timeout_s: float,
        bookmarks: bool, include: str,
    ) -> None:
        self._registry, self._served, self._stream, self._wanted = registry, served, stream, wanted
        self._timeout_s, self._bookmarks, self._include = timeout_s, bookmarks, include
        self._headers_sent = False

    async def send(self, request: web.BaseRequest) -> web.StreamResponse:
        """Writes until the time is up, the client goes, or it falls too far behind."""
        content_type = "application/json" if self._wanted.form == "json" else self._wanted.content_type
        response = web.StreamResponse(headers={
            "Content-Type": content_type, "Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await self._write(response, "")
            await self._follow(response)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:  # the client is gone or stuck; nothing to tell it
                request.transport.abort()
        finally:
            self._stream.close()
        return response

    async def _follow(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._timeout_s
        while (left_s := ends_at - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left_s, BOOKMARK_S)):
                    events = await self._stream.next()
            except TimeoutError:
                if self._bookmarks:
                    await self._write(response, self._bookmark())
                continue
            except ApiError as error:
                await self._write(response, compact({"type": "ERROR", "object": error.status()}) + "\n")
                return
            if not events:
                return
            now = self._registry.clock.now()
            await self._write(response, "".join(self._event(kind, stored, now) for kind, stored in events))

    async def _write(self, response: web.StreamResponse, text: str) -> None:
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await response.write(text.encode())

    def _event(self, kind: str, stored: Stored, now: datetime) -> str:
        if self._wanted.form == "json":
            return f'{{"type":"{kind}","object":{stored.text}}}\n'
        value = stored.value
        if self._wanted.form == "metadata":
            return compact({"type": kind, "object": partial(value)}) + "\n"
        version = {"resourceVersion": value["metadata"]["resourceVersion"]}
        shown = table(self._served, [value], now, version, include=self._include, headers=not self._headers_sent)
        self._headers_sent = True
        return compact({"type": kind, "object": shown}) + "\n"

    def _bookmark(self) -> str:
        resource = self._served.resource
        metadata = {"resourceVersion": str(self._registry.store.revision), "creationTimestamp": None}
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        if self._wanted.form == "table":
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": [],
                   "rows": []}
        return compact({"type": "BOOKMARK", "object": obj}) + "\n"
