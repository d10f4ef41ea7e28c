"""Programs run in a container through a Docker engine (the portable way; ``host.exec_in_container`` is faster).

An exec's connection is taken over from docker-py once the engine has upgraded it, and is read by the event loop, so
that a long exec holds no thread. What was read ahead together with the headers is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from testbed.errors import EngineError, EngineUnavailable
from testbed.runtime.docker_client import DockerClient
from testbed.runtime.docker_streams import Connect, Demultiplexer
from testbed.runtime.docker_threads import ClientThreads

_CALL_S = 10.0
_CHUNK = 65536


class DockerExec:
    """One exec. ``async with`` starts it and closes its connection."""

    def __init__(
        self, threads: ClientThreads, connect: Connect, container: str, argv: tuple[str, ...], *, stdin: bool,
        tty: bool,
    ) -> None:
        self._threads = threads
        self._connect = connect
        self._container = container
        self._argv = argv
        self._stdin = stdin
        self._tty = tty
        self._id = ""
        self._socket: socket.socket | None = None
        self._ahead = b""

    async def __aenter__(self) -> DockerExec:
        body = {
            "Cmd": list(self._argv), "AttachStdin": self._stdin, "AttachStdout": True, "AttachStderr": True,
            "Tty": self._tty,
        }
        answer: dict[str, Any] = await self._threads.call(
            lambda client: client.post("/containers/{0}/exec", self._container, body=body), timeout_s=_CALL_S
        )
        self._id = str(answer["Id"])
        opened, self._ahead = await self._threads.call(self._start, timeout_s=_CALL_S)
        opened.setblocking(False)
        self._socket = opened
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _start(self, _: DockerClient) -> tuple[socket.socket, bytes]:
        client = self._connect()  # of its own: the connection is not a client's any more afterwards
        try:
            return client.upgrade("/exec/{0}/start", self._id, body={"Tty": self._tty, "Detach": False})
        finally:
            client.close()

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, data)

    async def close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    async def resize(self, columns: int, rows: int) -> None:
        await self._threads.call(
            lambda client: client.post("/exec/{0}/resize", self._id, params={"h": rows, "w": columns}),
            timeout_s=_CALL_S,
        )

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        demultiplexer = Demultiplexer()
        loop = asyncio.get_running_loop()
        data, self._ahead = self._ahead, b""
        while True:
            if self._tty and data:
                yield 1, data
            elif data:
                for channel, payload in demultiplexer.feed(data):
                    yield channel, payload
            try:
                data = await loop.sock_recv(self._connection, _CHUNK)
            except OSError as error:
                raise EngineUnavailable(f"the engine broke off an exec: {error}") from error
            if not data:
                return

    async def exit_code(self) -> int:
        """Waits up to 10 s after the output has ended, for the engine to notice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CALL_S
        while True:
            answer = await self.inspect()
            if not answer["Running"] and answer["ExitCode"] is not None:
                return int(answer["ExitCode"])
            if loop.time() > deadline:
                raise EngineUnavailable("the engine does not say how an exec ended")
            await asyncio.sleep(0.01)

    async def inspect(self) -> dict[str, Any]:
        answer: dict[str, Any] = await self._threads.call(
            lambda client: client.get("/exec/{0}/json", self._id), timeout_s=_CALL_S, again=True
        )
        return answer

    async def kill(self) -> None:
        """Ends the program. The engine has no call for that, so: by signal where we may, else from inside."""
        with contextlib.suppress(EngineError, EngineUnavailable):
            answer = await self.inspect()
            pid = int(answer.get("Pid") or 0)
            if not answer["Running"] or pid <= 1:
                return
            inner = _pid_inside(pid)
            if inner is None:
                return  # not a process of this machine (a remote engine), or already gone
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:
                await self._kill_inside(inner)
            except ProcessLookupError:
                return

    async def _kill_inside(self, inner: int) -> None:
        argv = ("kill", "-9", str(inner))
        async with DockerExec(self._threads, self._connect, self._container, argv, stdin=False, tty=False) as killer:
            async for _ in killer.output():
                continue

    @property
    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise EngineError("this exec is not open")
        return self._socket


def _pid_inside(pid: int) -> int | None:
    """The process's number in its own pid namespace. Only for a process that does live in a namespace of its own,
    so that a number from a remote engine never kills a stranger."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return int(numbers[-1]) if len(numbers) > 1 else None
    return None
