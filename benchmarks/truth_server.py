"""A small HTTP server that goes out when it is told to, and says when: the ground truth of `truth.py`.

Lines on stdin: ``refuse`` (stops listening and drops every connection, as a crash does), ``listen``, ``slow SECONDS``,
``lose SHARE`` (drops connections without an answer), ``well``. Each is answered by a line: CLOCK_MONOTONIC ns just
before and just after it, how many of the pulse's requests were lost so far, and when it last answered after a silence.
It takes a real-time turn where it may: the meter is measured, not this machine's load.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import sys
import time

SILENCE_NS = 60_000_000
ESTABLISHED = 1  # linux: include/net/tcp_states.h
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Service:
    """What the server does at present. ``dropped``: requests of the pulse that it has lost; ``woke_ns``: when it last
    answered a new connection whose client still waited, after a silence."""

    def __init__(self) -> None:
        self.answered_ns = self.woke_ns = 0
        self.slow_s = self.share = 0.0
        self.dropped = 0
        self.random = random.Random(1)
        self.open: set[asyncio.Transport] = set()

    def note_answer(self) -> None:
        now = time.monotonic_ns()
        if now - self.answered_ns > SILENCE_NS:
            self.woke_ns = now
        self.answered_ns = now


class Exchange(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._service.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if not self._asked.endswith(b"\r\n\r\n") or self._transport is None:
            return
        last, pulse = b"Connection: close" in self._asked, b"testbed-pulse" in self._asked
        self._asked = b""
        if self._service.random.random() < self._service.share:
            self._service.dropped += pulse
            self._transport.abort()
        elif self._service.slow_s:
            self._loop.call_later(self._service.slow_s, self._answer, last)
        else:
            self._answer(last)

    def _answer(self, last: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if last and self._is_there():
                self._service.note_answer()
            self._transport.write(ANSWER)
            if last:
                self._transport.close()

    def _is_there(self) -> bool:
        """Whether the client still waits: the kernel took its connection and has not heard that it is closed."""
        connection = self._transport.get_extra_info("socket") if self._transport is not None else None
        return connection is not None and connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED


class Control:
    """Does what the lines on stdin say."""

    def __init__(self, service: Service, port: int) -> None:
        self._service, self._port = service, port
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        """The port."""
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._server = await loop.create_server(lambda: Exchange(self._service), sock=listener, backlog=4096)
        self._port = int(listener.getsockname()[1])
        return self._port

    async def do(self, line: str) -> str:
        word, _, value = line.partition(" ")
        before_ns = time.monotonic_ns()
        if word == "refuse" and self._server is not None:
            self._server.close()
            for transport in list(self._service.open):
                transport.abort()
        elif word == "listen":
            await self.listen()
        elif word == "slow":
            self._service.slow_s = float(value)
        elif word == "lose":
            self._service.share = float(value)
        elif word == "well":
            self._service.slow_s = self._service.share = 0.0
        return f"{before_ns} {time.monotonic_ns()} {self._service.dropped} {self._service.woke_ns}"


async def main() -> None:
    service = Service()
    control = Control(service, 0)
    _say(str(await control.listen()))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        _say(await control.do(line.decode().strip()))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()
    asyncio.run(main())
