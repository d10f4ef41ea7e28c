"""The pulse: an open-loop prober. Requests leave on a schedule that was fixed in advance, whatever happens to
earlier ones.

Arrival k of a stream is due at ``t0 + k / rate``; its latency counts from then, and one that could not be sent has
failed (wrk2's rule; k6 counts ``dropped_iterations``). So a service that stalls cannot slow its own measurement
down. The pulse only records; what the records mean is ``outage.py``. Run as ``python -m testbed.load.pulse``: a
process of its own, standard library only. It ends after ``--for`` seconds, on SIGTERM or SIGINT, or with
``--until-eof`` when its stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from testbed.errors import EnvironmentProblem, TestbedError, UsageError
from testbed.load.exchange import Connection, Done, SourcePorts
from testbed.load.precise import precise_loop
from testbed.load.records import FRESH, KEEP, Outcome, Record

_FLUSH_S = 0.05
_TICK_S = 1.0
_SPARE_DESCRIPTORS = 64


@dataclass(frozen=True)
class Plan:
    """What a pulse does. Rates in requests per second, 0 for no such stream; ``patience_s``: how long an answer is
    waited for; ``duration_s`` 0: until told to stop. ``statuses`` empty: any 2xx or 3xx is right."""

    rate: float
    keep_rate: float = 0.0
    duration_s: float = 0.0
    patience_s: float = 10.0
    max_in_flight: int = 2000
    statuses: frozenset[int] = frozenset()

    def right(self, status: int) -> bool:
        return status in self.statuses if self.statuses else 200 <= status < 400


class Flight(Protocol):
    """A request on its way."""

    def abandon(self) -> None: ...


class Sender(Protocol):
    """How requests leave: sockets here, the simulated network in virtual time."""

    def send(self, stream: str, done: Done) -> Flight:
        """Starts one request; ``done`` is called once, later. Raises: OSError when nothing can be sent."""
        ...


class Pulse:
    """Sends on schedule and hands each request's record to ``sink`` as it ends."""

    def __init__(self, plan: Plan, sender: Sender, sink: Callable[[Record], None]) -> None:
        self._plan, self._sender, self._sink = plan, sender, sink
        self._loop = asyncio.get_running_loop()
        self._flights: dict[tuple[str, int], tuple[Flight, int, int, asyncio.TimerHandle]] = {}
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
        for stream, rate, phase in ((FRESH, self._plan.rate, 0.0), (KEEP, self._plan.keep_rate, 0.5)):
            if rate > 0:
                self._arm(stream, rate, phase, 0)
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
        for (stream, index), (flight, due_ns, sent_ns, timer) in list(self._flights.items()):
            timer.cancel()
            flight.abandon()
            self._sink(Record(index, stream, due_ns, sent_ns, 0, Outcome.UNANSWERED))
        self._flights.clear()

    # --- the schedule

    def _due_ns(self, rate: float, phase: float, index: int) -> int:
        return self.t0_ns + int((index + phase) * 1e9 / rate)

    def _arm(self, stream: str, rate: float, phase: float, index: int) -> None:
        due_s = self._due_ns(rate, phase, index) / 1e9
        self._timers[stream] = self._loop.call_at(due_s, self._fire, stream, rate, phase, index)

    def _fire(self, stream: str, rate: float, phase: float, index: int) -> None:
        """Sends all that is due by now (more than one after a late wake-up), then sleeps until the next."""
        if self._stop.is_set():
            return
        end_ns = self.t0_ns + int(self._plan.duration_s * 1e9) if self._plan.duration_s else 0
        while (due_ns := self._due_ns(rate, phase, index)) <= self._now_ns():
            if end_ns and due_ns >= end_ns:
                return
            self._launch(stream, index, due_ns)
            index += 1
        self._arm(stream, rate, phase, index)

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
            flight = self._sender.send(stream, done)
        except OSError:
            self._sink(Record(index, stream, due_ns, 0, 0, Outcome.UNSENT))
            return
        timer = self._loop.call_at(due_ns / 1e9 + self._plan.patience_s, self._give_up, key)
        self._flights[key] = (flight, due_ns, sent_ns, timer)

    def _land(self, key: tuple[str, int], outcome: Outcome, status: int, backend: str) -> None:
        found = self._flights.pop(key, None)
        if found is None:
            return
        _, due_ns, sent_ns, timer = found
        timer.cancel()
        self._note_landed()
        if outcome is Outcome.OK and not self._plan.right(status):
            outcome = Outcome.STATUS
        self._sink(Record(key[1], key[0], due_ns, sent_ns, self._now_ns(), outcome, status, backend))

    def _note_landed(self) -> None:
        if self._over and not self._flights:
            self._landed.set()

    def _give_up(self, key: tuple[str, int]) -> None:
        found = self._flights.pop(key, None)
        if found is None:
            return
        flight, due_ns, sent_ns, _ = found
        self._note_landed()
        flight.abandon()
        self._sink(Record(key[1], key[0], due_ns, sent_ns, self._now_ns(), Outcome.TIMEOUT))


