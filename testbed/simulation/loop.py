"""An event loop whose clock jumps to the next timer: an hour of waiting takes no time.

It does no I/O of its own. Connections go to whatever ``network`` it was given; threads, subprocesses and sockets are
refused, because nothing that the real world decides may enter a simulation. When nothing is left to wait for, it says
so instead of waiting for ever.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from testbed.errors import TestbedError

Result = TypeVar("Result")

_LATE_S = 1e-7
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Deadlock(TestbedError):
    """No task can ever go on: each waits for another."""


class Network(Protocol):
    async def connect(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Raises: OSError."""
        ...

    async def connect_unix(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Raises: OSError."""
        ...


class _Leap:
    """Stands where a selector would wait: instead of waiting, time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("the simulation stands still: every task waits for another one")
        if timeout > 0:
            self._loop.leap()
        return []

    def close(self) -> None:
        return


class VirtualLoop(base_events.BaseEventLoop):
    """``network``: where connections lead; None refuses them."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Leap(self)
        self._clock_resolution = 1e-9
        self.network: Network | None = None
        self.steps = 0

    def time(self) -> float:
        return self._now

    def leap(self) -> None:
        """To the time of the next timer (sums of differences would drift), and a little later, as every real wake-up
        is: code that rounds down to nanoseconds must not find itself before its own deadline."""
        self._now = max(self._now, self._scheduled[0]._when + _LATE_S)  # type: ignore[attr-defined]
        self.steps += 1

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str | None = None, port: int | None = None,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if self.network is None or host is None or port is None or options.get("ssl"):
            raise ConnectionRefusedError(f"nothing listens at {host}:{port} in this simulation")
        return await self.network.connect(protocol_factory, host, port)

    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, **options: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if self.network is None:
            raise ConnectionRefusedError(f"nothing listens at {path} in this simulation")
        return await self.network.connect_unix(protocol_factory, str(path))

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise TestbedError("a simulation has no threads: what needs one cannot be part of it")

    # What BaseEventLoop asks of a real loop.

    def _process_events(self, events: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return


class VirtualClock:
    """Wall time of a simulation. It may jump; durations must not notice."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._offset = timedelta(0)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time()) + self._offset

    def jump(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Runs ``main`` to its end on a new virtual loop, then cancels what it left running.

    Raises: Deadlock.
    """
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(main(loop))
        finally:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=60))
