"""Exec over the Kubernetes WebSocket channel protocol, whole: input in, output and exit code out.

Source: kubernetes apimachinery pkg/util/remotecommand (first byte: 0 stdin, 1 stdout, 2 stderr, 3 error, 255 close).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from testbed.errors import ApiError, ApiUnavailable, api_error

PROTOCOL = "v5.channel.k8s.io"


@dataclass(frozen=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


def run_in_container(
    url: str, token: str, ca_file: Path, command: list[str], *, container: str, stdin: bytes, timeout_s: float,
) -> ExecResult:
    """Raises: ApiError, TimeoutError."""
    return asyncio.run(_bounded(url, token, ca_file, command, container, stdin, timeout_s))


async def _bounded(
    url: str, token: str, ca_file: Path, command: list[str], container: str, stdin: bytes, timeout_s: float,
) -> ExecResult:
    query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if stdin else []
    tls = ssl.create_default_context(cafile=str(ca_file))
    headers = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(timeout_s), aiohttp.ClientSession(headers=headers, trust_env=False) as session:
        try:
            socket = await session.ws_connect(url, ssl=tls, params=query, protocols=(PROTOCOL,), max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            raise await _refusal(session, url, tls, query, error.status) from error
        except aiohttp.ClientError as error:
            raise ApiUnavailable(f"the API does not answer: {error}") from error
        async with socket:
            if stdin:
                await socket.send_bytes(b"\x00" + stdin)
                await socket.send_bytes(b"\xff\x00")
            return await _receive(socket)


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> ExecResult:
    output = {1: bytearray(), 2: bytearray()}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel in output:
            output[channel] += data
        elif channel == 3:
            return ExecResult(bytes(output[1]), bytes(output[2]), exit_code_of(json.loads(data)))
    raise ApiUnavailable("the connection broke before the program ended")


def exit_code_of(status: dict[str, Any]) -> int:
    """From the Status that ends an exec. Raises: ApiError when the program could not be run."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise api_error(status)


async def _refusal(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext, query: list[tuple[str, str]], status: int,
) -> ApiError:
    """aiohttp drops the body of a refused upgrade, so it is asked for once more, plainly."""
    try:
        async with session.get(url, ssl=tls, params=query) as answer:
            body = json.loads(await answer.read())
    except (aiohttp.ClientError, ValueError):
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status" and body.get("code") == status:
        return api_error(body)
    return ApiError(f"exec was refused: HTTP {status}", code=status)
