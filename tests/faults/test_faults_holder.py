"""Holders as real processes: at the deadline they undo although nobody else is there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.holders import ProcessHolders, alive, start_ticks


def until(check: Callable[[], Any], deadline_s: float = 10.0) -> Any:
    end = time.monotonic() + deadline_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, "the condition did not come"
        time.sleep(0.01)


def holds(pid: int) -> bool:
    """It has read its file: from then on it ignores SIGINT."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored, 16) >> (signal.SIGINT - 1) & 1)


class Freezer:
    """A freezer cgroup of the test's own with one sleeping process in it."""

    def __init__(self) -> None:
        unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self.name = f"/testbed-{os.getpid():012x}/node"
        self.path = Path("/sys/fs/cgroup" if unified else "/sys/fs/cgroup/freezer") / self.name[1:]
        self.path.mkdir(parents=True)
        self.child = subprocess.Popen(["sleep", "600"])
        (self.path / "cgroup.procs").write_text(str(self.child.pid))
        self._file = self.path / ("cgroup.freeze" if unified else "freezer.state")
        self._words = ("1", "0") if unified else ("FROZEN", "THAWED")

    def freeze(self) -> None:
        self._file.write_text(self._words[0])

    @property
    def frozen(self) -> bool:
        return self._file.read_text().strip() != self._words[1]

    def remove(self) -> None:
        self._file.write_text(self._words[1])
        self.child.kill()
        self.child.wait()
        until(lambda: not (self.path / "cgroup.procs").read_text().strip())
        self.path.rmdir()
        self.path.parent.rmdir()


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    freezer = Freezer()
    freezer.freeze()
    yield freezer
    freezer.remove()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[ProcessHolders]:
    yield ProcessHolders(tmp_path)
    log = tmp_path / "logs" / "holders.log"
    assert not log.exists() or "Traceback" not in log.read_text()


def deadline_ns(after_s: float) -> int:
    return time.monotonic_ns() + int(after_s * 1e9)


def test_a_holder_thaws_at_its_deadline_and_ends(freezer: Freezer, holders: ProcessHolders, tmp_path: Path) -> None:
    holder = holders.start("x", deadline_ns(0.3), [{"do": "thaw", "cgroup": freezer.name}])
    assert freezer.frozen
    assert alive(holder)
    until(lambda: not freezer.frozen)
    until(lambda: not alive(holder))
    assert not list((tmp_path / "holders").iterdir())


def test_a_holder_whose_cluster_is_taken_down_undoes_at_once(
    freezer: Freezer, holders: ProcessHolders, tmp_path: Path,
) -> None:
    holder = holders.start("x", deadline_ns(3600), [{"do": "thaw", "cgroup": freezer.name}])
    until(lambda: holds(holder[0]))
    (tmp_path / "holders" / "x.json").unlink()
    until(lambda: not freezer.frozen)


def test_a_holder_that_is_ended_undoes_nothing(freezer: Freezer, holders: ProcessHolders) -> None:
    holder = holders.start("x", deadline_ns(3600), [{"do": "thaw", "cgroup": freezer.name}])
    holders.end("x", holder)
    until(lambda: not alive(holder))
    assert freezer.frozen


def test_holders_are_private_detached_and_lean(freezer: Freezer, holders: ProcessHolders, tmp_path: Path) -> None:
    holder = holders.start("x", deadline_ns(3600), [{"do": "thaw", "cgroup": freezer.name}])
    file = tmp_path / "holders" / "x.json"
    assert file.stat().st_mode & 0o077 == 0
    assert os.getsid(holder[0]) == holder[0]
    until(lambda: holds(holder[0]))
    status = Path(f"/proc/{holder[0]}/status").read_text()
    assert next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) < 20_000
    holders.end("x", holder)


def test_a_pid_that_another_process_has_now_is_left_alone(holders: ProcessHolders) -> None:
    other = subprocess.Popen(["sleep", "600"])
    holders.end("x", (other.pid, start_ticks(other.pid) + 1))
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_holder_asks_the_room_until_it_answers(holders: ProcessHolders, tmp_path: Path) -> None:
    path = str(tmp_path / "room.sock")
    asked: list[bytes] = []

    def room() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            for answer in (b"503 Busy", b"200 OK"):
                connection, _ = listener.accept()
                request = b""
                while b"}" not in request:
                    request += connection.recv(65536)
                asked.append(request)
                connection.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 2\r\n\r\n{}")
                connection.close()

    holder = holders.start("x", deadline_ns(0.0), [
        {"do": "ask-room", "socket": path, "method": "PUT", "path": "/nodes/n1/power", "body": {"on": True}}])
    until(lambda: "ask-room" in (tmp_path / "logs" / "holders.log").read_text())  # the room is not there yet
    thread = threading.Thread(target=room, daemon=True)
    thread.start()
    until(lambda: not alive(holder))
    assert len(asked) == 2
    head, _, body = asked[-1].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /nodes/n1/power HTTP/1.1")
    assert json.loads(body) == {"on": True}


def test_a_holder_survives_the_death_of_who_started_it(freezer: Freezer, tmp_path: Path) -> None:
    program = (f"import signal, os, pathlib; from faults.holders import ProcessHolders; "
               f"ProcessHolders(pathlib.Path({str(tmp_path)!r})).start('x', {deadline_ns(0.8)}, "
               f"[{{'do': 'thaw', 'cgroup': {freezer.name!r}}}]); os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert freezer.frozen
    until(lambda: not freezer.frozen)
    until(lambda: not list((tmp_path / "holders").iterdir()))
