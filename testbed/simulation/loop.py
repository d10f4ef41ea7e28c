"""An event loop whose clock jumps to the next timer: an hour of waiting takes no time.

It does no I/O of its own. Connections go to whatever ``network`` it was given; threads, subprocesses and sockets are
refused, because nothing that the real world decides may enter a simulation. When nothing is left to wait for, it says
so instead of waiting for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
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
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, tls: bool, source: str
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """``tls``: returns when both have agreed on it; certificates are not looked at. ``source``: the address that
        it is made from, empty for this machine's. Raises: OSError."""
        ...

    async def connect_unix(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Raises: OSError."""
        ...


class SimulatedProcess:
    """A process inside the simulation: everything that runs in its context stands still while ``frozen`` says so, and
    never goes on once it is ``dead``, as after SIGKILL. Enter its context with ``context``."""

    def __init__(self, loop: VirtualLoop, frozen: Callable[[], bool] = lambda: False) -> None:
        self._loop = loop
        self.frozen = frozen
        self.dead = False
        self._held: list[asyncio.Handle] = []
        loop.processes.append(self)

    def context(self) -> contextvars.Context:
        """A fresh one; tasks and timers that are begun in it, and theirs, belong to this process."""
        context = contextvars.Context()
        context.run(_PROCESS.set, self)
        return context

    def holds(self, handle: asyncio.Handle) -> bool:
        """Whether this step must not be taken now. What a dead process would have done is kept too: its coroutines
        can be ended in order only when the simulation is over."""
        if self._loop.over or not (self.dead or self.frozen()):
            return False
        self._held.append(handle)
        return True

    def thawed(self) -> None:
        """Takes all steps that were due meanwhile."""
        if self._loop.over or not (self.dead or self.frozen()):
            held, self._held = self._held, []
            self._loop._ready.extend(handle for handle in held if not handle.cancelled())  # type: ignore[attr-defined]


_PROCESS: contextvars.ContextVar[SimulatedProcess | None] = contextvars.ContextVar("process", default=None)


class _Step(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        process = self._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is None or not process.holds(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        process = self._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is None or not process.holds(self):
            super()._run()


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


_NOBODY = contextvars.Context()


class VirtualLoop(base_events.BaseEventLoop):
    """``network``: where connections lead; None refuses them."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Leap(self)
        self._clock_resolution = 1e-9
        self.network: Network | None = None
        self.over = False  # the simulation has ended: whatever is left may run out
        self.processes: list[SimulatedProcess] = []
        self.steps = 0
        self._tasks: set[asyncio.Task[Any]] = set()  # those of dead processes too: they must not be collected midway
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    def leap(self) -> None:
        """To the time of the next timer (sums of differences would drift), and a little later, as every real wake-up
        is: code that rounds down to nanoseconds must not find itself before its own deadline."""
        self._now = max(self._now, self._scheduled[0]._when + _LATE_S)  # type: ignore[attr-defined]
        self.steps += 1

    # Every step and timer knows the process that it belongs to.

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard, context=_NOBODY)
        return task

    def _call_soon(
        self, callback: Callable[..., object], args: Any, context: contextvars.Context | None
    ) -> asyncio.Handle:
        handle = _Step(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str | None = None, port: int | None = None,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if self.network is None or host is None or port is None:
            raise ConnectionRefusedError(f"nothing listens at {host}:{port} in this simulation")
        source = str((options.get("local_addr") or ("", 0))[0])
        return await self.network.connect(protocol_factory, host, port, tls=bool(options.get("ssl")), source=source)

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
        logging.disable(logging.NOTSET)
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    """Ends what is left: also the coroutines of processes that have been killed. What they say to that is of no
    interest any more."""
    loop.over = True
    loop.set_exception_handler(lambda loop, context: None)
    logging.disable(logging.CRITICAL)
    for process in loop.processes:
        process.thawed()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=600))
