"""Child processes that are kept running: started, adopted, restarted, stopped.

Decides when a process that ended is started again (at once the first time, then after growing pauses) and which
process on the machine *is* one of ours (its number and its start time, so that a reused number is never mistaken).
What runs, with which arguments, is told by ``room``. Processes are detached (session of their own, logs in files): they
outlive whoever started them and are found again through the record file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.api.process_identity import same_process, start_ticks
from testbed.api.process_logs import about
from testbed.errors import HostError
from testbed.machines.held_down import HeldDown
from testbed.machines.logs import bound
from testbed.machines.protocol import ProcessState

log = logging.getLogger("room")

MAX_PAUSE_S = 8.0
SETTLED_S = 20.0  # who has lived this long starts again at once


@dataclass(frozen=True)
class Program:
    """What is to run. ``cgroup``: joined right after the start; "" is none."""

    name: str
    argv: tuple[str, ...]
    cgroup: str = ""


def pause_before_restart_s(quick_deaths: int) -> float:
    """Seconds to wait after the n-th death in a row (1-based): 0, 0.5, 1, 2 ... 8."""
    return 0.0 if quick_deaths <= 1 else min(MAX_PAUSE_S, 0.5 * 2.0 ** (quick_deaths - 2))


async def ended(pid: int, ticks: int) -> None:
    """Returns when this process has ended, at once if it already had. Reaps it if it is a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if same_process(pid, ticks):
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            loop.add_reader(descriptor, _resolve, done)
            try:
                await done
            finally:
                loop.remove_reader(descriptor)
        _reap(pid)
    finally:
        os.close(descriptor)


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def kill_exactly(pid: int, ticks: int, number: int) -> None:
    """Signals this process and no other. Not an error when it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if same_process(pid, ticks):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def spawn(argv: tuple[str, ...], *, log: Path, directory: Path, environment: Mapping[str, str]) -> int:
    """Starts a detached process (own session, no stdin, output appended to ``log``) and returns its pid.

    Raises: OSError when it cannot be started.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    bound(log)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=directory,
            env=dict(environment),
        )
    child.returncode = 0  # it is reaped by its number in ``ended``, not by this object
    return child.pid


