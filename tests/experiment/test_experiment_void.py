"""When a run cannot be trusted, and what the machine says of itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from testbed.experiment.machine_watch import (
    MachineWatch,
    Reading,
    between,
    parse_pressure,
    parse_runnable,
    parse_stat,
    read,
)
from testbed.experiment.result.load import GeneratorUse
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.void import LIMITS, doubts, not_told, told

STAT = "cpu  100 5 50 800 30 0 5 10 7 0\ncpu0 1 2 3\nprocs_running 7\n"
PRESSURE = "some avg10=30.89 avg60=26.21 avg300=17.75 total=13542965865\nfull avg10=0.00 avg60=0.00 total=0\n"
BUSY = MachineLoad(seconds=30, pressure=0.45, steal=0.01, busy=0.9, loop_lag_p99_s=0.02)


def test_an_ordinary_busy_machine_is_trusted() -> None:
    assert doubts(BUSY) == [] and doubts(None) == [] and doubts(MachineLoad()) == []


@pytest.mark.parametrize(("change", "word"), [
    ({"steal": 0.06}, "hypervisor"), ({"loop_lag_p99_s": 0.6}, "woke up"),
    ({"pressure": 0.9, "loop_lag_p99_s": 0.25}, "starved"), ({"pressure": None, "loop_lag_p99_s": 0.6}, "woke up"),
])
def test_each_rule_alone_makes_a_run_void(change: dict[str, float], word: str) -> None:
    found = doubts(BUSY.model_copy(update=change))
    assert len(found) == 1 and word in found[0]


@pytest.mark.parametrize(("share", "void"), [(0.5, False), (0.8, False), (0.81, True), (None, False)])
def test_a_generator_that_is_nearly_out_of_cpu_measures_itself(share: float | None, void: bool) -> None:
    found = doubts(BUSY, [GeneratorUse(name="pulse web", cpu_share=0.2), GeneratorUse(name="locust", cpu_share=share)])
    assert found == (["locust used 81% of a core"] if void else [])


@pytest.mark.parametrize("field", ["steal", "loop_lag_p99_s"])
def test_a_limit_itself_is_not_beyond_it(field: str) -> None:
    assert doubts(BUSY.model_copy(update={field: getattr(LIMITS, field)})) == []


@pytest.mark.parametrize("change", [{"pressure": 1.0}, {"loop_lag_p99_s": 0.3}])
def test_waiting_alone_and_a_little_lateness_alone_are_no_harm(change: dict[str, float]) -> None:
    """A fault that stresses the CPU keeps tasks waiting all the time: that is what is measured."""
    assert doubts(BUSY.model_copy(update=change)) == []


def test_a_busy_machine_is_told_to_the_reader() -> None:
    busy = BUSY.model_copy(update={"runnable": 7.2})
    assert "was busy: 7 tasks shared each CPU" in told([busy])[0]
    assert "busy in 2 of 3 runs" in told([busy, BUSY, busy])[0]
    assert told([MachineLoad(seconds=9, pressure=0.1, steal=0.0, runnable=0.7), None]) == () and told([]) == ()
    assert len(told([MachineLoad(seconds=9, steal=0.0)] * 3)) == 1


def test_what_a_machine_does_not_tell_is_said() -> None:
    assert "PSI" in not_told(MachineLoad(seconds=10, steal=0.0))
    assert not_told(BUSY) == "" and not_told(None) == "" and not_told(MachineLoad()) == ""


def test_proc_files_are_read_as_they_are() -> None:
    assert parse_stat(STAT) == (10, 830, 1000) and parse_runnable(STAT) == 7 and parse_runnable("") is None
    assert parse_pressure(PRESSURE) == 13542965865
    assert parse_pressure("") is None


def test_shares_are_of_the_time_between_two_readings() -> None:
    load = between(Reading(1_000_000, 10, 800, 1000), Reading(4_000_000, 20, 850, 1100), 10.0)
    assert (load.pressure, load.steal, load.busy) == (0.3, 0.1, 0.5)
    assert between(None, Reading(1, 1, 1, 1), 10.0).steal is None


def test_a_machine_without_psi_is_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(STAT)
    found = read(tmp_path)
    assert found is not None and found.waited_us is None and found.stolen == 10
    assert read(tmp_path / "nothing") is None


async def test_a_loop_that_is_blocked_is_seen_to_be_late() -> None:
    async with MachineWatch() as watch:
        await asyncio.sleep(0.1)
        time.sleep(0.4)  # noqa: ASYNC251 - blocks the loop on purpose
        await asyncio.sleep(0.1)
    assert (watch.load.loop_lag_max_s or 0) > 0.2
    assert watch.load.seconds > 0.5 and watch.load.steal is not None and watch.load.runnable is not None
