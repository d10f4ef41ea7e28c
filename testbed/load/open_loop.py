"""Sends on a schedule that was fixed in advance, whatever happens to earlier requests: the pulse without its process.

Arrival k of a stream is due when the integral of its rate reaches k (`profile.py`); its latency counts from then, and
one that could not be sent has failed (wrk2's rule; k6 counts ``dropped_iterations``). Time comes from the event loop
and requests leave through a `Sender`, so that the same code runs in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from testbed.load.exchange import Done
from testbed.load.profile import Profile, Stage
from testbed.load.records import FRESH, KEEP, Outcome, Record

_PHASES = {FRESH: 0.0, KEEP: 0.5}  # of a period: the two streams do not leave at the same moments
_ROUNDING_NS = 1000  # of a loop's clock, which counts in floating seconds
_NEVER_S = 3600.0  # one that is never due is looked at again after this


@dataclass(frozen=True)
class Plan:
    """What a pulse does. Rates in requests per second, 0 for no such stream; ``patience_s``: how long an answer is
    waited for; ``duration_s`` 0: until told to stop. ``statuses`` empty: any 2xx or 3xx is right. ``stages``: how the
    rate changes, from the beginning or (``held``) from the moment that ``begin_stages`` is told."""

    rate: float
    keep_rate: float = 0.0
    stages: tuple[Stage, ...] = ()
    held: bool = False
    duration_s: float = 0.0
    patience_s: float = 10.0
    max_in_flight: int = 2000
    statuses: frozenset[int] = frozenset()

    def right(self, status: int) -> bool:
        return status in self.statuses if self.statuses else not status or 200 <= status < 400

    def profile(self, stream: str) -> Profile:
        """When arrivals of this stream are due; the kept stream follows the stages in proportion."""
        stages = () if self.held else self.stages
        if stream == FRESH:
            return Profile(self.rate, stages)
        share = self.keep_rate / self.rate if self.rate else 0.0
        return Profile(self.keep_rate, tuple(replace(stage, target=stage.target * share) for stage in stages))


class Flight(Protocol):
    """A request on its way."""

    def abandon(self) -> None: ...


class Sender(Protocol):
    """How requests leave: sockets here, the simulated network in virtual time."""

    def send(self, stream: str, index: int, done: Done) -> Flight:
        """Starts request ``index``; ``done`` is called once, later. Raises: OSError when nothing can be sent."""
        ...


class Pulse:
    """Sends on schedule and hands each request's record to ``sink`` as it ends."""

    def __init__(self, plan: Plan, sender: Sender, sink: Callable[[Record], None]) -> None:
        self._plan, self._sender, self._sink = plan, sender, sink
        self._loop = asyncio.get_running_loop()
        self._flights: dict[tuple[str, int], tuple[Flight, int, int]] = {}
        self._profiles = {stream: plan.profile(stream) for stream, runs in (
            (FRESH, plan.rate > 0 or bool(plan.stages)), (KEEP, plan.keep_rate > 0)) if runs}
        self._next = dict.fromkeys(self._profiles, 0)
        # Of each stream's requests in the order in which patience with them ends. Nearly all have landed by then: one
        # timer per stream and not one per request, which would be most of what the event loop does.
        self._awaited: dict[str, deque[int]] = {stream: deque() for stream in self._profiles}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stop = asyncio.Event()
        self._landed = asyncio.Event()  # set when, after the last departure, nothing is in flight
        self._over = False
        self.t0_ns = 0

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def stop(self) -> None:
        """No request leaves after this."""
        self._stop.set()

    async def run(self, t0_ns: int, *, drain_s: float = 1.0) -> None:
        """Sends from ``t0_ns`` (of the loop's clock) until told to stop or its time is over, then waits up to
        ``drain_s`` for what is in flight and records the rest as unanswered."""
        self.t0_ns = t0_ns
        for stream in self._profiles:
            self._arm(stream, self._due_ns(stream))
        with contextlib.suppress(TimeoutError):
            over_s = t0_ns / 1e9 + self._plan.duration_s - self._loop.time() if self._plan.duration_s else None
            await asyncio.wait_for(self._stop.wait(), over_s)
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        await self._drain(drain_s)

    async def _drain(self, drain_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            if self._flights:
                await asyncio.wait_for(self._landed.wait(), drain_s)
        for (stream, index), (flight, due_ns, sent_ns) in list(self._flights.items()):
            flight.abandon()
            self._sink(Record(index, stream, due_ns, sent_ns, 0, Outcome.UNANSWERED))
        self._flights.clear()
        for awaited in self._awaited.values():
            awaited.clear()

    # --- the schedule

    def begin_stages(self, at_ns: int = 0) -> int:
        """Lets the stages of a held plan begin, at once or at ``at_ns`` when that is still to come. Returns when."""
        at_ns = max(at_ns, self._now_ns())
        wait_s = (at_ns - self.t0_ns) / 1e9
        begun = replace(self._plan, held=False)
        self._profiles = {stream: replace(begun.profile(stream), wait_s=wait_s) for stream in self._profiles}
        for stream in self._profiles:
            self._timers[stream].cancel()
            self._arm(stream, self._due_ns(stream))
        return at_ns

    def _due_ns(self, stream: str) -> float:
        """When the stream's next arrival is due; infinite when it never is."""
        due_s = self._profiles[stream].due_s(self._next[stream] + _PHASES[stream])
        return self.t0_ns + round(due_s * 1e9) if math.isfinite(due_s) else math.inf

    def _arm(self, stream: str, due_ns: float) -> None:
        at_s = due_ns / 1e9 if math.isfinite(due_ns) else self._loop.time() + _NEVER_S
        self._timers[stream] = self._loop.call_at(at_s, self._fire, stream)

    def _fire(self, stream: str) -> None:
        """Sends all that is due by now (more than one after a late wake-up), then sleeps until the next."""
        if self._stop.is_set():
            return
        end_ns = self.t0_ns + int(self._plan.duration_s * 1e9) if self._plan.duration_s else math.inf
        while (due_ns := self._due_ns(stream)) <= self._now_ns():
            if due_ns >= end_ns:
                return
            index = self._next[stream]
            self._next[stream] = index + 1
            self._launch(stream, index, int(due_ns))
        self._arm(stream, due_ns)

    def _now_ns(self) -> int:
        return int(self._loop.time() * 1e9)

    # --- one request

    def _launch(self, stream: str, index: int, due_ns: int) -> None:
        key = (stream, index)
        if len(self._flights) >= self._plan.max_in_flight:
            self._sink(Record(index, stream, due_ns, 0, 0, Outcome.UNSENT))
            return
        sent_ns = self._now_ns()

        def done(outcome: Outcome, status: int, backend: str) -> None:
            self._land(key, outcome, status, backend)

        try:
            flight = self._sender.send(stream, index, done)
        except OSError:
            self._sink(Record(index, stream, due_ns, 0, 0, Outcome.UNSENT))
            return
        self._flights[key] = (flight, due_ns, sent_ns)
        awaited = self._awaited[stream]
        awaited.append(index)
        if len(awaited) == 1:
            self._loop.call_at(due_ns / 1e9 + self._plan.patience_s, self._look_for_late, stream)

    def _land(self, key: tuple[str, int], outcome: Outcome, status: int, backend: str) -> None:
        found = self._flights.pop(key, None)
        if found is None:
            return
        _, due_ns, sent_ns = found
        self._note_landed()
        if outcome is Outcome.OK and not self._plan.right(status):
            outcome = Outcome.STATUS
        self._sink(Record(key[1], key[0], due_ns, sent_ns, self._now_ns(), outcome, status, backend))

    def _note_landed(self) -> None:
        if self._over and not self._flights:
            self._landed.set()

    # --- patience

    def _look_for_late(self, stream: str) -> None:
        """Gives up those whose time is over; comes again when the next one's is."""
        awaited = self._awaited[stream]
        now_ns = self._now_ns()
        while awaited:
            key = stream, awaited[0]
            found = self._flights.get(key)
            if found is not None:
                over_ns = found[1] + int(self._plan.patience_s * 1e9)
                if over_ns > now_ns + _ROUNDING_NS:
                    self._loop.call_at(over_ns / 1e9, self._look_for_late, stream)
                    return
                self._give_up(key)
            awaited.popleft()

    def _give_up(self, key: tuple[str, int]) -> None:
        flight, due_ns, sent_ns = self._flights.pop(key)
        self._note_landed()
        flight.abandon()
        self._sink(Record(key[1], key[0], due_ns, sent_ns, self._now_ns(), Outcome.TIMEOUT))
