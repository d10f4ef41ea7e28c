"""When a run cannot be trusted, and what the machine says of itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from testbed.experiment.machine_watch import MachineWatch, Reading, between, parse_pressure, parse_stat, read
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.void import LIMITS, cpu_share, doubts, not_told

STAT = "cpu  100 5 50 800 30 0 5 10 7 0\ncpu0 1 2 3\n"
PRESSURE = "some avg10=30.89 avg60=26.21 avg300=17.75 total=13542965865\nfull avg10=0.00 avg60=0.00 total=0\n"
BUSY = MachineLoad(seconds=30, pressure=0.6, steal=0.01, busy=0.9, loop_lag_p99_s=0.02, generator=0.3, locust=0.5)


def test_an_ordinary_busy_machine_is_trusted() -> None:
    assert doubts(BUSY) == [] and doubts(None) == [] and doubts(MachineLoad()) == []


@pytest.mark.parametrize(("change", "word"), [
    ({"generator": 0.81}, "the pulse used 81%"), ({"locust": 0.95}, "Locust"), ({"steal": 0.06}, "hypervisor"),
    ({"pressure": 0.97}, "waited for a CPU"), ({"loop_lag_p99_s": 0.3}, "woke up"),
])
def test_each_rule_alone_makes_a_run_void(change: dict[str, float], word: str) -> None:
    found = doubts(BUSY.model_copy(update=change))
    assert len(found) == 1 and word in found[0]


@pytest.mark.parametrize("field", ["generator", "steal", "pressure"])
def test_a_limit_itself_is_not_beyond_it(field: str) -> None:
    assert doubts(BUSY.model_copy(update={field: getattr(LIMITS, field)})) == []


def test_late_processes_of_the_platform_are_named() -> None:
    assert doubts(BUSY, platform_lags_s={"agent node-1": 0.4, "api": 0.01}) == ["agent node-1 was 400 ms late (p99)"]


def test_what_a_machine_does_not_tell_is_said() -> None:
    assert "PSI" in not_told(MachineLoad(seconds=10, steal=0.0))
    assert not_told(BUSY) == "" and not_told(None) == "" and not_told(MachineLoad()) == ""


def test_the_generators_share_is_of_what_it_noted() -> None:
    assert cpu_share([{"at_ns": 0, "cpu_s": 1.0}, {"at_ns": int(10e9), "cpu_s": 4.0}]) == pytest.approx(0.3)
    assert cpu_share([{"at_ns": 5}]) is None and cpu_share([]) is None


def test_proc_files_are_read_as_they_are() -> None:
    assert parse_stat(STAT) == (10, 830, 1000)
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
    assert watch.load.seconds > 0.5 and watch.load.steal is not None
