"""The pulse: an open-loop prober, as a process of its own: ``python -m testbed.load.pulse``, standard library only.

When requests leave is `open_loop.py`'s, what they are `ask.py`'s. The pulse only records; what the records mean is
`outage.py`. It ends after ``--for`` seconds, on SIGTERM or SIGINT, or with ``--until-eof`` when its stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from testbed.errors import EnvironmentProblem, TestbedError, UsageError
from testbed.load.ask import METHODS, Ask, parse_header
from testbed.load.open_loop import Plan, Pulse
from testbed.load.precedence import ask_for_precedence
from testbed.load.precise import precise_loop
from testbed.load.profile import MOST, parse_stage, say_stages
from testbed.load.senders import SocketSender
from testbed.load.sink import FileSink

_SPARE_DESCRIPTORS = 64


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
    nice = ask_for_precedence()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return nice


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testbed.load.pulse", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", required=True, help="http://address:port/path or tcp://address:port")
    parser.add_argument("--host", default="", help="the Host header, where it is not the address")
    parser.add_argument("--method", choices=METHODS, default="GET")
    parser.add_argument("--header", action="append", default=[], help="'Name: value'; may be given again")
    parser.add_argument("--body", default="", help="{index} stands for the arrival's number, also in the path")
    parser.add_argument("--send", default="", help="tcp: what is sent when there is a connection")
    parser.add_argument("--expect", default="", help="tcp: what the answer must contain")
    parser.add_argument("--out", required=True, type=Path, help="file for the records; it must not exist")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second, a new connection each")
    parser.add_argument("--stage", action="append", default=[], metavar="DURATION:RATE",
                        help="how the rate changes, e.g. 30s:500; may be given again; the last rate is held")
    parser.add_argument("--hold", action="store_true", help="stages begin with a line 'begin [monotonic ns]' on stdin")
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
    try:
        stages = tuple(parse_stage(text) for text in options.stage)
    except ValueError as error:
        raise UsageError(f"--stage: {error}") from error
    some = options.rate + options.keep_rate + sum(stage.target for stage in stages)
    if not (0 <= options.rate <= MOST and 0 <= options.keep_rate <= MOST and some > 0):
        raise UsageError(f"a rate is a number of requests per second, more than 0 and at most {MOST:g}")
    if options.hold and not options.until_eof:
        raise UsageError("--hold is told on stdin when to begin", hint="give --until-eof too")
    if options.duration_s < 0 or not 0 < options.patience_s <= 600 or options.max_in_flight < 1 or options.drain_s < 0:
        raise UsageError("times are seconds, not negative; patience is at most 600; in flight at least 1")
    return Plan(rate=options.rate, keep_rate=options.keep_rate, stages=stages, held=options.hold,
                duration_s=options.duration_s, patience_s=options.patience_s,
                max_in_flight=_raise_limits(options.max_in_flight), statuses=frozenset(options.status))


def ask_of(options: argparse.Namespace) -> Ask:
    """Raises: UsageError."""
    return Ask(options.url, host=options.host, method=options.method, body=options.body, send=options.send,
               expect=options.expect, headers=tuple(parse_header(text) for text in options.header))


def _listen(pulse: Pulse, sink: FileSink) -> None:
    """What stdin says: ``begin`` lets held stages begin; its end is the pulse's."""
    block = os.read(sys.stdin.fileno(), 4096)
    if not block:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        pulse.stop()
    for line in block.decode("ascii", "replace").splitlines():
        word, _, at = line.partition(" ")
        if word == "begin":
            sink.note({"kind": "stages", "at_ns": pulse.begin_stages(int(at) if at.isdigit() else 0)})


async def _run(options: argparse.Namespace, plan: Plan, stream: IO[bytes]) -> None:
    loop = asyncio.get_running_loop()
    sender = SocketSender(ask_of(options))
    nice = _be_punctual()
    t0_ns = int((loop.time() + 0.05) * 1e9)
    sink = FileSink(stream, {"url": options.url, "rate": plan.rate, "keep_rate": plan.keep_rate, "t0_ns": t0_ns,
                             "stages": say_stages(plan.stages), "patience_s": plan.patience_s,
                             "max_in_flight": plan.max_in_flight, "pid": os.getpid(), "nice": nice,
                             "wall_time": time.time()})
    pulse = Pulse(plan, sender, sink.record)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pulse.stop)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), _listen, pulse, sink)
    flusher = asyncio.create_task(sink.keep_flushing(pulse))
    try:
        await pulse.run(t0_ns, drain_s=options.drain_s)
    finally:
        flusher.cancel()
        (problem,) = await asyncio.gather(flusher, return_exceptions=True)
        sink.note({"kind": "end", **sink.usage(pulse)})
        sink.flush()
    if isinstance(problem, OSError):  # it ended before its time, whether or not there was room again for its last words
        raise problem


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
