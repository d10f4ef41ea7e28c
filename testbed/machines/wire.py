"""The least of HTTP/1.1 that the room's control socket needs: one request with a JSON body, one JSON answer, closed.

Standard library only: the room must stay small. Translates errors of ours to answers and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem, InvalidInput, NotFound, TestbedError, UsageError

Json = dict[str, Any]
Handler = Callable[[str, str, Json], Awaitable[Json]]

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}
_LIMIT_BYTES = 1 << 20


def encode_request(method: str, path: str, body: Json | None = None) -> bytes:
    payload = json.dumps(body or {}).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: room\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload


def decode_response(raw: bytes) -> Json:
    """The answer's body.

    Raises: the error that the room answered with; EnvironmentProblem when this is no answer.
    """
    head, separator, payload = raw.partition(b"\r\n\r\n")
    try:
        status = int(head.split(b" ", 2)[1])
        value: Json = json.loads(payload)
    except (IndexError, ValueError):
        raise EnvironmentProblem("the machine room did not answer", hint="testbed up starts it again") from None
    if separator and status < 400:
        return value
    raise _error(value)


def _error(value: Json) -> TestbedError:
    message, hint, code = str(value.get("message", "")), str(value.get("hint", "")), value.get("exit_code")
    if code == InvalidInput.exit_code:
        return InvalidInput(message, hint=hint)
    kinds: dict[Any, type[TestbedError]] = {2: UsageError, 4: EnvironmentProblem}
    return kinds.get(code, TestbedError)(message, hint=hint)


def encode_error(error: TestbedError) -> tuple[int, Json]:
    status = 404 if isinstance(error, NotFound) else 400 if error.exit_code in (2, 3) else 500
    return status, {"message": error.message, "hint": error.hint, "exit_code": 3 if status == 404 else error.exit_code}


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Serves ``handler(method, path, body)`` on the unix socket ``path`` (0600), which is replaced."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(5):
                request = await _read_request(reader)
            status, body = await _answer(handler, request)
            payload = json.dumps(body).encode()
            head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
            await writer.drain()
        writer.close()

    _unlink(path)
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(converse, path)
    finally:
        os.umask(mask)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = (head[0] + "  ").split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = headers.get("content-length", "0")
    size = min(int(length), _LIMIT_BYTES) if length.isdigit() else 0
    return method, path, await reader.readexactly(size)


async def _answer(handler: Handler, request: tuple[str, str, bytes]) -> tuple[int, Json]:
    method, path, payload = request
    try:
        body = json.loads(payload or b"{}")
        if not isinstance(body, dict):
            raise InvalidInput("the body must be a JSON object")
        return 200, await handler(method, path, body)
    except TestbedError as error:
        return encode_error(error)
    except (ValueError, KeyError, TypeError) as error:
        return encode_error(InvalidInput(f"{method} {path}: {type(error).__name__}: {error}"))
