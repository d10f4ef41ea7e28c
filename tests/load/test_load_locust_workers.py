"""Locust in several processes, and the pulse as a Locust user: every sample reaches the run, and due times hold."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from load_server import GOOD, SERVER

from testbed.errors import EnvironmentProblem
from testbed.experiment.locust_load import locust_result
from testbed.load.locust import LocustProcess, Users, Workers
from testbed.load.locust_samples import LocustData

RATE = 100
STEADY = f"""
from testbed.load.locust_user import PulseUser
class Steady(PulseUser):
    rate = {RATE}
"""


@pytest.fixture
def server() -> Iterator[tuple[int, str]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.pid, f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def locust(tmp_path: Path, text: str, url: str, users: Users) -> LocustProcess:
    file = tmp_path / "locustfile.py"
    file.write_text(text)
    return LocustProcess(file, url, users, samples=tmp_path / "samples.tsv", html=tmp_path / "report.html")


def worker(workers: Workers, folder: Path, extra: dict[str, str]) -> subprocess.Popen[bytes]:
    """One that knows nothing but the command we tell: its locustfile comes from the master."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, *workers.command.split()[1:]], cwd=folder, env=os.environ | extra,
                            stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


async def enough(process: LocustProcess, number: int, deadline_s: float = 60.0) -> None:
    until = time.monotonic() + deadline_s
    while len(process.read().samples) < number:
        assert time.monotonic() < until, f"only {len(process.read().samples)} samples"
        await asyncio.sleep(0.05)


async def test_workers_that_do_not_come_are_told_with_what_starts_one(tmp_path: Path, free_port: int) -> None:
    process = locust(tmp_path, GOOD, "http://127.0.0.1:1", Users(1, 1, workers=Workers(2, port=free_port, within_s=1)))
    with pytest.raises(EnvironmentProblem, match=rf"2 Locust workers(.|\n)*0 came(.|\n)*--master-port {free_port}"):
        await process.start()


async def test_a_worker_from_elsewhere_gets_the_locustfile_and_only_its_counts_are_taken(
    tmp_path: Path, server: tuple[int, str], free_port: int,
) -> None:
    """Another machine is played by a worker that sees another boot."""
    workers = Workers(2, port=free_port, within_s=60)
    process = locust(tmp_path, GOOD + "\nimport os, testbed_listener\n"
                     "testbed_listener.here.boot += os.environ.get('OTHER_BOOT', '')\n", server[1],
                     Users(4, 100, workers=workers))
    started = [worker(workers, tmp_path / "elsewhere", extra) for extra in ({}, {"OTHER_BOOT": "x"})]
    try:
        await process.start()
        await enough(process, 300)
        data = await process.stop()
        assert [one.wait(30) for one in started] == [0, 0]  # they are told to quit
    finally:
        await process.stop()
        for one in started:
            one.kill()
            one.wait()
    assert len(set(data.workers)) == 2 and len(data.remote) == 1
    assert {bool(sample.at_ns) for sample in data.samples} == {True, False}
    result = locust_result(data, 4, 0, 0.0)
    assert (result.workers, result.remote) == (2, 1)
    assert result.requests == len(data.samples) > sum(result.rate) > 0


@pytest.mark.parametrize("processes", [pytest.param(None, marks=pytest.mark.long), 2])
async def test_a_pulse_user_sends_on_schedule_and_measures_a_known_freeze(
    tmp_path: Path, server: tuple[int, str], processes: int | None,
) -> None:
    pid, url = server
    process = locust(tmp_path, STEADY, url, Users(3, 100, processes=processes))
    await process.start()
    await enough(process, 2 * RATE)
    begin_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(1.0)
    os.kill(pid, signal.SIGCONT)
    frozen_s = (time.monotonic_ns() - begin_ns) / 1e9
    await enough(process, len(process.read().samples) + RATE)
    data = await process.stop()
    check_schedule(data)
    assert len(set(data.workers)) == (processes or 0) and not data.remote and data.uncounted == (0, 0)
    assert "<html" in process.html.read_text()[:2000]  # Locust's own report, written after the last samples
    if processes:
        assert {"locust master", "locust worker 1", "locust worker 2"} <= set(data.ticks)
    (entry,) = locust_result(data, 3, 0, begin_ns / 1e9 - 0.1).entries
    assert entry.open_loop and entry.send_lateness_p99_s is not None
    assert all(sample.due_ns <= sample.sent_ns <= sample.at_ns for sample in data.samples if sample.error == "")
    longest = max(outage.seconds for outage in entry.outages)
    assert frozen_s - 0.15 < longest < frozen_s + 1.0  # the length of users' waits, not of one request's


def check_schedule(data: LocustData) -> None:
    """Each arrival once, all at their times: also those that fell due while the server stood still."""
    numbers = sorted(sample.number for sample in data.samples)
    assert len(numbers) == len(set(numbers))
    inner = [sample for sample in data.samples if numbers[0] + RATE // 2 <= sample.number <= numbers[-1] - RATE // 2]
    assert len(inner) == numbers[-1] - numbers[0] - 2 * (RATE // 2) + 1
    inner.sort(key=lambda sample: sample.number)
    for before, after in zip(inner, inner[1:], strict=False):
        assert after.due_ns - before.due_ns == pytest.approx(1e9 / RATE, abs=2)