class HttpSender:
    """Sends over real sockets: the ``fresh`` stream on a new connection each, ``keep`` on connections that are kept."""

    def __init__(self, url: str, *, timeout_s: float = 5.0, host: str = "") -> None:
        """``host``: the header, where it is not the address.

        Raises: UsageError, EnvironmentProblem (a name that cannot be resolved).
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url!r} is not an http:// address", hint="for example http://10.1.128.5:80/")
        port = parts.port or 80
        try:
            family, _, _, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise EnvironmentProblem(f"{parts.hostname} cannot be resolved: {error}") from error
        self._loop = asyncio.get_running_loop()
        self._family, self._address = family, (str(address[0]), int(address[1]))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = host or parts.netloc.rpartition("@")[2]
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: testbed-pulse\r\nAccept: */*\r\n"
        if any(character in path + host for character in "\r\n \0"):
            raise UsageError(f"{url!r} has characters that an address cannot have")
        self._fresh = f"{head}Connection: close\r\n\r\n".encode()
        self._keep = f"{head}\r\n".encode()
        self._idle: list[Connection] = []
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        # Pulses that follow each other begin at different places: the clock is as good as a draw.
        self._ports = SourcePorts(first, last, time.monotonic_ns() // 1_000_000)

    def send(self, stream: str, done: Done) -> Flight:
        if stream == FRESH:
            connection = Connection(self._loop, self._family, self._address, self._ports)

            def ended(outcome: Outcome, status: int, backend: str) -> None:
                connection.linger()
                done(outcome, status, backend)

            connection.send(self._fresh, ended)
            return connection
        connection = self._idle.pop() if self._idle else self._kept()
        connection.send(self._keep, self._returning(connection, done))
        return connection

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
                connection.linger()
            done(outcome, status, backend)

        return ended


class FileSink:
    """Writes records to a file, in whole lines, every 50 ms, and notes once a second."""

    def __init__(self, stream: IO[bytes], start: dict[str, Any]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self.note({"kind": "start", **start})
        self.flush()

    def note(self, value: dict[str, Any]) -> None:
        self._lines.append("#" + json.dumps(value) + "\n")

    def record(self, record: Record) -> None:
        self._lines.append(record.line())

    def flush(self) -> None:
        if self._lines:
            self._stream.write("".join(self._lines).encode())
            self._lines.clear()

    async def keep_flushing(self, pulse: Pulse) -> None:
        loop = asyncio.get_running_loop()
        next_tick = 0.0
        while True:
            if loop.time() >= next_tick:
                next_tick = loop.time() + _TICK_S
                self.note({"kind": "tick", **self.usage(pulse)})
            self.flush()
            await asyncio.sleep(_FLUSH_S)

    def usage(self, pulse: Pulse) -> dict[str, Any]:
        return {"at_ns": time.monotonic_ns(), "cpu_s": time.process_time(), "in_flight": pulse.in_flight}


# --- the process


def _raise_limits(wanted: int) -> int:
    """Opens as many descriptors as may be; returns how many requests may be in flight."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = hard if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < min(top, wanted + _SPARE_DESCRIPTORS):
        soft = min(top, wanted + _SPARE_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _SPARE_DESCRIPTORS))


