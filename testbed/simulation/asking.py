"""Requests of clients over the simulated network: what `load.exchange.Connection` is over sockets.

What a request is and what its answer means are the real `load.ask` and `load.answers`.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial

from testbed.load.answers import Judge, Judged
from testbed.load.ask import Ask
from testbed.load.exchange import Done, outcome_of
from testbed.load.records import FRESH, Outcome


class Exchange(asyncio.Protocol):
    """One connection, on which one request at a time is made."""

    def __init__(self, address: tuple[str, int], judge: Judge) -> None:
        self._address, self._judge = address, judge
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self.answer = bytearray()
        self._done: Done | None = None
        self.reusable = False

    def send(self, request: bytes, done: Done) -> None:
        """``done`` is called once, later."""
        self.answer, self._done, self.reusable = bytearray(), done, False
        if self._transport is not None:
            self._transport.write(request)
        else:
            self._task = self._loop.create_task(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        try:
            transport, _ = await self._loop.create_connection(lambda: self, *self._address)
        except OSError as error:
            self._end(Judged(outcome_of(error.errno or errno.EIO)))
            return
        self._transport = transport
        if request:
            transport.write(request)
        self._look(ended=False)  # a connection may be all that is asked for

    def _look(self, *, ended: bool) -> None:
        judged = self._judge(self.answer, ended) if self._done is not None else None
        if judged is not None:
            self._end(judged)

    def _end(self, judged: Judged) -> None:
        done, self._done = self._done, None
        self.reusable = judged.reusable
        if done is not None:
            done(judged.outcome, judged.status, judged.backend)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        self._look(ended=False)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self.reusable = None, False
        if isinstance(error, OSError):
            self._end(Judged(outcome_of(error.errno or errno.EIO)))
        else:
            self._look(ended=True)

    def abandon(self) -> None:
        self._done = None
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()


class SimulatedSender:
    """`load.open_loop.Sender` to one address: the fresh stream on a new connection each, others on kept ones."""

    def __init__(self, ask: Ask) -> None:
        """Raises: UsageError."""
        self._ask, self._address = ask, ask.address()
        self._idle: list[Exchange] = []

    def send(self, stream: str, index: int, done: Done) -> Exchange:
        kept = stream != FRESH
        exchange = self._idle.pop() if kept and self._idle else Exchange(self._address, self._ask.judge)
        exchange.send(self._ask.render(index, stream), partial(self._ended, exchange, done, kept))
        return exchange

    def _ended(self, exchange: Exchange, done: Done, kept: bool, outcome: Outcome, status: int, backend: str) -> None:
        if kept and exchange.reusable:
            self._idle.append(exchange)
        else:
            exchange.abandon()
        done(outcome, status, backend)


async def ask_once(ask: Ask, timeout_s: float) -> bytes | str:
    """The whole answer to one request on a connection of its own, or why there was none."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome] = loop.create_future()
    exchange = Exchange(ask.address(), ask.judge)

    def done(outcome: Outcome, status: int, backend: str) -> None:
        if not ended.done():
            ended.set_result(outcome)

    exchange.send(ask.render(0, FRESH), done)
    try:
        outcome = await asyncio.wait_for(ended, timeout_s)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    finally:
        exchange.abandon()
    return bytes(exchange.answer) if outcome is Outcome.OK else outcome.value
