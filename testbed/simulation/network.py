"""The wires of the simulated cluster: connections to pod addresses and to Services, as a client sees them.

Decides what a connection meets: an answer, a refusal, silence (a frozen process, a link that is down, a dead node, a
fault that drops its packets) or a reset (the process ends while its link is up). What is answered is the application's
(``simulated_behaviour``); which endpoint a Service has is the simulated gateway's (``services``); how a packet or a
request fares under a fault is ``effects`` and ``exchanges``.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import partial

from testbed.runtime.simulated_machine import Process, SimulatedContainer, SimulatedMachine
from testbed.simulation.effects import Effects, Way
from testbed.simulation.exchanges import Request, on_answer, on_request, read_request
from testbed.simulation.grpc import PREFACE, asked_service, health_answer
from testbed.simulation.transport import MemoryTransport

_SYN_S = 127.0  # tcp_syn_retries 6
_SYN_AGAIN_S = 1.0  # doubles each time (RFC 6298)
_AGAIN_S = 0.2  # TCP_RTO_MIN, which doubles too
_MOST_AGAIN_S = 120.0
_SYN_BITS = 60 * 8
_THAW_LOOK_S = 0.02


class SimulatedNetwork:
    """``translate``: what a Service's address leads a client to, or the address itself; None is refused."""

    def __init__(self, machine: SimulatedMachine, effects: Effects) -> None:
        self.machine, self.effects = machine, effects
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
        way = self.effects.way(source, host, *target)
        await self._round_trip(way)
        verdict, container = self.machine.listener(*target)
        if verdict == "refused":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        if container is None or container.process is None:
            await asyncio.sleep(_SYN_S)
            raise OSError(errno.ETIMEDOUT, "Connection timed out")
        speaks_tls = container.application is not None and target[1] in container.application.behaviour.tls_ports
        if tls:
            await self._shake_hands(container, container.process, way, speaks_tls=speaks_tls)
        protocol = protocol_factory()
        transport = SimulatedConnection(self, protocol, container, container.process, way)
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

    @staticmethod
    async def _round_trip(way: Way) -> None:
        """A connection's first packet and its answer, sent again while either is lost. Raises: OSError."""
        again_s, waited_s = _SYN_AGAIN_S, 0.0
        while (there_s := way.there(_SYN_BITS)) is None or (back_s := way.back(_SYN_BITS)) is None:
            if waited_s >= _SYN_S:
                raise OSError(errno.ETIMEDOUT, "Connection timed out")
            await asyncio.sleep(again_s)
            waited_s, again_s = waited_s + again_s, again_s * 2
        if there_s or back_s:
            await asyncio.sleep(there_s + back_s)

    async def _shake_hands(
        self, container: SimulatedContainer, process: Process, way: Way, *, speaks_tls: bool
    ) -> None:
        """Both sides take part in it: one that is frozen or cut off does not. Raises: OSError."""
        await self._round_trip(way)
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
        process: Process, way: Way,
    ) -> None:
        super().__init__(protocol)
        self._network, self._container, self._process, self._way = network, container, process, way
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
            taken_s = self._network.machine.draw.uniform(0.0003, 0.001)
            self._cross(self._way.there, len(data) * 8, partial(self._later, taken_s, self._answer_health))
            return
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            asked = read_request(head.decode("latin-1"))
            taken_s = self._network.machine.draw.uniform(0.0003, 0.001)
            self._cross(self._way.there, len(data) * 8, partial(self._later, taken_s, partial(self._meddle, asked)))

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

    def _cross(
        self, passes: Callable[[int], float | None], bits: int, act: Callable[[], None], again_s: float = _AGAIN_S
    ) -> None:
        """A packet's way; one that is lost is sent again by TCP, after pauses that double."""
        late_s = passes(bits)
        if late_s is None:
            self._later(again_s, partial(self._cross, passes, bits, act, min(again_s * 2, _MOST_AGAIN_S)))
        elif late_s:
            self._later(late_s, act)
        else:
            act()

    def _meddle(self, asked: Request) -> None:
        """Faults that stand between client and application see the request first."""
        sandbox = self._network.machine.sandbox_of(self._container).id
        rules = self._network.effects.requests_on(sandbox, self._way.port)
        changed = on_request(rules, asked)
        if changed.aborted:
            self._later(changed.late_s, self._reset)
        elif changed.late_s:
            self._later(changed.late_s, partial(self._answer, changed.request.path, changed.request))
        else:
            self._answer(changed.request.path, changed.request)

    def _reset(self) -> None:
        self.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _answer(self, path: str, asked: Request) -> None:
        machine, container = self._network.machine, self._container
        if self._closed or not self._process.alive or container.application is None:
            return
        if self._stands():
            self._later(_THAW_LOOK_S, partial(self._answer, path, asked))
            return
        answer = container.application.answer(path, machine.age_s(container))
        if answer is not None:
            status, body, delay_s = answer
            delay_s += self._network.effects.late_answer_s(container)
            self._later(delay_s, partial(self._send, asked, status, body))

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
            self._tell(health_answer(None))
        elif (answer := application.answer(path, machine.age_s(container))) is not None:
            self._tell(health_answer(answer[0] == 200))

    def _tell(self, data: bytes) -> None:
        self._cross(self._way.back, len(data) * 8, partial(self.deliver, data))

    def _send(self, asked: Request, status: int, body: str) -> None:
        if self._closed or not self._process.alive or self._container.application is None:
            return
        if self._stands():
            self._later(_THAW_LOOK_S, partial(self._send, asked, status, body))
            return
        if status < 400:
            self._container.application.proven.add(asked.path)
        place = f"Location: {body}\r\n" if status == 302 else ""
        sandbox = self._network.machine.sandbox_of(self._container).id
        changed = on_answer(self._network.effects.requests_on(sandbox, self._way.port), asked, status, body)
        if changed.aborted:
            self._later(changed.late_s, self._reset)
            return
        data = changed.body.encode()
        whole = f"HTTP/1.1 {changed.status} -\r\n{place}Content-Length: {len(data)}\r\n\r\n".encode() + data
        send = partial(self._cross, self._way.back, len(whole) * 8, partial(self.deliver, whole))
        if changed.late_s:
            self._later(changed.late_s, send)
        else:
            send()

    def _peer_ended(self, _: asyncio.Future[None]) -> None:
        if self._network.link_up(self._container) and self._way.back(0) is not None:
            self.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
