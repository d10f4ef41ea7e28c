"""``exec``: a program in a container over a WebSocket, in the channel protocols of Kubernetes.

Each message begins with a channel byte: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 a terminal's size, and in
v5 255, which closes the channel that it names. Source: kubernetes staging
apimachinery/pkg/util/remotecommand/constants.go, kubelet pkg/cri/streaming/remotecommand/websocket.go.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from testbed.errors import BadRequest, TestbedError
from testbed.node.agent import Agent
from testbed.node.record import Record
from testbed.node.stopper import is_frozen
from testbed.runtime.protocol import ExecStream

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MAX_MESSAGE = 1024 * 1024


async def serve_exec(request: web.Request, agent: Agent, record: Record) -> web.StreamResponse:
    """Raises: BadRequest before the socket is open; after that every failure is a Status on channel 3."""
    argv = tuple(request.query.getall("command", []))
    stdin, tty = _flag(request, "stdin"), _flag(request, "tty")
    if not argv:
        raise BadRequest("you must specify at least one command")
    if not record.running:
        raise BadRequest(f"container {record.name} is not running")
    if await is_frozen(agent.view, record):
        raise BadRequest(f"container {record.name} is frozen: a program in it would not run")
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=MAX_MESSAGE, heartbeat=30.0)
    await socket.prepare(request)
    try:
        async with agent.engine.exec_stream(record.id, argv, stdin=stdin, tty=tty) as stream:
            code = await _pump(socket, stream, stdin=stdin, version=5 if socket.ws_protocol == PROTOCOLS[0] else 4)
        status = exit_status(code)
    except TestbedError as error:
        status = {"metadata": {}, "status": "Failure", "message": error.message, "reason": "InternalError", "code": 500}
    if not socket.closed:
        await socket.send_bytes(bytes((ERROR,)) + json.dumps(status).encode())
        await socket.close()
    return socket


async def _pump(socket: web.WebSocketResponse, stream: ExecStream, *, stdin: bool, version: int) -> int:
    loop = asyncio.get_running_loop()
    feeding = loop.create_task(_feed(socket, stream, stdin=stdin, version=version))
    sending = loop.create_task(_send(socket, stream))
    try:
        await asyncio.wait({feeding, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and socket.closed:
            return 137  # the client went away
        await sending
        return await stream.exit_code()
    finally:
        for task in (feeding, sending):
            task.cancel()
        await asyncio.gather(feeding, sending, return_exceptions=True)


async def _send(socket: web.WebSocketResponse, stream: ExecStream) -> None:
    async for channel, data in stream.output():
        if socket.closed:
            return
        await socket.send_bytes(bytes((channel,)) + data)


async def _feed(socket: web.WebSocketResponse, stream: ExecStream, *, stdin: bool, version: int) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and stdin:
            await stream.write(data)
        elif channel == CLOSE and version == 5 and data[:1] == bytes((STDIN,)):
            await stream.close_stdin()
        elif channel == RESIZE:
            await _resize(stream, data)


async def _resize(stream: ExecStream, data: bytes) -> None:
    try:
        size: Any = json.loads(data)
        await stream.resize(int(size["Width"]), int(size["Height"]))
    except (ValueError, KeyError, TypeError, TestbedError):
        return  # a size that cannot be read or set changes nothing


def exit_status(code: int) -> dict[str, Any]:
    """The Status that ends an exec; kubectl takes its own exit code from it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")
