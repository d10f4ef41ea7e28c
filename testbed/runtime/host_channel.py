"""A Host's line to its helper process: one that it starts itself (root), or one in a labelled container.

Decides how the helper is started and started again after it has died, and matches answers to requests. What is asked
is ``host``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from typing import Any, Protocol

from testbed.api import labels
from testbed.errors import EngineError, HostError, NameConflict, NoSuchImage
from testbed.runtime import host_helper
from testbed.runtime.containers import ContainerSpec, Mount
from testbed.runtime.helper_container import HELPER_IMAGE
from testbed.runtime.host_acts import NotOurs
from testbed.runtime.protocol import Engine, ExecStream

_HELPER_CGROUP_ROOT = "/host/cgroup"
_PYTHON_FLAGS = ("-I", "-S", "-c", host_helper.BOOTSTRAP)
_ANSWER_S = 3.0  # beyond a program's own time


class Transport(Protocol):
    """Bytes to and from one helper."""

    cgroup_root: str

    async def open(self) -> None: ...

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes:
        """Empty at the end."""
        ...

    async def close(self) -> None: ...


class LocalTransport:
    """A child process: small, without threads, so that it forks fast and safely."""

    cgroup_root = "/sys/fs/cgroup"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen([sys.executable, *_PYTHON_FLAGS], stdin=end, stdout=end, cwd="/")
        self._socket = ours

    async def send(self, data: bytes) -> None:
        if self._socket is None:
            raise HostError("the host helper is not running")
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        if self._socket is None:
            return b""
        return await asyncio.get_running_loop().sock_recv(self._socket, 65536)

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ContainerTransport:
    """An exec in the instance's helper container, which sees the host's processes and cgroups."""

    cgroup_root = _HELPER_CGROUP_ROOT

    def __init__(self, instance_id: str, engine: Engine) -> None:
        self._instance_id = instance_id
        self._engine = engine
        self._exec: ExecStream | None = None
        self._output: Any = None

    async def open(self) -> None:
        container = await self._container()
        opened = self._engine.exec_stream(container, ("python3", *_PYTHON_FLAGS), stdin=True, tty=False)
        await opened.__aenter__()
        self._exec, self._output = opened, aiter(opened.output())

    async def _container(self) -> str:
        name = f"testbed-helper-{self._instance_id}"
        spec = ContainerSpec(
            name=name, image=HELPER_IMAGE, command=("sleep", "infinity"), network="host", pid_mode="host",
            labels={labels.INSTANCE: self._instance_id, labels.ROLE: labels.ROLE_HELPER},
            # Everything but SYS_RESOURCE, which an engine inside a container may lack itself.
            cap_add=("ALL",), cap_drop=("SYS_RESOURCE",), security_opt=("seccomp=unconfined", "apparmor=unconfined"),
            mounts=(Mount(target=_HELPER_CGROUP_ROOT, source="/sys/fs/cgroup"),), init=False,
        )
        try:
            await self._engine.create(spec)
        except NameConflict:
            pass  # another process of this instance has made it
        except NoSuchImage as error:
            raise HostError(f"host acts need the image {HELPER_IMAGE}", hint="testbed setup builds it") from error
        return (await self._engine.start(name)).id

    async def send(self, data: bytes) -> None:
        if self._exec is None:
            raise HostError("the host helper is not running")
        await self._exec.write(data)

    async def receive(self) -> bytes:
        async for channel, data in self._output:
            if channel == 1:
                return bytes(data)
        return b""

    async def close(self) -> None:
        if self._exec is not None:
            await self._exec.__aexit__(None, None, None)
            self._exec = None


class HelperChannel:
    """Requests and answers over one transport. Started at the first request, and again after the helper died."""

    def __init__(self, instance_id: str, transport: Transport) -> None:
        self._instance_id = instance_id
        self._transport = transport
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._number = 0
        self._allowed: set[str] = set()

    def allow(self, container: str) -> None:
        self._allowed.add(container)

    @property
    def running(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """Raises: NotOurs, HostError, TimeoutError (a program was ended by its deadline)."""
        await self._open()
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send({"id": number, "op": operation, "args": arguments})
            patience_s = _ANSWER_S + float(arguments.get("timeout_s", 0.0))
            if not (await asyncio.wait({answer}, timeout=patience_s))[0]:
                self._waiting.pop(number, None)
                await self._give_up()
                raise HostError("the host helper does not answer", hint="it is started anew at the next try")
            return _value(answer.result())
        except asyncio.CancelledError:
            if operation == "spawn":
                with contextlib.suppress(HostError, OSError):
                    await self._send({"id": 0, "op": "cancel", "args": {"request": number}})
            raise
        finally:
            self._waiting.pop(number, None)

    async def _give_up(self) -> None:
        """A helper whose container was removed under it: the engine keeps such a connection open and silent."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._transport.close()

    async def _open(self) -> None:
        async with self._opening:
            if self.running:
                return
            await self._transport.close()
            try:
                await self._transport.open()
                first = {"modules": host_helper.sources(), "instance": self._instance_id,
                         "cgroup_root": self._transport.cgroup_root}
                await self._transport.send(json.dumps(first).encode() + b"\n")
            except (OSError, EngineError) as error:
                raise HostError(f"the host helper cannot be started: {error}") from error
            self._reader = asyncio.create_task(self._read(), name="host-helper")
            for container in self._allowed:
                await self._send({"id": 0, "op": "allow", "args": {"container": container}})

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._sending:
            try:
                await self._transport.send(json.dumps(message).encode() + b"\n")
            except OSError as error:
                raise HostError(f"the host helper cannot be reached: {error}") from error

    async def _read(self) -> None:
        buffer = b""
        try:
            while data := await self._transport.receive():
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    waiting = self._waiting.get(message["id"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except OSError:
            pass  # the same as its end
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(HostError("the host helper has died"))

    async def close(self) -> None:
        await self._give_up()
        self._reader = None


def _value(message: dict[str, Any]) -> Any:
    if "error" not in message:
        return message.get("value")
    if message.get("late"):
        raise TimeoutError
    if message.get("not_ours"):
        error = NotOurs("", "")
        error.message, error.container = message["error"], message["container"]
        error.args = (message["error"],)
        raise error
    raise HostError(message["error"])
