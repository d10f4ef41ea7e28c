"""Processes that are kept: restarted when they die, adopted after their keeper died, never mistaken for others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.process_identity import same_process, start_ticks
from testbed.machines.processes import (
    MAX_PAUSE_S,
    Processes,
    Program,
    kill_exactly,
    pause_before_restart_s,
    read_record,
)

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
IGNORES_TERM = (sys.executable, "-S", "-c",
                "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(600)")


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def keeper(directory: Path, joined: list[tuple[str, int]] | None = None) -> Processes:
    async def join(cgroup: str, pid: int) -> None:
        if joined is not None:
            joined.append((cgroup, pid))

    return Processes(directory / "processes.json", lambda name: directory / "logs" / f"{name}.log", join,
                     dict(os.environ))


def pid_of(processes: Processes) -> int:
    return next((state.pid for state in processes.states() if state.running), 0)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    found = keeper(tmp_path)
    yield found
    for state in found.states():
        await found.stop(state.name, number=signal.SIGKILL)


async def test_one_that_dies_is_started_again_at_once(processes: Processes) -> None:
    processes.keep(Program("a", SLEEP))
    await until(lambda: bool(pid_of(processes)))
    first = pid_of(processes)
    os.kill(first, signal.SIGKILL)
    await until(lambda: pid_of(processes) not in (0, first))
    assert processes.states()[0].restarts == 1


async def test_keeping_twice_starts_one(processes: Processes) -> None:
    processes.keep(Program("a", SLEEP))
    processes.keep(Program("a", SLEEP))
    await until(lambda: bool(pid_of(processes)))
    assert len(processes.states()) == 1


async def test_process_is_detached_and_logs_to_its_file(tmp_path: Path, processes: Processes) -> None:
    processes.keep(Program("a", IGNORES_TERM))
    log = tmp_path / "logs" / "a.log"
    await until(lambda: log.exists() and log.read_text() == "on\n")
    assert os.getsid(pid_of(processes)) == pid_of(processes)
    assert os.readlink(f"/proc/{pid_of(processes)}/fd/0") == "/dev/null"  # noqa: PTH115


async def test_successor_adopts_what_runs(tmp_path: Path, processes: Processes) -> None:
    processes.keep(Program("a", SLEEP))
    await until(lambda: bool(pid_of(processes)))
    pid = pid_of(processes)
    await processes.close()
    successor = keeper(tmp_path)
    successor.keep(Program("a", SLEEP))
    await until(lambda: pid_of(successor) == pid)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(successor) not in (0, pid))
    await successor.stop("a", number=signal.SIGKILL)


async def test_reused_pid_is_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text(f'{{"a": [{os.getpid()}, 1, 0]}}')
    processes = keeper(tmp_path)
    processes.keep(Program("a", SLEEP))
    await until(lambda: pid_of(processes) not in (0, os.getpid()))
    await processes.stop("a", number=signal.SIGKILL)


async def test_broken_record_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('{"a": [1')
    assert read_record(tmp_path / "processes.json") == {}


async def test_stop_kills_what_does_not_listen_and_forgets_it(tmp_path: Path) -> None:
    processes = keeper(tmp_path)
    processes.keep(Program("a", IGNORES_TERM))
    log = tmp_path / "logs" / "a.log"
    await until(lambda: log.exists() and log.read_text() == "on\n")
    pid = pid_of(processes)
    await processes.stop("a", grace_s=0.05)
    assert start_ticks(pid) is None
    assert read_record(tmp_path / "processes.json") == {}
    await processes.stop("a")


async def test_cgroup_is_joined_after_each_start(tmp_path: Path) -> None:
    joined: list[tuple[str, int]] = []
    processes = keeper(tmp_path, joined)
    processes.keep(Program("a", SLEEP, "/x/agent"))
    await until(lambda: bool(joined))
    assert joined == [("/x/agent", pid_of(processes))]
    await processes.stop("a", number=signal.SIGKILL)


async def test_what_cannot_be_started_is_tried_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    processes = Processes(tmp_path / "p.json", lambda name: tmp_path / "x.log", _no_join, {})
    processes.keep(Program("a", ("/no/such/program",)))
    await until(lambda: len(caplog.messages) >= 3)
    assert "cannot be started" in caplog.messages[0]
    await processes.close()


async def _no_join(cgroup: str, pid: int) -> None:
    return


def test_kill_exactly_spares_another_process_of_the_same_number() -> None:
    kill_exactly(os.getpid(), 1, signal.SIGKILL)
    assert same_process(os.getpid(), start_ticks(os.getpid()) or 0)


@given(st.integers(min_value=1, max_value=1000))
def test_pauses_grow_and_are_bounded(deaths: int) -> None:
    assert pause_before_restart_s(1) == 0
    assert 0 <= pause_before_restart_s(deaths) <= pause_before_restart_s(deaths + 1) <= MAX_PAUSE_S


async def test_one_that_is_held_down_stays_down_until_all_have_let_it_up(processes: Processes) -> None:
    processes.keep(Program("a", SLEEP))
    await until(lambda: bool(pid_of(processes)))
    first = pid_of(processes)
    processes.hold_down("a", "one", 60)
    processes.hold_down("a", "two", 60)
    await until(lambda: not same_process(first, start_ticks(first) or 0))
    processes.let_up("a", "one")
    await asyncio.sleep(0)
    assert processes.states()[0].held_down == ("two",)
    assert not processes.states()[0].running
    processes.let_up("a", "two")
    await until(lambda: pid_of(processes) not in (0, first))


async def test_a_hold_ends_by_itself_and_a_new_keeper_knows_of_it(tmp_path: Path, processes: Processes) -> None:
    processes.keep(Program("a", SLEEP))
    await until(lambda: bool(pid_of(processes)))
    first = pid_of(processes)
    processes.hold_down("a", "one", 0.5)
    await until(lambda: start_ticks(first) is None)
    await processes.close()
    second = keeper(tmp_path)
    began = asyncio.get_running_loop().time()
    second.keep(Program("a", SLEEP))
    assert second.states()[0].held_down == ("one",)
    await until(lambda: bool(pid_of(second)))
    assert asyncio.get_running_loop().time() - began > 0.2
    assert second.states()[0].held_down == ()
    await second.stop("a", number=signal.SIGKILL)
