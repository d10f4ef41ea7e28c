"""The live feed: the picture of the cluster as server-sent events, the same for all who look, made once.

A feed begins with ``event: reset`` and the whole picture, then ``event: change`` for each part that looks different,
at most ten batches a second. ``id`` is the store's revision of a whole batch, on its last event, so that whoever comes
again with ``Last-Event-ID`` gets exactly what it missed, or the whole where that is too long ago. A reader that falls
behind is given the whole again; it never makes anybody wait. While nobody looks, nothing is followed.
Source of the form: WHATWG HTML, server-sent events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from testbed.errors import ApiUnavailable, TooManyRequests
from testbed.server.answers import compact
from testbed.server.picture import CLUSTER, ClusterPart
from testbed.server.registry import Registry
from testbed.server.sketch import Changed, Sketch

TICK_S = 0.1
HEARTBEAT_S = 5.0
LINGER_S = 30.0  # how long it is kept up for somebody who comes again
WRITE_DEADLINE_S = 60.0  # a reader that takes nothing for so long is let go
MAX_FEEDS = 20
MAX_WAITING_BYTES = 1 << 20  # of one reader; one that has more before it is given the whole again
MAX_KEPT_BATCHES, MAX_KEPT_BYTES = 600, 4 << 20  # for those who come again
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store",
           "X-Content-Type-Options": "nosniff"}


class Feed:
    """What waits for one reader."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self.behind = False

    def offer(self, text: str) -> None:
        if not self.behind:
            self._waiting.append(text)
            self._bytes += len(text)
            if self._bytes > MAX_WAITING_BYTES:
                self.lose()
        self._wake.set()

    def lose(self) -> None:
        """Only the whole can help this reader."""
        self._waiting.clear()
        self.behind = True
        self._wake.set()

    async def arrived(self) -> None:
        await self._wake.wait()

    def take(self) -> str:
        """All that waits."""
        text = "".join(self._waiting)
        self._waiting.clear()
        self._bytes, self.behind = 0, False
        self._wake.clear()
        return text


class Live:
    """``cluster``: that part of the picture, now. ``run`` keeps the picture up while somebody looks."""

    def __init__(self, registry: Registry, cluster: Callable[[], ClusterPart]) -> None:
        self._registry, self._cluster = registry, cluster
        self._feeds: set[Feed] = set()
        self._sketch: Sketch | None = None
        self._wanted = asyncio.Event()
        self._ended = False
        self._kept: deque[tuple[int, str]] = deque()  # revision and text of batches, for those who come again
        self._kept_bytes = 0
        self._complete_after = 0  # all that came after this revision is kept
        self._revision = 0
        self._whole: tuple[int, str] | None = None  # its text at a revision, for all who need it then

    # --- keeping the picture up

    async def run(self) -> None:
        """Until it is cancelled or the store has ended."""
        try:
            while not self._ended:
                await self._wanted.wait()
                await self._keep_up()
        finally:
            self.end()

    def end(self) -> None:
        """Ends every feed; new ones are refused."""
        self._ended = True
        for feed in self._feeds:
            feed.offer("")
        self._close()

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        seen_s = loop.time()
        while not self._ended and (self._feeds or loop.time() - seen_s < LINGER_S):
            if self._feeds:
                seen_s = loop.time()
            await asyncio.sleep(TICK_S)
            self._look()
        self._close()

    def _look(self) -> None:
        sketch = self._open()
        if sketch.ended:
            self.end()
            return
        changed = sketch.look()
        revision = self._registry.store.revision
        if changed is None:
            self._forget(revision)
            for feed in self._feeds:
                feed.lose()
        elif changed:
            self._publish(changed, revision)

    def _publish(self, changed: Iterable[Changed], revision: int) -> None:
        text = "".join(f"event: change\ndata: {_json(item)}\n\n" for item in changed)
        text = f"{text[:-1]}id: {revision}\n\n"
        self._revision = revision
        self._kept.append((revision, text))
        self._kept_bytes += len(text)
        while len(self._kept) > MAX_KEPT_BATCHES or self._kept_bytes > MAX_KEPT_BYTES:
            self._complete_after, gone = self._kept.popleft()
            self._kept_bytes -= len(gone)
        for feed in self._feeds:
            feed.offer(text)

    def _open(self) -> Sketch:
        if self._sketch is None:
            self._sketch = Sketch(self._registry)
            self._forget(self._registry.store.revision)
        self._wanted.set()
        return self._sketch

    def _close(self) -> None:
        if self._sketch is not None:
            self._sketch.close()
        self._sketch = None
        self._wanted.clear()

    def _forget(self, revision: int) -> None:
        self._kept.clear()
        self._kept_bytes = 0
        self._whole = None
        self._complete_after = self._revision = revision

    # --- one reader

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Writes until the reader goes, or this process ends.

        Raises: ApiUnavailable, TooManyRequests before anything was written.
        """
        if self._ended:
            raise ApiUnavailable("the control plane is going down")
        if len(self._feeds) >= MAX_FEEDS:
            raise TooManyRequests(f"{MAX_FEEDS} feeds are open already", hint="close a page or `testbed top`",
                                  details={"retryAfterSeconds": 5})
        feed = Feed()
        self._begin(feed, request.headers.get("Last-Event-ID", ""))
        self._feeds.add(feed)
        response = web.StreamResponse(headers=HEADERS)
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await self._write(response, "retry: 1000\n\n")
            await self._follow(response, feed)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:  # the reader is gone or stuck; nothing to tell it
                request.transport.abort()
        finally:
            self._feeds.discard(feed)
        return response

    def _begin(self, feed: Feed, last: str) -> None:
        """What it missed, where that is known; else the whole."""
        self._open()
        known = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else -1
        if not self._complete_after <= known <= self._revision:
            feed.lose()
            return
        for revision, text in self._kept:
            if revision > known:
                feed.offer(text)

    async def _follow(self, response: web.StreamResponse, feed: Feed) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await feed.arrived()
            except TimeoutError:
                await self._write(response, ": nothing new\n\n")
                continue
            if self._ended:
                return
            await self._write(response, self._reset() if feed.behind else "", feed.take())

    def _reset(self) -> str:
        """The whole picture, as of the last look. Made once for all who need it at a revision."""
        sketch = self._open()
        if self._whole is None or self._whole[0] != self._revision:
            self._whole = (self._revision, compact(sketch.whole())[1:])
        cluster = compact({CLUSTER: self._cluster()})[:-1]
        return f"event: reset\ndata: {cluster},{self._whole[1]}\nid: {self._revision}\n\n"

    @staticmethod
    async def _write(response: web.StreamResponse, *texts: str) -> None:
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await response.write("".join(texts).encode())


def _json(changed: Changed) -> str:
    value: dict[str, Any] = {"part": changed.part, "key": changed.key, "value": changed.value}
    return compact(value)
