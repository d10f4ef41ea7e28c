"""The node's end of its cable: ports of this container's own loopback to sockets in the cluster's directory, and back.

It decides nothing; cutting and delaying is the cable's, outside.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

_CHUNK_BYTES = 64 * 1024
Owner = tuple[int, int]  # user and group
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def from_port(port: int, path: Path) -> asyncio.Server:
    """Relays 127.0.0.1:port to the unix socket ``path``."""
    return await asyncio.start_server(_relay(lambda: asyncio.open_unix_connection(path)), "127.0.0.1", port)


async def from_socket(path: Path, port: int, owner: Owner) -> asyncio.Server:
    """Relays the unix socket ``path`` to 127.0.0.1:port."""
    return await own_socket(path, _relay(lambda: asyncio.open_connection("127.0.0.1", port)), owner)


async def own_socket(path: Path, serve: Callable[..., Awaitable[None]], owner: Owner) -> asyncio.Server:
    """Serves a unix socket that is its owner's alone."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - a moment
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o600)  # noqa: ASYNC240
    os.chown(path, *owner)
    return server


def _relay(connect: Callable[[], Awaitable[Streams]]) -> Callable[..., Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await connect()
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            for each in (writer, far_writer):
                each.transport.abort()
        finally:
            for each in (writer, far_writer):
                each.close()

    return serve


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
