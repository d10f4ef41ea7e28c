# mypy: disable-error-code="import-untyped, untyped-decorator, no-untyped-call"
"""Our part inside Locust's own processes, loaded as a locustfile beside the user's: streams every request out,
unrounded.

Never import this elsewhere: it imports locust, which patches the whole process. It stands alone, because Locust sends
it to workers on other machines (``locust -f - --worker``). A process that runs users alone writes its samples to the
file that ``TESTBED_LOCUST_SAMPLES`` names; a worker sends them to the master over Locust's own channel, and the master
writes.

Lines, tab-separated: ``at_ns, response_ms, ok or the error's name, length, method, name, due_ns, number, sent_ns``.
Moments are 0 where the worker's clock is another machine's; the last three where a request had no due time. ``#`` lines
hold JSON: users and CPU once a second, workers as they come.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import IO, Any

import gevent
from locust import events
from locust.runners import STATE_INIT, MasterRunner, WorkerRunner

SAMPLES, STOP, STOPPED = "testbed-samples", "testbed-stop", "testbed-stopped"
_SEND_S = 0.25
_LAST_WORDS_S = 4.0  # more than running tasks get (--stop-timeout)
_PR_SET_PDEATHSIG = 1  # linux: prctl(2); whoever started us may be killed, and the load must end then
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # processes of one boot share CLOCK_MONOTONIC

Row = tuple[int, float, str, int, str, str, int, int, int]


class Here:
    """This process: what it has to tell, and the file it tells it to, if it is the one that writes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.file: IO[str] | None = None
        self.boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
        self.told: set[str] = set()  # workers whose samples have come
        self.uncounted: dict[str, list[int]] = {}  # requests and failures that workers reported to Locust, by worker
        self.stopped: set[str] = set()
        self.ending = False

    def note(self, **value: Any) -> None:
        if self.file is not None:
            self.file.write("#" + json.dumps(value) + "\n")

    def write(self, rows: list[Row], *, same_clock: bool) -> None:
        if self.file is not None:
            for at_ns, *rest, due_ns, number, sent_ns in rows:
                ours = (at_ns, *rest, due_ns, number, sent_ns) if same_clock else (0, *rest, 0, number, 0)
                self.file.write("\t".join(map(str, ours)) + "\n")


here = Here()


def _end_with_whoever_started_us() -> None:
    if "TESTBED_LOCUST_SAMPLES" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _clean(text: object, limit: int) -> str:
    return " ".join(str(text).split())[:limit]


@events.request.add_listener
def _request(
    request_type: str, name: str, response_time: float, response_length: int, exception: object = None,
    context: Any = None, **_: Any,
) -> None:
    outcome = "ok" if exception is None else _clean(type(exception).__name__, 80)
    due_ns, number, sent_ns = (context or {}).get("testbed_due", (0, 0, 0))
    row = (time.monotonic_ns(), round(response_time, 3), outcome, response_length or 0, _clean(request_type, 20),
           _clean(name, 200), due_ns, number, sent_ns)
    if here.file is not None:
        here.write([row], same_clock=True)
    else:
        here.rows.append(row)


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    _end_with_whoever_started_us()  # again: what the parent set is not the child's
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message(STOP, _stop, concurrent=True)
        gevent.spawn(_keep_sending, runner)
        return
    if "TESTBED_LOCUST_SAMPLES" in os.environ:
        here.file = open(os.environ["TESTBED_LOCUST_SAMPLES"], "a", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123
    name = "locust"
    if isinstance(runner, MasterRunner):
        name = "locust master"
        runner.register_message(SAMPLES, _take)
        runner.register_message(STOPPED, lambda msg, **_: here.stopped.add(msg.node_id))
        events.worker_connect.add_listener(lambda client_id, **_: here.note(kind="worker", id=client_id))
        events.worker_report.add_listener(_count)
        events.quit.add_listener(_tell_uncounted)
    gevent.signal_handler(signal.SIGINT, _end, environment)
    gevent.spawn(_keep_telling, environment, name)


def _keep_telling(environment: Any, name: str) -> None:
    runner = environment.runner
    while True:
        here.note(kind="users", at_ns=time.monotonic_ns(), users=runner.user_count)
        if isinstance(runner, MasterRunner) and runner.state != STATE_INIT and not here.ending:
            here.note(kind="workers", alive=runner.worker_count)
        here.note(kind="cpu", process=name, at_ns=time.monotonic_ns(), cpu_s=time.process_time())
        gevent.sleep(1)


def _end(environment: Any) -> None:
    """What ``--run-time`` does at its end, so that Locust's report is written last. Python's own KeyboardInterrupt hits
    whichever greenlet runs, and some of Locust's swallow it."""
    runner, here.ending = environment.runner, True
    begun = runner.state != STATE_INIT
    if isinstance(runner, MasterRunner) and begun:
        _let_workers_finish(runner)
    runner.quit()
    if not begun:  # it waits for workers, and does not look up from that
        os._exit(128 + signal.SIGINT)


# --- a worker


def _send(runner: Any) -> None:
    rows, here.rows = here.rows, []
    runner.send_message(SAMPLES, {"boot": here.boot, "rows": rows, "index": runner.worker_index,
                                  "at_ns": time.monotonic_ns(), "cpu_s": time.process_time()})


def _keep_sending(runner: Any) -> None:
    quiet_s = 1.0  # then it sends even if it has no samples: its use of CPU is told once a second
    while True:
        gevent.sleep(_SEND_S)
        quiet_s += _SEND_S
        if here.rows or quiet_s >= 1.0:
            quiet_s = 0.0
            _send(runner)


def _stop(environment: Any, **_: Any) -> None:
    """Ends this worker's users and tells what they did last: Locust's own end leaves half a second for that."""
    environment.runner.stop()
    _send(environment.runner)
    environment.runner.send_message(STOPPED)


# --- the master


def _take(msg: Any, **_: Any) -> None:
    data, worker = msg.data, f"locust worker {msg.data['index'] + 1}"
    same_clock = data["boot"] == here.boot != ""
    if msg.node_id not in here.told:
        here.told.add(msg.node_id)
        here.note(kind="sampling", id=msg.node_id, remote=not same_clock)
    here.write(data["rows"], same_clock=same_clock)
    here.note(kind="cpu", process=worker, at_ns=data["at_ns"], cpu_s=data["cpu_s"])


def _count(client_id: str, data: Any, **_: Any) -> None:
    total = data.get("stats_total") or {}
    counted = here.uncounted.setdefault(client_id, [0, 0])
    counted[0] += total.get("num_requests", 0)
    counted[1] += total.get("num_failures", 0)


def _let_workers_finish(runner: Any) -> None:
    """Before Locust tells them to quit: what they measured last is still theirs alone."""
    wanted = {client.id for client in runner.clients.all} & here.told
    for client in wanted:
        runner.send_message(STOP, client_id=client)
    until = time.monotonic() + _LAST_WORDS_S
    while not wanted <= here.stopped and time.monotonic() < until:
        gevent.sleep(0.05)


def _tell_uncounted(**_: Any) -> None:
    missing = [counts for client, counts in here.uncounted.items() if client not in here.told]
    here.note(kind="uncounted", requests=sum(counts[0] for counts in missing),
              failures=sum(counts[1] for counts in missing))


_end_with_whoever_started_us()
