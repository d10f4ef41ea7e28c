"""Starts the machine room of a cluster, once: one that runs is found and left alone.

What the room then does is its own; the cluster around it is ``up``.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance
from testbed.api.process_identity import same_process, start_ticks
from testbed.errors import EnvironmentProblem, TestbedError
from testbed.machines.client import room_status
from testbed.machines.processes import ROOM_RECORD, child_environment, read_record, record_room, spawn

_PF_EXITING = 0x4  # linux: include/linux/sched.h


def already_up(directory: Path) -> TestbedError:
    """The error that says so. A room that has died is started again, for it is needed to do anything."""
    name = directory.name
    instance = load_instance(directory)
    try:
        room_status(instance.room_socket)
    except EnvironmentProblem:
        start_room(instance)
        return EnvironmentProblem(f"cluster {name!r} is already up; its machine room had died and was started again")
    return EnvironmentProblem(
        f"cluster {name!r} is already up", hint=f"use it, or end it first: testbed down --name {name}"
    )


def start_room(instance: Instance, *, owner_pid: int | None = None) -> int:
    """Starts the machine room, detached, and returns its pid; one that runs is left alone. It adopts what runs."""
    directory = instance.directory
    for pid, ticks, _ in read_record(directory / ROOM_RECORD).values():
        if same_process(pid, ticks) and not _being_killed(pid):
            return pid
    argv = [sys.executable, "-m", "testbed.machines", "--instance", str(directory)]
    if owner_pid is not None:
        argv += ["--owner", f"{owner_pid}:{start_ticks(owner_pid) or 0}"]
    pid = spawn(tuple(argv), log=instance.log_file("room"), directory=directory, environment=child_environment())
    record_room(directory, pid)
    return pid


def _being_killed(pid: int) -> bool:
    """Whether a SIGKILL is on its way to the process: on a busy machine it is seen for a while after it was sent."""
    with suppress(OSError, ValueError):
        if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6]) & _PF_EXITING:
            return True
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("SigPnd:", "ShdPnd:")) and int(line.split()[1], 16) >> (signal.SIGKILL - 1) & 1:
                return True
    return False
