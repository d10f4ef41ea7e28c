"""The truth of the meter: known outages, what the pulse reports of them, and what Locust's users notice.

A server process on this machine goes out as it is told and stamps the moments itself. Of a freeze the beginning is that
of the signal, and the end the server's first answer after it: it meets those connections first that were given up
meanwhile, and serves nobody until then. The pulse asks at 200/s; beside it ten Locust users, who wait for their
answers, make about as many requests. No cluster is needed.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster import until
from benchmarks.rows import Row
from testbed.experiment.clients import Clients
from testbed.experiment.result import ClientView, Outage, Requests
from testbed.load.locust import LocustProcess, Users
from testbed.load.locust_samples import Sample
from testbed.load.outage import percentile
from testbed.load.records import read

RATE = 200
LENGTHS_S = (0.1, 0.5, 1.0, 5.0, 20.0)
CALM_S, AFTER_S = 2.5, 4.0
SLOW_S, SHARE = 0.3, 0.05
ACTS = {"refused": ("refuse", "listen"), "slow": (f"slow {SLOW_S}", "well"), "loss": (f"lose {SHARE}", "well")}
LOCUSTFILE = """
from locust import FastHttpUser, constant, task

class Visitor(FastHttpUser):
    wait_time = constant(0.045)

    @task
    def page(self):
        self.client.get("/")
"""


@dataclass(frozen=True)
class Known:
    """One outage that was made. ``dropped``: requests of the pulse that were lost on purpose."""

    kind: str
    begin_ns: int
    end_ns: int
    dropped: int
    more: str = ""

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True)
class Told:
    """What was measured of it."""

    known: Known
    windows: tuple[Outage, ...]
    view: ClientView
    requests: Requests

    @property
    def length_s(self) -> float:
        return sum(window.seconds for window in self.windows)

    @property
    def uncertainty_s(self) -> float:
        return sum(window.length_uncertainty_s for window in self.windows)


class Server:
    """The process, and what it is told."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.truth_server"], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _tell(self, line: str) -> tuple[int, int, int, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        before_ns, after_ns, dropped, woke_ns = map(int, self._line().split())
        return before_ns, after_ns, dropped, woke_ns

    def _signal(self, number: signal.Signals) -> tuple[int, int]:
        before_ns = time.monotonic_ns()
        self._process.send_signal(number)
        return before_ns, time.monotonic_ns()

    async def go_out(self, kind: str, length_s: float) -> Known:
        """An outage of this length, from its beginning to its end."""
        if kind == "frozen":
            stopped = self._signal(signal.SIGSTOP)
            await asyncio.sleep(length_s)
            continued = self._signal(signal.SIGCONT)
            await asyncio.sleep(AFTER_S / 2)
            woke_ns = self._tell("well")[3]
            thawed_s = (continued[0] - stopped[1]) / 1e9
            return Known(kind, sum(stopped) // 2, woke_ns, 0, f"thawed after {thawed_s:.3f} s, ")
        begin, end = ACTS[kind]
        first = self._tell(begin)
        await asyncio.sleep(length_s)
        last = self._tell(end)
        return Known(kind, sum(first[:2]) // 2, sum(last[:2]) // 2, last[2] - first[2])

    def end(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()


def measure_alone() -> Iterator[Row]:
    """Rows as they are measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server()
        try:
            yield from asyncio.run(_measure(server, folder))
        finally:
            server.end()


async def _measure(server: Server, folder: Path) -> list[Row]:
    file = folder / "locustfile.py"
    file.write_text(LOCUSTFILE)
    url = f"http://127.0.0.1:{server.port}"
    locust = LocustProcess(file, url, Users(10, 10), samples=folder / "samples", html=folder / "locust.html")
    await locust.start()
    told = []
    try:
        for kind in ("frozen", "refused", "slow", "loss"):
            for length_s in LENGTHS_S:
                told.append(await _one(server, kind, length_s, url, folder / f"{kind}-{length_s}"))
    finally:
        samples = (await locust.stop()).samples
    return [_row(item, samples) for item in told]


async def _one(server: Server, kind: str, length_s: float, url: str, file: Path) -> Told:
    with _pulse(url, file):
        await asyncio.sleep(CALM_S)
        known = await server.go_out(kind, length_s)
        await asyncio.sleep(AFTER_S)
    data = read(file)
    start_ns = int(data.start["t0_ns"])
    begin_s, end_s = ((moment - start_ns) / 1e9 for moment in (known.begin_ns, known.end_ns))
    clients = Clients(data.stream(), start_ns=start_ns, rate=RATE, deadline_s=1.0, healthy_until_s=begin_s - 0.02)
    view = clients.view(begin_s, end_s + 1.0, settled_s=end_s)
    windows = tuple(window for window in clients.outages() if window.start_s < end_s and window.end_s > begin_s)
    return Told(known, windows, view, clients.requests(begin_s, end_s + 0.02))


@contextmanager
def _pulse(url: str, file: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "testbed.load.pulse", "--url", url + "/", "--rate", str(RATE),
                                "--out", str(file)], stdin=subprocess.DEVNULL)
    try:
        until(lambda: file.exists() and file.stat().st_size > 2000, "the first requests", every_s=0.02)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _row(told: Told, samples: list[Sample]) -> Row:
    known, view = told.known, told.view
    if known.kind == "loss":
        return Row(f"{SHARE:.0%} of requests lost for {known.length_s:.1f} s: miscounted",
                   abs(told.requests.failed - known.dropped), 0, "",
                   f"{known.dropped} lost, {told.requests.failed} failed, {view.lost_s:.3f} lost seconds in "
                   f"{view.outage_count} windows of at most {view.outage_longest_s * 1000:.0f} ms; "
                   f"{_locust(known, samples)}")
    error_s = told.length_s - known.length_s
    return Row(f"{known.kind} {known.length_s:.3f} s: error", abs(error_s) * 1000, max(10.0, 10 * known.length_s), "ms",
               f"{known.more}reported {told.length_s:.4f} ±{told.uncertainty_s:.4f} s, ratio "
               f"{told.length_s / known.length_s:.4f}, lost {view.lost_s:.3f} s; {_locust(known, samples)}")


def _locust(known: Known, samples: list[Sample]) -> str:
    """What its users noticed, from a second before the outage to a second after it."""
    begin_ns, end_ns = known.begin_ns - 10**9, known.end_ns + 10**9
    seen = [sample for sample in samples if begin_ns <= sample.at_ns < end_ns]
    during = [sample for sample in seen if known.begin_ns <= sample.at_ns - sample.latency_s * 1e9 < known.end_ns]
    times = sorted(sample.latency_s for sample in seen)
    return (f"Locust: {len(during)} requests begun in it, {sum(bool(sample.error) for sample in seen)} failed, p95 "
            f"{percentile(times, 0.95) * 1000:.0f} ms, p99 {percentile(times, 0.99) * 1000:.0f} ms")
