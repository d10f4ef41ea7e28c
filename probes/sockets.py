"""Connections of network probes: opened within a time, closed at once, leaving little behind.

``SO_LINGER`` of one second is set as upstream does it (kubernetes pkg/probe/dialer_others.go), so that probes every
second do not pile up sockets in TIME_WAIT.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

_LINGER_1S = struct.pack("ii", 1, 1)


async def connect(
    address: str, port: int, *, tls: ssl.SSLContext | None = None, server_name: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises: OSError (refused, unreachable, TLS)."""
    reader, writer = await asyncio.open_connection(
        address, port, ssl=tls, server_hostname=(server_name or address) if tls else None, limit=16 * 1024
    )
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_1S)
    return reader, writer


def drop(writer: asyncio.StreamWriter) -> None:
    """Closes without waiting for the other side."""
    writer.transport.abort()
