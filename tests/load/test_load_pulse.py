"""The pulse against a local server that is frozen for known times, refuses, or closes connections."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from load_server import SERVER

from testbed.load.outage import normal_band, outages, quality
from testbed.load.records import KEEP, Follower, Outcome, read
from testbed.load.sink import FileSink


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    yield process, f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def pulse(url: str, out: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "testbed.load.pulse", "--url", url, "--out", str(out), *more]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_records(follower: Follower, number: int, deadline_s: float = 30.0) -> None:
    until = time.monotonic() + deadline_s
    while len(follower.data.records) < number:
        assert time.monotonic() < until, f"only {len(follower.data.records)} records"
        follower.poll()
        time.sleep(0.01)


@pytest.mark.parametrize("frozen_s", [0.5, 1.0])
def test_outage_of_a_known_freeze(server: tuple[subprocess.Popen[str], str], tmp_path: Path, frozen_s: float) -> None:
    process, url = server
    prober = pulse(url + "/", tmp_path / "pulse", "--rate", "200", "--until-eof")
    follower = Follower(tmp_path / "pulse")
    wait_for_records(follower, 200)
    begin_ns = time.monotonic_ns()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(frozen_s)
    os.kill(process.pid, signal.SIGCONT)
    end_ns = time.monotonic_ns()
    wait_for_records(follower, len(follower.data.records) + int(200 * (frozen_s + 0.7)))
    assert prober.stdin is not None
    prober.stdin.close()
    assert prober.wait(10) == 0

    data = read(tmp_path / "pulse")
    assert data.end is not None
    records = data.stream()
    band = normal_band(records, begin_ns)
    windows = outages(records, band, period_s=1 / 200, until_ns=int(data.end["at_ns"]))
    longest = max(windows, key=lambda window: window.length_s(0))
    known_s = (end_ns - begin_ns) / 1e9
    assert longest.over
    # Never shorter than it was; how much a busy machine adds is no test's affair: `make bench` judges the error.
    assert longest.length_s(0) > known_s - 0.1
    assert longest.begin_ns < begin_ns + 60e6
    assert {record.backend for record in records if record.ok} == {"web-1"}


def test_every_arrival_is_recorded_once_and_on_schedule(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path,
) -> None:
    _, url = server
    assert pulse(url + "/", tmp_path / "pulse", "--rate", "100", "--keep-rate", "50", "--for", "1").wait(30) == 0
    data = read(tmp_path / "pulse")
    fresh, keep = data.stream(), data.stream(KEEP)
    assert [record.index for record in fresh] == list(range(100))
    assert [record.index for record in keep] == list(range(50))
    assert [record.due_ns - data.start["t0_ns"] for record in fresh] == [index * 10_000_000 for index in range(100)]
    assert all(record.ok and record.sent_ns >= record.due_ns for record in data.records)
    assert quality(data.records).missing == 0


def test_a_pulse_whose_file_takes_no_more_ends_and_what_it_wrote_can_be_read(tmp_path: Path, free_port: int) -> None:
    """A limit of the file's size is met as a full disk is: by a write that takes a part, then by none."""
    prober = pulse(f"http://127.0.0.1:{free_port}/", tmp_path / "pulse", "--rate", "500", "--for", "60")
    resource.prlimit(prober.pid, resource.RLIMIT_FSIZE, (10_000, 10_000))
    _, told = prober.communicate(timeout=30)
    assert prober.returncode == 4 and "File too large" in told
    data = read(tmp_path / "pulse")
    assert (tmp_path / "pulse").stat().st_size == 10_000 and len(data.records) > 50 and data.end is None


