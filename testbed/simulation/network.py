"""The wires of the simulated cluster: connections to pod addresses and to Services, as a client sees them.

Decides what a connection meets: an answer, a refusal, silence (a frozen process, a link that is down, a dead node) or
a reset (the process ends while its link is up). What is answered is the application's (``simulated_behaviour``); which
endpoint a Service has is the simulated gateway's (``services``).
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import partial

from testbed.runtime.simulated_machine import Process, SimulatedContainer, SimulatedMachine
from testbed.simulation.grpc import PREFACE, asked_service, health_answer
from testbed.simulation.transport import MemoryTransport

_SYN_S = 127.0  # tcp_syn_retries 6
_THAW_LOOK_S = 0.02


class SimulatedNetwork:
    """``translate``: what a Service's address leads a client to, or the address itself; None is refused."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.machine = machine
        self.translate: Callable[[str, int, str], tuple[str, int] | None] = lambda host, port, source: (host, port)
        self.sockets: dict[str, Callable[[asyncio.BaseProtocol], asyncio.BaseTransport]] = {}  # unix sockets by path
        self.fronts: dict[tuple[str, int], Callable[[asyncio.BaseProtocol], asyncio.BaseTransport | None]] = {}
        self.open_connections = 0

    async def connect_unix(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if path not in self.sockets:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        protocol = protocol_factory()
        transport = self.sockets[path](protocol)
        protocol.connection_made(transport)
        return transport, protocol

    async def connect(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, tls: bool = False,
        source: str = "",
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        await asyncio.sleep(self.machine.draw.uniform(0.0001, 0.0004))
        if (host, port) in self.fronts and not tls:
            return self._connect_front(protocol_factory(), self.fronts[host, port])
        target = self.translate(host, port, source)
        if target is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        verdict, container = self.machine.listener(*target)
        if verdict == "refused":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        if container is None or container.process is None:
            await asyncio.sleep(_SYN_S)
            raise OSError(errno.ETIMEDOUT, "Connection timed out")
        speaks_tls = container.application is not None and target[1] in container.application.behaviour.tls_ports
        if tls:
            await self._shake_hands(container, container.process, speaks_tls=speaks_tls)
        protocol = protocol_factory()
        transport = SimulatedConnection(self, protocol, container, container.process)
        transport.deaf = speaks_tls and not tls
        protocol.connection_made(transport)
        return transport, protocol

    @staticmethod
    def _connect_front(
        protocol: asyncio.BaseProtocol, accept: Callable[[asyncio.BaseProtocol], asyncio.BaseTransport | None]
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        transport = accept(protocol)
        if transport is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        protocol.connection_made(transport)
        return transport, protocol

    async def _shake_hands(self, container: SimulatedContainer, process: Process, *, speaks_tls: bool) -> None:
        """Both sides take part in it: one that is frozen or cut off does not. Raises: OSError."""
        await asyncio.sleep(self.machine.draw.uniform(0.001, 0.003))
        while self.stands(container):  # noqa: ASYNC110  (a cgroup tells nobody)
            await asyncio.sleep(_THAW_LOOK_S)
        if not process.alive:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if not speaks_tls:
            refusal = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
            refusal.reason = "WRONG_VERSION_NUMBER"
            raise refusal

    def stands(self, container: SimulatedContainer) -> bool:
        """Nothing moves: the process is frozen, or no packet passes."""
        return self.machine.is_frozen(container.cgroup) or not self.link_up(container)

    def link_up(self, container: SimulatedContainer) -> bool:
        return self.machine.sandbox_of(container).link_up


class SimulatedConnection(MemoryTransport):
    """The client's end of an HTTP/1.1 connection to a container."""

    def __init__(
        self, network: SimulatedNetwork, protocol: asyncio.BaseProtocol, container: SimulatedContainer,
        process: Process,
    ) -> None:
        super().__init__(protocol)
        self._network, self._container, self._process = network, container, process
        self.deaf = False  # it speaks TLS and was not spoken to so
        self._received = b""
        self._timers: set[asyncio.TimerHandle] = set()
        network.open_connections += 1
        process.ended.add_done_callback(self._peer_ended)

    def received(self, data: bytes) -> None:
        if self.deaf:
            self._later(self._network.machine.draw.uniform(0.0003, 0.001), self._hang_up)
            return
        self._received += data
        if self._received.startswith(PREFACE):
            self._later(self._network.machine.draw.uniform(0.0003, 0.001), self._answer_health)
            return
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            parts = head.split(b" ", 2)
            path = parts[1].decode("latin-1") if len(parts) > 1 else "/"
            self._later(self._network.machine.draw.uniform(0.0003, 0.001), partial(self._answer, path))

    def lost(self) -> None:
        self._network.open_connections -= 1
        for timer in self._timers:
            timer.cancel()
        self._process.ended.remove_done_callback(self._peer_ended)

    def _hang_up(self) -> None:
        if self._stands():
            self._later(_THAW_LOOK_S, self._hang_up)
        else:
            self.lose(None)

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._timers = {timer for timer in self._timers if timer.when() >= self._loop.time() and not timer.cancelled()}
        self._timers.add(self._network.machine.later(delay_s, act))

    def _stands(self) -> bool:
        return self._network.stands(self._container)

    def _answer(self, path: str) -> None:
        machine, container = self._network.machine, self._container
        if self._closed or not self._process.alive or container.application is None:
            return
        if self._stands():
            self._later(_THAW_LOOK_S, partial(self._answer, path))
            return
        answer = container.application.answer(path, machine.age_s(container))
        if answer is not None:
            status, body, delay_s = answer
            self._later(delay_s, partial(self._send, path, status, body))

    def _answer_health(self) -> None:
        """gRPC: what the sample says of the service that was asked for."""
        machine, container = self._network.machine, self._container
        application = container.application
        if self._closed or not self._process.alive or application is None:
            return
        if self._stands():
            self._later(_THAW_LOOK_S, self._answer_health)
            return
        service = asked_service(self._received)
        if service is None:
            return
        self._received = b""
        path = {"liveness": "/healthz", "startup": "/startupz", "": "/readyz", "readiness": "/readyz"}.get(service)
        if path is None:
            self.deliver(health_answer(None))
        elif (answer := application.answer(path, machine.age_s(container))) is not None:
            self.deliver(health_answer(answer[0] == 200))

    def _send(self, path: str, status: int, body: str) -> None:
        if self._closed or not self._process.alive or self._container.application is None:
            return
        if self._stands():
            self._later(_THAW_LOOK_S, partial(self._send, path, status, body))
            return
        if status < 400:
            self._container.application.proven.add(path)
        data = body.encode()
        place = f"Location: {body}\r\n" if status == 302 else ""
        self.deliver(f"HTTP/1.1 {status} -\r\n{place}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def _peer_ended(self, _: asyncio.Future[None]) -> None:
        if self._network.link_up(self._container):
            self.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