def child_environment() -> dict[str, str]:
    """This process' environment, such that ``python -m testbed...`` finds the same package from any directory."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    if not root.startswith(sys.prefix):  # a checkout that is not installed
        known = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else root
    return environment | {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass
class Kept:
    """One process and what is known of it."""

    program: Program
    pid: int = 0
    ticks: int = 0
    restarts: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return bool(self.pid) and same_process(self.pid, self.ticks)


class Processes:
    """``record``: file in which pids and start times are kept. ``log_file``: where a process' output goes. ``join``:
    puts a pid into a cgroup. ``environment``: of the processes."""

    def __init__(
        self, record: Path, log_file: Callable[[str], Path], join: Callable[[str, int], Awaitable[None]],
        environment: Mapping[str, str],
    ) -> None:
        self._record, self._log_file, self._join = record, log_file, join
        self._held = HeldDown(record.with_name("held-down.json"))
        self._environment = dict(environment)
        self._kept: dict[str, Kept] = {}
        self._recorded = read_record(record)
        self._held.restore()

    def keep(self, program: Program) -> None:
        """Adopts the recorded process of that name or starts one, and keeps it running. Twice is harmless."""
        if program.name in self._kept:
            return
        kept = Kept(program)
        kept.pid, kept.ticks, kept.restarts = self._recorded.get(program.name, (0, 0, 0))
        self._kept[program.name] = kept
        kept.task = asyncio.get_running_loop().create_task(self._keep(kept), name=f"keep {program.name}")

    async def _keep(self, kept: Kept) -> None:
        loop = asyncio.get_running_loop()
        name = kept.program.name
        deaths = 0
        if kept.alive:
            log.info("%s: adopted pid %d", name, kept.pid, extra=_whose(name))
        elif kept.pid:
            kept.restarts += 1
        while True:
            if not kept.alive:
                await self._held.free(name)
                try:
                    await self._start(kept)
                except (OSError, HostError) as error:
                    log.error("%s: cannot be started: %s", name, error, extra=_whose(name))
            started_at = loop.time()
            await ended(kept.pid, kept.ticks)
            deaths = 1 if loop.time() - started_at > SETTLED_S else deaths + 1
            pause_s = pause_before_restart_s(deaths)
            log.warning("%s: pid %d ended, again in %g s", name, kept.pid, pause_s, extra=_whose(name))
            kept.restarts += 1
            await asyncio.sleep(pause_s)

    async def _start(self, kept: Kept) -> None:
        program = kept.program
        kept.pid = spawn(
            program.argv, log=self._log_file(program.name), directory=self._record.parent, environment=self._environment
        )
        kept.ticks = start_ticks(kept.pid) or 0
        self._save()
        log.info("%s: started pid %d", program.name, kept.pid, extra=_whose(program.name))
        if program.cgroup:
            await self._join(program.cgroup, kept.pid)

    async def release(self, name: str) -> Kept | None:
        """Stops keeping it, and leaves it as it is. The record of it goes when it has ended."""
        kept = self._kept.pop(name, None)
        if kept and kept.task:
            kept.task.cancel()
            await asyncio.gather(kept.task, return_exceptions=True)
        return kept

    async def stop(self, name: str, *, number: int = signal.SIGTERM, grace_s: float = 5.0) -> None:
        """Ends it: the signal, then SIGKILL after ``grace_s``. Returns when it has ended. Twice is harmless."""
        kept = await self.release(name)
        if kept is None or not kept.pid:
            return
        kill_exactly(kept.pid, kept.ticks, number)
        try:
            async with asyncio.timeout(grace_s):
                await ended(kept.pid, kept.ticks)
        except TimeoutError:
            kill_exactly(kept.pid, kept.ticks, signal.SIGKILL)
            await ended(kept.pid, kept.ticks)
        self._recorded.pop(name, None)
        self._save()

    def hold_down(self, name: str, key: str, deadline_s: float) -> None:
        """SIGKILL; it is not started again until each ``key`` has let it up or its time is over."""
        self._held.hold(name, key, deadline_s)
        kept = self._kept.get(name)
        if kept and kept.pid:
            kill_exactly(kept.pid, kept.ticks, signal.SIGKILL)

    def let_up(self, name: str, key: str) -> None:
        self._held.let_up(name, key)

    def states(self) -> tuple[ProcessState, ...]:
        return tuple(
            ProcessState(name, kept.pid, kept.alive, kept.restarts, self._held.keys(name))
            for name, kept in sorted(self._kept.items())
        )

    async def close(self) -> None:
        """Stops watching; everything goes on running."""
        for name in tuple(self._kept):
            await self.release(name)

    def _save(self) -> None:
        """Written before anything else can happen to the room, so that no process of ours is ever unknown."""
        for name, kept in self._kept.items():
            if kept.pid:
                self._recorded[name] = (kept.pid, kept.ticks, kept.restarts)
        temporary = self._record.with_suffix(".json.new")
        temporary.write_text(json.dumps(self._recorded))
        temporary.replace(self._record)


def _whose(process: str) -> dict[str, Any]:
    """For the log: the node whose agent or cable it is."""
    part, _, node = process.partition("-")
    return about(node=node if part in ("agent", "cable") else "")


def read_record(record: Path) -> dict[str, tuple[int, int, int]]:
    """Name to pid, start ticks and restarts. Empty when there is no record or it is broken."""
    try:
        value = json.loads(record.read_text())
        return {str(name): (int(item[0]), int(item[1]), int(item[2])) for name, item in value.items()}
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        return {}


ROOM_RECORD = "room-process.json"


def record_room(directory: Path, pid: int) -> None:
    """Writes who the machine room is, so that it is found when its socket is not there yet or any more."""
    (directory / ROOM_RECORD).write_text(json.dumps({"room": [pid, start_ticks(pid) or 0, 0]}))
