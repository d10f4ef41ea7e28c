"""Stands between a DockerEngine and the real engine, and makes the way between them as bad as it can be.

Takes one request per connection. A rule decides by method and path what becomes of it: passed on, never answered,
carried out without an answer, or carried out and answered with 500.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ENGINE_SOCKET = "/var/run/docker.sock"
HANG, SWALLOW, FAIL = "hang", "swallow", "fail"
_FAILURE = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 20\r\nConnection: close\r\n\r\n"
            b'{"message": "500"}\r\n')


class EngineProxy:
    """``rules``: (pattern of "METHOD path", what to do). ``events``: whether anything comes through after the head of
    an event stream."""

    def __init__(self, socket: Path) -> None:
        self.url = f"unix://{socket}"
        self._socket = socket
        self.rules: list[tuple[str, str]] = []
        self.events = True
        self.seen: list[str] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.streams = 0

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self._socket)

    async def cut(self) -> None:
        """Refuses connections, and breaks those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._socket.unlink(missing_ok=True)
        self.break_off()
        await asyncio.sleep(0)

    def break_off(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode().rsplit(" ", 1)[0]
        self.seen.append(line)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        action = next((action for pattern, action in self.rules if re.search(pattern, line)), "")
        if action == HANG:
            await asyncio.Event().wait()
        stream = "/events" in line
        self.streams += stream
        from_engine, to_engine = await asyncio.open_unix_connection(ENGINE_SOCKET)
        try:
            if b"Upgrade: tcp" not in head:
                head = re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head)
            to_engine.write(head + body)
            if action:
                await from_engine.readuntil(b"\r\n\r\n")
                await (asyncio.Event().wait() if action == SWALLOW else self._fail(writer))
                return
            await asyncio.gather(self._copy(from_engine, writer, stream), self._copy(reader, to_engine, False))
        finally:
            to_engine.close()

    async def _fail(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_FAILURE)
        await writer.drain()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, stream: bool) -> None:
        while data := await source.read(65536):
            if stream and not self.events and b"HTTP/1.1 200" not in data:
                continue
            sink.write(data)
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()


@asynccontextmanager
async def engine_proxy(directory: Path) -> AsyncIterator[EngineProxy]:
    proxy = EngineProxy(directory / "proxy.sock")
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.cut()
