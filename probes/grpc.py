"""Probe kind ``grpc``: ``grpc.health.v1.Health/Check`` that answers SERVING is success.

The one call over plain HTTP/2, written out by hand: a preface, SETTINGS, one request, the frames of the answer. The
health status itself is in DATA, so headers of the answer are never decoded: a failure without DATA has few words.
Source: kubernetes pkg/probe/grpc/grpc.go; RFC 9113, RFC 7541; grpc doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

from probes.ports import NoSuchPort, port_number
from probes.protocol import Outcome, ProbeTarget, Sample
from probes.sockets import connect, drop, words

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
END_STREAM, END_HEADERS, ACK, PADDED = 0x1, 0x4, 0x1, 0x8
MAX_FRAME = 16384
SERVING = 1
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class NotGrpc(Exception):
    """The other side speaks no gRPC, or ended the call."""


class GrpcProbe:
    """Fields: ``port`` and ``service``. The host is always the target."""

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            port = port_number(fields.get("port", 0), target.ports)
        except NoSuchPort as error:
            return Sample(Outcome.ERROR, str(error))
        where = f"{target.address}:{port}"
        try:
            async with asyncio.timeout(timeout_s):
                status = await check(target.address, port, str(fields.get("service") or ""))
        except TimeoutError:
            return Sample(Outcome.FAILURE, f"timeout: health rpc to {where} did not complete within {timeout_s:g}s",
                          loop.time() - begun)
        except (OSError, NotGrpc, asyncio.IncompleteReadError) as error:
            told = words(error, target.address, port)
            return Sample(Outcome.FAILURE, f"error: health rpc to {where} failed: {told}", loop.time() - begun)
        if status == SERVING:
            return Sample(Outcome.SUCCESS, "", loop.time() - begun)
        name = _NAMES.get(status, str(status))
        return Sample(Outcome.FAILURE, f'service unhealthy (responded with "{name}")', loop.time() - begun)


async def check(address: str, port: int, service: str) -> int:
    """The ServingStatus that the target answers.

    Raises: OSError, NotGrpc, asyncio.IncompleteReadError.
    """
    reader, writer = await connect(address, port)
    try:
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + request(f"{address}:{port}", service))
        return await _answer(reader, writer)
    finally:
        drop(writer)


def request(authority: str, service: str) -> bytes:
    """HEADERS and DATA of one Check on stream 1."""
    name = service.encode()
    message = (b"\x0a" + _varint(len(name)) + name) if name else b""
    head = b"".join((
        b"\x83\x86",  # :method POST, :scheme http (static table)
        _literal(b"\x44", b"/grpc.health.v1.Health/Check"),  # 0x40 | 4: :path
        _literal(b"\x41", authority.encode()),  # 0x40 | 1: :authority
        _literal(b"\x5f", b"application/grpc"),  # 0x40 | 31: content-type
        b"\x40", _string(b"te"), _string(b"trailers"),
        b"\x40", _string(b"user-agent"), _string(b"kube-probe/1.32"),
    ))
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, body)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    body = b""
    while True:
        kind, flags, stream, payload = await _read_frame(reader)
        if kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise NotGrpc("the server went away")
        elif stream != 1:
            continue
        elif kind == RST_STREAM:
            raise NotGrpc("the stream was reset")
        elif kind == DATA:
            body += payload[1:len(payload) - payload[0]] if flags & PADDED else payload
            if len(body) > MAX_FRAME:
                raise NotGrpc("the answer is too long")
        status = _serving_status(body)
        if status is not None:
            return status
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            raise NotGrpc("the call failed (unimplemented, or the service is unknown)")


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    length = int.from_bytes(head[:3], "big")
    if length > MAX_FRAME:
        raise NotGrpc("the server does not speak HTTP/2")
    stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
    return head[3], head[4], stream, await reader.readexactly(length)


def _serving_status(body: bytes) -> int | None:
    """Field 1 of HealthCheckResponse, once its message is whole."""
    if len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5], "big"):
        return None
    message = body[5:5 + int.from_bytes(body[1:5], "big")]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0


def _literal(index: bytes, value: bytes) -> bytes:
    return index + _string(value)


def _string(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes((len(value),)) + value
    return b"\x7f" + _varint(len(value) - 127) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
