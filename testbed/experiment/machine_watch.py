"""Watches the measuring machine during a repetition: pressure, steal, and how late this loop wakes up.

It reads ``/proc`` and nothing else; what a machine does not tell stays None. What it means is `void.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from testbed.experiment.result.machine import MachineLoad
from testbed.load.outage import percentile

PERIOD_S: Final = 0.25
LAG_PERIOD_S: Final = 0.05  # a loop that is late is late for everything; twenty looks a second see it
PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Reading:
    """Counters that only grow: jiffies of all CPUs, microseconds of waiting; and how many tasks can run just now."""

    waited_us: int | None
    stolen: int
    idle: int
    total: int
    runnable: int | None = None


def parse_stat(text: str) -> tuple[int, int, int]:
    """(stolen, idle, total) jiffies of the first line of ``/proc/stat`` (man 5 proc). Guests count as user already."""
    fields = [int(item) for item in text.partition("\n")[0].split()[1:9]]
    fields += [0] * (8 - len(fields))
    return fields[7], fields[3] + fields[4], sum(fields)


def parse_runnable(text: str) -> int | None:
    """``procs_running`` of ``/proc/stat``: tasks that run or wait for a CPU at this moment, the reader included."""
    for line in text.splitlines():
        if line.startswith("procs_running "):
            return int(line.split()[1])
    return None


def parse_pressure(text: str) -> int | None:
    """``total`` of the line ``some`` of ``/proc/pressure/cpu``, in microseconds."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["some"]:
            return next((int(item[6:]) for item in words if item.startswith("total=")), None)
    return None


def read(proc: Path = PROC) -> Reading | None:
    """None where ``/proc/stat`` cannot be read."""
    try:
        text = (proc / "stat").read_text()
        stolen, idle, total = parse_stat(text)
        runnable = parse_runnable(text)
    except (OSError, ValueError, IndexError):
        return None
    waited: int | None = None
    with contextlib.suppress(OSError, ValueError):  # kernels without PSI, or with psi=0, have no such file
        waited = parse_pressure((proc / "pressure" / "cpu").read_text())
    return Reading(waited, stolen, idle, total, runnable)


def between(first: Reading | None, last: Reading | None, seconds: float) -> MachineLoad:
    """What the machine went through from one reading to another one, ``seconds`` later."""
    if first is None or last is None or seconds <= 0:
        return MachineLoad(seconds=max(0.0, round(seconds, 3)))
    total = last.total - first.total
    waited = None if first.waited_us is None or last.waited_us is None else (last.waited_us - first.waited_us) / 1e6
    return MachineLoad(
        seconds=round(seconds, 3),
        pressure=None if waited is None else round(min(1.0, max(0.0, waited / seconds)), 4),
        steal=round((last.stolen - first.stolen) / total, 4) if total > 0 else None,
        busy=round(1 - (last.idle - first.idle) / total, 4) if total > 0 else None,
    )


class MachineWatch:
    """``async with``: watches until it is left; ``load`` says what was seen so far."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._lags: list[float] = []
        self._runnable: list[int] = []
        self._first: Reading | None = None
        self._last: Reading | None = None
        self._began = self._ended = 0.0
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> MachineWatch:
        self._began = self._ended = asyncio.get_running_loop().time()
        self._first = self._last = read(self._proc)
        self._tasks = (asyncio.create_task(self._watch()), asyncio.create_task(self._feel()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._look()

    def _look(self) -> None:
        self._last = read(self._proc)
        if self._last is not None and self._last.runnable is not None:
            self._runnable.append(max(0, self._last.runnable - 1))  # this reader runs too
        self._ended = asyncio.get_running_loop().time()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self._look()

    async def _feel(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self._lags.append(max(0.0, loop.time() - due))

    @property
    def load(self) -> MachineLoad:
        lags, cpus = sorted(self._lags), os.cpu_count() or 1
        return between(self._first, self._last, self._ended - self._began).model_copy(update={
            "runnable": round(sum(self._runnable) / len(self._runnable) / cpus, 2) if self._runnable else None,
            "loop_lag_p99_s": round(percentile(lags, 0.99), 4) if lags else None,
            "loop_lag_max_s": round(lags[-1], 4) if lags else None,
        })