def test_what_a_file_did_not_take_is_written_next_time_without_a_gap() -> None:
    taken: list[bytes] = []
    room = [100_000]

    class Narrow(io.RawIOBase):
        def write(self, block: Any) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            now = bytes(block[:room[0]])
            room[0] -= len(now)
            taken.append(now)
            return len(now)

    sink = FileSink(cast("IO[bytes]", Narrow()), {"rate": 1.0})
    before = b"".join(taken)
    room[0] = 3
    sink.note({"kind": "tick"})
    with pytest.raises(OSError, match="No space"):
        sink.flush()
    room[0] = 100_000
    sink.note({"kind": "end"})
    sink.flush()
    assert b"".join(taken) == before + b'#{"kind": "tick"}\n#{"kind": "end"}\n'


def test_refused_connections_fail_at_once(tmp_path: Path, free_port: int) -> None:
    assert pulse(f"http://127.0.0.1:{free_port}/", tmp_path / "pulse", "--rate", "50", "--for", "0.5").wait(30) == 0
    assert {record.outcome for record in read(tmp_path / "pulse").records} == {Outcome.REFUSED}


@pytest.mark.parametrize(("path", "outcome"), [("/sick", Outcome.STATUS), ("/cut", Outcome.CLOSED)])
def test_wrong_answers_are_failures(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path, path: str, outcome: Outcome,
) -> None:
    _, url = server
    assert pulse(url + path, tmp_path / "pulse", "--rate", "50", "--for", "0.3").wait(30) == 0
    assert {record.outcome for record in read(tmp_path / "pulse").records} == {outcome}


def test_what_cannot_be_sent_and_what_is_not_answered_has_failed(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path,
) -> None:
    process, url = server
    os.kill(process.pid, signal.SIGSTOP)
    argv = ("--rate", "100", "--for", "0.5", "--max-in-flight", "10", "--patience", "0.3", "--drain", "0.05")
    assert pulse(url + "/", tmp_path / "pulse", *argv).wait(30) == 0
    outcomes = [record.outcome for record in read(tmp_path / "pulse").records]
    assert len(outcomes) == 50
    assert {Outcome.TIMEOUT, Outcome.UNSENT, Outcome.UNANSWERED} == set(outcomes)


def test_sigterm_ends_it_with_everything_written(server: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    _, url = server
    prober = pulse(url + "/", tmp_path / "pulse", "--rate", "100")
    wait_for_records(Follower(tmp_path / "pulse"), 20)
    prober.terminate()
    assert prober.wait(10) == 0
    data = read(tmp_path / "pulse")
    assert data.end is not None
    assert quality(data.records).missing == 0


@pytest.mark.parametrize(("argv", "code", "says"), [
    (("--url", "ftp://x/", "--rate", "1"), 2, "http://"),
    (("--url", "http://127.0.0.1:1/", "--rate", "0"), 2, "rate"),
    (("--url", "http://127.0.0.1:1/", "--rate", "nan"), 2, "rate"),
    (("--url", "http://name.invalid/", "--rate", "1"), 4, "resolved"),
])
def test_wrong_arguments_are_told_in_one_line(tmp_path: Path, argv: tuple[str, ...], code: int, says: str) -> None:
    run = subprocess.run([sys.executable, "-m", "testbed.load.pulse", "--out", str(tmp_path / "p"), *argv],
                         capture_output=True, text=True, timeout=30)
    assert run.returncode == code
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_the_pulse_stays_lean(server: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    _, url = server
    prober = pulse(url + "/", tmp_path / "pulse", "--rate", "100")
    wait_for_records(Follower(tmp_path / "pulse"), 50)
    status = Path(f"/proc/{prober.pid}/status").read_text()
    prober.terminate()
    prober.wait(10)
    resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident_kb < 40_000


def may_be_real_time() -> bool:
    act = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", act], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_be_real_time(), reason="this user may not ask for a real-time turn")
def test_the_pulse_takes_a_real_time_turn(server: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    """A nice value alone counts for nothing between sessions: on a busy machine requests left 100 ms late."""
    _, url = server
    prober = pulse(url + "/", tmp_path / "pulse", "--rate", "50", "--until-eof")
    follower = Follower(tmp_path / "pulse")
    wait_for_records(follower, 5)
    assert os.sched_getscheduler(prober.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
    prober.communicate(timeout=20)
