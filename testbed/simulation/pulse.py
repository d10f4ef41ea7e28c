"""The real pulse (``load.open_loop.Pulse``) over the simulated network."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable

from testbed.load.exchange import Done, outcome_of
from testbed.load.open_loop import Flight, Plan, Pulse
from testbed.load.records import Outcome, Record
from testbed.simulation.world import World

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_POD = re.compile(rb'"pod": "([^"]*)"')
_REQUEST = b"GET / HTTP/1.1\r\nHost: simulation\r\n\r\n"


class NetworkSender:
    """A fresh connection for each request."""

    def __init__(self, world: World, service: str) -> None:
        self._world, self._service = world, service

    def send(self, stream: str, index: int, done: Done) -> Flight:
        return _Flight(self._exchange, done)

    async def _exchange(self) -> tuple[Outcome, int, str]:
        address, port = self._world.address_of(self._service)
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(_REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        finally:
            writer.transport.abort()
        status, pod = _STATUS.match(head), _POD.search(body)
        return Outcome.OK, int(status.group(1)) if status else 0, pod.group(1).decode() if pod else ""


class _Flight:
    def __init__(self, exchange: Callable[[], object], done: Done) -> None:
        self._exchange, self._done = exchange, done
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            outcome, status, backend = await self._exchange()  # type: ignore[misc]
        except OSError as error:
            outcome, status, backend = outcome_of(error.errno or errno.EIO), 0, ""
        except asyncio.IncompleteReadError:
            outcome, status, backend = Outcome.RESET, 0, ""
        self._done(outcome, status, backend)

    def abandon(self) -> None:
        self._task.cancel()


class SimulatedPulse:
    """``records``: in the order in which requests ended."""

    def __init__(self, world: World, service: str, *, rate: float, patience_s: float = 2.0) -> None:
        self.records: list[Record] = []
        self._pulse = Pulse(Plan(rate, patience_s=patience_s), NetworkSender(world, service), self.records.append)
        self._t0_ns = int(world.loop.time() * 1e9)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._pulse.run(self._t0_ns))

    async def end(self) -> None:
        self._pulse.stop()
        if self._task is not None:
            await self._task

    def failed(self, since_s: float = 0.0) -> list[Record]:
        """Requests due since then that got no right answer."""
        return [item for item in self.records if item.due_ns >= since_s * 1e9 and item.outcome is not Outcome.OK]
