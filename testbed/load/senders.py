"""Sends a pulse's requests over real sockets: the ``fresh`` stream on a new connection each, ``keep`` on connections
that are kept. What a request is made of is `ask.py`'s."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from testbed.errors import EnvironmentProblem
from testbed.load.ask import Ask
from testbed.load.exchange import Connection, Done, SourcePorts
from testbed.load.parting import Parting
from testbed.load.records import FRESH, KEEP, Outcome


class SocketSender:
    """To one address, resolved once."""

    def __init__(self, ask: Ask) -> None:
        """Raises: UsageError, EnvironmentProblem (a name that cannot be resolved)."""
        host, port = ask.address()
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise EnvironmentProblem(f"{host} cannot be resolved: {error}") from error
        self._loop = asyncio.get_running_loop()
        self._family, self._address = family, (str(address[0]), int(address[1]))
        self._ask, self._judge, self._resets = ask, ask.judge, ask.tcp
        self._fixed = None if ask.varies else {stream: ask.render(0, stream) for stream in (FRESH, KEEP)}
        self._idle: list[Connection] = []
        self._parting = Parting(self._loop)
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        # Pulses that follow each other begin at different places: the clock is as good as a draw.
        self._ports = SourcePorts(first, last, time.monotonic_ns() // 1_000_000)

    def send(self, stream: str, index: int, done: Done) -> Connection:
        """Starts one request; ``done`` is called once, later. Raises: OSError when nothing can be sent."""
        request = self._fixed[stream] if self._fixed is not None else self._ask.render(index, stream)
        if stream == FRESH:
            connection = Connection(self._loop, self._family, self._address, self._ports)

            def ended(outcome: Outcome, status: int, backend: str) -> None:
                self._part(connection)
                done(outcome, status, backend)

            connection.send(request, self._judge, ended)
            return connection
        connection = self._idle.pop() if self._idle else self._kept()
        connection.send(request, self._judge, self._returning(connection, done))
        return connection

    def _part(self, connection: Connection) -> None:
        """An HTTP server closes after its answer. A TCP server may wait for more: such a connection is reset, as the
        kubelet's TCP probes nearly do, or each would hold a port of ours for a minute."""
        if self._resets:
            connection.abandon()
        else:
            self._parting.take(connection)

    def _kept(self) -> Connection:
        connection = Connection(self._loop, self._family, self._address)
        connection.on_idle_end = self._forget
        return connection

    def _forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _returning(self, connection: Connection, done: Done) -> Done:
        def ended(outcome: Outcome, status: int, backend: str) -> None:
            if connection.reusable:
                self._idle.append(connection)
            else:
                self._part(connection)
            done(outcome, status, backend)

        return ended