def _be_punctual() -> int:
    """Asks the scheduler for precedence, where the user may; returns the nice value that holds.

    A real-time turn is what helps: with autogroups a nice value only counts among processes of one session, and a
    pulse has a session of its own (man 7 sched). The kernel leaves others a twentieth of each second all the same.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return os.getpriority(os.PRIO_PROCESS, 0)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testbed.load.pulse", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", required=True, help="http://address:port/path")
    parser.add_argument("--host", default="", help="the Host header, where it is not the address")
    parser.add_argument("--out", required=True, type=Path, help="file for the records; it must not exist")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second, a new connection each")
    parser.add_argument("--keep-rate", type=float, default=0.0, help="requests per second on kept connections")
    parser.add_argument("--for", dest="duration_s", type=float, default=0.0, help="seconds; 0: until told to stop")
    parser.add_argument("--patience", dest="patience_s", type=float, default=10.0, help="seconds to wait for an answer")
    parser.add_argument("--max-in-flight", type=int, default=2000)
    parser.add_argument("--status", type=int, action="append", default=[], help="right status; default any 2xx or 3xx")
    parser.add_argument("--drain", dest="drain_s", type=float, default=1.0, help="seconds to wait at the end")
    parser.add_argument("--until-eof", action="store_true", help="stop when stdin closes")
    return parser.parse_args(argv)


def plan_of(options: argparse.Namespace) -> Plan:
    """Raises: UsageError."""
    if not (0 <= options.rate <= 20_000 and 0 <= options.keep_rate <= 20_000 and options.rate + options.keep_rate > 0):
        raise UsageError("a rate is a number of requests per second, more than 0 and at most 20000")
    if options.duration_s < 0 or not 0 < options.patience_s <= 600 or options.max_in_flight < 1 or options.drain_s < 0:
        raise UsageError("times are seconds, not negative; patience is at most 600; in flight at least 1")
    return Plan(rate=options.rate, keep_rate=options.keep_rate, duration_s=options.duration_s,
                patience_s=options.patience_s, max_in_flight=_raise_limits(options.max_in_flight),
                statuses=frozenset(options.status))


async def _run(options: argparse.Namespace, plan: Plan, stream: IO[bytes]) -> None:
    loop = asyncio.get_running_loop()
    sender = HttpSender(options.url, host=options.host)
    nice = _be_punctual()
    t0_ns = int((loop.time() + 0.05) * 1e9)
    sink = FileSink(stream, {"url": options.url, "rate": plan.rate, "keep_rate": plan.keep_rate, "t0_ns": t0_ns,
                             "patience_s": plan.patience_s, "max_in_flight": plan.max_in_flight, "pid": os.getpid(),
                             "nice": nice, "wall_time": time.time()})
    pulse = Pulse(plan, sender, sink.record)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pulse.stop)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else pulse.stop())
    flusher = asyncio.create_task(sink.keep_flushing(pulse))
    try:
        await pulse.run(t0_ns, drain_s=options.drain_s)
    finally:
        flusher.cancel()
        sink.note({"kind": "end", **sink.usage(pulse)})
        sink.flush()


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[1:] if argv is None else argv)
    try:
        plan = plan_of(options)
        descriptor = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as stream, asyncio.Runner(loop_factory=precise_loop) as runner:
            runner.run(_run(options, plan, stream))
    except OSError as error:
        sys.stderr.write(f"pulse: {options.out}: {error.strerror}\n")
        return EnvironmentProblem.exit_code
    except TestbedError as error:
        sys.stderr.write(f"pulse: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
