"""The truth of the meter: outages of known kinds and lengths, in virtual time, against what is reported.

The real pulse sends at 200/s to a server with one queue whose outage is known to the nanosecond. For a server that is
frozen and one that refuses the error is at most 10 ms or 1 %. Slow answers and lost ones are no outage of that length
to measure; what is reported of them stands beside. `python -m benchmarks truth` does the same with real processes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

import pytest

from testbed.experiment.clients import Clients
from testbed.experiment.result import ClientView, Outage
from testbed.load.exchange import Done
from testbed.load.open_loop import Flight, Plan, Pulse
from testbed.load.records import Outcome, Record
from testbed.simulation.loop import run_virtual

RATE = 200
CALM_S, AFTER_S = 2.0, 4.0  # before and after the outage
LENGTHS_S = (0.1, 0.5, 1.0, 5.0, 20.0)
PHASES = (0.0, 0.0013, 0.0027, 0.0049)  # of the outage's beginning within a period of the pulse


@dataclass(frozen=True)
class Known:
    """The truth, seconds of the loop's clock."""

    begin_s: float
    length_s: float

    @property
    def end_s(self) -> float:
        return self.begin_s + self.length_s

    def holds(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s


class Server:
    """Answers one request after the other, each in about half a millisecond; of those that were given up meanwhile it
    finds the connection closed."""

    def __init__(self, known: Known, kind: str, seed: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._known, self._kind, self._random = known, kind, random.Random(seed)
        self._queue: deque[_Request] = deque()
        self._busy = False
        self.dropped = 0
        self.back_s = 0.0  # when a frozen one first had an answer ready again: it meets the dead connections first

    def send(self, stream: str, index: int, done: Done) -> Flight:
        out = self._known.holds(self._loop.time())
        request = _Request(done, 0.3 if out and self._kind == "slow" else 0.0)
        if out and self._kind == "refused":
            self._loop.call_later(0.0002, request.ends, Outcome.REFUSED)
        elif out and self._kind == "loss" and self._random.random() < 0.05:
            self.dropped += 1
            self._loop.call_later(0.0005, request.ends, Outcome.CLOSED)
        else:
            self._queue.append(request)
            if not self._busy:
                self._next()
        return request

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if not self._queue:
            return
        now, request = self._loop.time(), self._queue.popleft()
        took = 0.00003 if request.over else self._random.uniform(0.0003, 0.0009)
        if self._kind == "frozen" and now + took > self._known.begin_s and now < self._known.end_s:
            took += self._known.end_s - now
        if self._kind == "frozen" and not self.back_s and not request.over and now >= self._known.end_s:
            self.back_s = now
        self._loop.call_later(took + request.late_s, request.ends, Outcome.OK)
        self._loop.call_later(took, self._next)


class _Request:
    def __init__(self, done: Done, late_s: float) -> None:
        self._done, self.late_s, self.over = done, late_s, False

    def ends(self, outcome: Outcome) -> None:
        if not self.over:
            self._done(outcome, 200 if outcome is Outcome.OK else 0, "")

    def abandon(self) -> None:
        self.over = True


@dataclass(frozen=True)
class Told:
    """What was measured, of one outage."""

    known: Known
    windows: tuple[Outage, ...]
    view: ClientView
    failed: int
    server: Server

    @property
    def error_s(self) -> float:
        return self.view.outage_sum_s - self.known.length_s


def measured(kind: str, length_s: float, phase_s: float = 0.0) -> Told:
    known = Known(10 + CALM_S + phase_s, length_s)

    async def run(loop: asyncio.AbstractEventLoop) -> Told:
        await asyncio.sleep(10)
        records: list[Record] = []
        server = Server(known, kind, seed=round(phase_s * 1e4))
        pulse = Pulse(Plan(RATE, duration_s=CALM_S + length_s + AFTER_S), server, records.append)
        await pulse.run(int(loop.time() * 1e9))
        clients = Clients(records, start_ns=0, rate=RATE, deadline_s=1.0, healthy_until_s=known.begin_s)
        end_s = known.end_s + AFTER_S
        requests = clients.requests(known.begin_s, end_s)
        return Told(known, clients.outages(known.begin_s, end_s),
                    clients.view(known.begin_s, end_s, settled_s=known.end_s), requests.failed, server)

    return run_virtual(run)


@pytest.mark.parametrize("phase_s", PHASES)
@pytest.mark.parametrize("length_s", LENGTHS_S)
@pytest.mark.parametrize("kind", ["frozen", "refused", "slow"])
def test_the_length_of_a_known_outage(kind: str, length_s: float, phase_s: float) -> None:
    """Slow answers too: from the first that is late to the first that is not."""
    told = measured(kind, length_s, phase_s)
    assert abs(told.error_s) <= max(0.010, 0.01 * length_s)
    (window,) = told.windows
    assert window.ended
    # The edges are where they are said to be, to what is said of them.
    assert abs(window.start_s - told.known.begin_s) <= window.start_uncertainty_s + 1e-6
    back_s = max(told.known.end_s, told.server.back_s)
    assert abs(window.end_s - back_s) <= window.end_uncertainty_s + 0.001
    assert window.start_uncertainty_s <= 2 / RATE and window.end_uncertainty_s <= 2 / RATE


@pytest.mark.parametrize("length_s", LENGTHS_S)
def test_lost_seconds_of_a_known_outage(length_s: float) -> None:
    """Nobody is served: as many seconds are lost. Of a freeze, those of the queue that it left too."""
    refused, frozen = measured("refused", length_s, 0.0013).view, measured("frozen", length_s, 0.0013).view
    assert refused.lost_s == pytest.approx(length_s, abs=0.011)
    assert refused.depth == frozen.depth == 1.0
    assert frozen.lost_s is not None and length_s - 0.011 <= frozen.lost_s <= length_s * 1.15 + 0.05
    assert frozen.latency_normal_s is not None and refused.latency_normal_s is not None
    assert refused.latency_normal_s == pytest.approx(length_s, abs=0.011)
    assert length_s <= frozen.latency_normal_s <= length_s * 1.15 + 0.05


@pytest.mark.parametrize("length_s", [5.0, 20.0])
def test_lost_requests_are_counted_one_by_one(length_s: float) -> None:
    """A twentieth of the requests fails: no outage of that length, but so many failures and so many lost seconds."""
    told = measured("loss", length_s)
    assert told.failed == told.server.dropped > 0
    assert told.view.lost_s == pytest.approx(told.server.dropped / RATE, rel=0.1, abs=0.02)
    assert told.view.outage_longest_s < 0.2
    assert all(window.failed for window in told.windows)
    assert sum(window.failed for window in told.windows) == told.server.dropped
