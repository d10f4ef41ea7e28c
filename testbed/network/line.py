"""A connection to the gateway's control socket: one line of JSON asks, one answers; and keeping one, for as long as we
live. Who asks what is the feeders'."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from testbed.client.protocol import Json

RETRY_S = 0.1

_log = logging.getLogger(__name__)


class Line(asyncio.Protocol):
    """The connection to one gateway: a question, an answer. ``lost`` is called when the gateway has gone.

    No streams and no tasks: between a change and its message the loop must not get turns to do other work in.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._received = bytearray()
        self._answer: asyncio.Future[Json] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def alive(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the gateway has gone"))
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\n" in self._received and self._answer is not None and not self._answer.done():
            line, _, rest = self._received.partition(b"\n")
            self._received = bytearray(rest)
            try:
                self._answer.set_result(json.loads(line))
            except ValueError as error:
                self._answer.set_exception(error)

    async def ask(self, message: Json) -> Json:
        """Raises: ConnectionError when the gateway is gone, ValueError for an answer that is none."""
        if self._transport is None:
            raise ConnectionResetError("the gateway has gone")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(json.dumps(message).encode() + b"\n")
        return await self._answer


async def ask_once(socket: Path, message: Json, timeout_s: float) -> Json:
    """The answer to one question, over a connection of its own.

    Raises: OSError (TimeoutError too) when nobody answers, ValueError for an answer that is none.
    """
    async with asyncio.timeout(timeout_s):
        transport, line = await asyncio.get_running_loop().create_unix_connection(
            lambda: Line(lambda: None), str(socket))
        try:
            answer = await line.ask(message)
        finally:
            transport.close()
    if not isinstance(answer, dict):
        raise ValueError("the gateway's answer is no object")
    return answer


async def feed(socket: Path, changed: asyncio.Event, send: Callable[[Line], Awaitable[None]]) -> None:
    """Calls ``send`` for each new gateway at ``socket``, and whenever ``changed`` is set. Runs until cancelled.

    ``send`` may raise OSError, TimeoutError or ValueError when the gateway has gone or says nothing sensible.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            transport, line = await loop.create_unix_connection(lambda: Line(changed.set), str(socket))
            try:
                changed.set()
                while line.alive:
                    await changed.wait()
                    changed.clear()
                    await send(line)
            finally:
                transport.close()
        except (OSError, TimeoutError, ValueError) as error:
            _log.info("gateway: %s", error or "no answer")
        await asyncio.sleep(RETRY_S)
