"""Connections of network probes: opened within a time, closed at once, leaving nothing behind.

Upstream sets ``SO_LINGER`` of one second so that probes do not pile up sockets in TIME_WAIT (kubernetes
pkg/probe/dialer_others.go). A close that lingers would stop this process's only thread while a dead node is silent, so
it is zero here: the connection is reset.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)


async def connect(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises: OSError (refused, unreachable)."""
    reader, writer = await asyncio.open_connection(address, port, limit=16 * 1024)
    without_linger(writer.transport)
    return reader, writer


def words(error: Exception, host: str, port: int) -> str:
    """What Go says of an error on the way to ``host:port`` (net.OpError): a probe's message is read by people, and
    matched by programs, who know those words."""
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if not isinstance(error, OSError) or not error.errno:
        return str(error) or type(error).__name__
    said = os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"read tcp {host}:{port}: read: {said}"
    return f"dial tcp {host}:{port}: connect: {said}"


def without_linger(transport: asyncio.BaseTransport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


def drop(writer: asyncio.StreamWriter) -> None:
    """Closes without waiting for the other side."""
    writer.transport.abort()
