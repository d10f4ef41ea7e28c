"""The client's side of exec: frames of the Kubernetes WebSocket channel protocol, and a local terminal in raw mode.

Source: kubernetes apimachinery/pkg/util/remotecommand (first byte: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize,
255 close of a channel).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from urllib.parse import urlencode

import aiohttp

from testbed.api.resources import PODS
from testbed.cli.connection import Api
from testbed.errors import ApiError, ApiUnavailable, api_error


def run_remote(
    api: Api, namespace: str, pod: str, container: str, command: list[str], *, stdin: bool, tty: bool
) -> int:
    """Runs it and returns its exit code. Raises: ApiError."""
    query = [("command", word) for word in command] + [("stdout", "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if tty else [("stderr", "true")]
    path = PODS.path(namespace, pod, "exec") + "?" + urlencode(query)
    with _raw_terminal(stdin and tty):
        return asyncio.run(_session(api, path, stdin=stdin, tty=tty))


async def _session(api: Api, path: str, *, stdin: bool, tty: bool) -> int:
    tls = ssl.create_default_context(cafile=str(api.instance.ca_certificate))
    headers = {"Authorization": f"Bearer {api.instance.token_file.read_text().strip()}"}
    url = f"https://127.0.0.1:{api.instance.api_port}{path}"
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(url, ssl=tls, headers=headers, protocols=("v5.channel.k8s.io",),
                                              max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            raise await _refusal(session, url, tls, headers, error) from error
        except aiohttp.ClientError as error:
            raise ApiUnavailable(f"the API does not answer: {error}") from error
        async with socket:
            if stdin:
                _forward_stdin(socket)
            if tty:
                _forward_size(socket)
            return await _receive(socket)


async def _refusal(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext, headers: dict[str, str],
    error: aiohttp.WSServerHandshakeError,
) -> ApiError:
    """The Status behind a refused upgrade: aiohttp drops its body, so the upgrade is asked for once more by hand."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
               "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}
    async with session.get(url, ssl=tls, headers=headers | upgrade) as answer:
        with contextlib.suppress(ValueError, aiohttp.ClientError):
            body = json.loads(await answer.read())
            if body.get("kind") == "Status":
                return api_error(body)
    return ApiError(f"exec was refused: HTTP {error.status}", code=error.status)


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> int:
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == 1:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif channel == 2:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
        elif channel == 3:
            return _exit_code(json.loads(data))
    raise ApiUnavailable("the connection broke before the program ended")


def _exit_code(status: dict[str, object]) -> int:
    if status.get("status") == "Success":
        return 0
    details = status.get("details")
    for cause in details.get("causes", []) if isinstance(details, dict) else []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise api_error(status)


def _forward_stdin(socket: aiohttp.ClientWebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def readable() -> None:
        data = os.read(0, 65536)
        frame = b"\x00" + data if data else b"\xff\x00"
        if not data:
            loop.remove_reader(0)
        task = loop.create_task(socket.send_bytes(frame))
        pending.add(task)
        task.add_done_callback(pending.discard)

    try:
        loop.add_reader(0, readable)
    except PermissionError:  # a plain file cannot be polled: it is there at once
        data = sys.stdin.buffer.read()
        task = loop.create_task(socket.send_bytes(b"\x00" + data))
        pending.add(task)
        task.add_done_callback(lambda _: pending.add(loop.create_task(socket.send_bytes(b"\xff\x00"))))


def _forward_size(socket: aiohttp.ClientWebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def tell() -> None:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size()
            frame = b"\x04" + json.dumps({"Width": size.columns, "Height": size.lines}).encode()
            task = loop.create_task(socket.send_bytes(frame))
            pending.add(task)
            task.add_done_callback(pending.discard)

    loop.add_signal_handler(signal.SIGWINCH, tell)
    tell()


@contextlib.contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    if not wanted or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
