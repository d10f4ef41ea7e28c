"""Deaths by SIGKILL on Docker: at a step of an injection that the ledger shows, someone is killed on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

from docker_ground import DockerGround, entries, processes
from faults_contract import is_as, object_of, removed
from kill_points import Point
from support.cluster import run_testbed

from faults.ledger import Entry, Phase
from faults.protocol import Fault
from testbed.api import labels

STEPS = ("prepared", "injected", "undoing")
VICTIMS = ("daemon", "holder", "holder container", "target")
DURATION_S = 6.0
OVER_S = 20.0  # after its deadline everything is over: holders wait a little longer, and undo one after the other
_STEP_WITHIN_S = 40.0
OF_THE_ROOM = ("NodeChaos/kill", "NodeChaos/reboot")
_PHASES = {"prepared": (Phase.PREPARED, Phase.INJECTED), "injected": (Phase.INJECTED,), "undoing": (Phase.UNDOING,)}


def points_of(fault: Fault) -> tuple[Point, ...]:
    return tuple(Point(step, victim) for step in STEPS for victim in VICTIMS)


async def survives(ground: DockerGround, fault: Fault, name: str, point: Point) -> None:
    before = await ground.snapshot()
    await ground.create(fault.kind, object_of(fault, name, f"{DURATION_S:g}s"))
    entry = await reached(ground, name, point.step)
    if entry is not None:
        await strike(ground, fault, point, entry)

    async def over() -> bool:
        """But for what is only written down: the next daemon, below, takes that away."""
        return not [one for one in await ground.left() if "ledger" not in one and not one.startswith("holder file")]

    try:
        await ground.until(f"{point}: all to be over", over, DURATION_S + OVER_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {await ground.left()}") from error
    finally:
        # The room comes back, and with it the daemon. It is an error to bring up what is up.
        await asyncio.to_thread(run_testbed, "up", "--name", ground.cluster.name, check=False)
    await removed(ground, fault, name)
    await is_as(ground, before)


async def reached(ground: DockerGround, name: str, step: str) -> Entry | None:
    """The injection when the step is seen; None: it went by unseen, as the end of a short undo may."""
    until = time.monotonic() + _STEP_WITHIN_S
    while time.monotonic() < until:
        for entry in entries(ground.instance):
            if entry.name == name and entry.phase in _PHASES[step]:
                return entry
            if entry.name == name and entry.phase is Phase.UNDONE and (entry.recovered_count or entry.spent):
                return None
        await asyncio.sleep(0.001)
    raise AssertionError(f"{name} was not {step} within {_STEP_WITHIN_S:g} s")


async def strike(ground: DockerGround, fault: Fault, point: Point, entry: Entry) -> None:
    instance = ground.instance
    if point.victim == "daemon":
        # The room would start it again at once. A node's power is the room's own affair: there it must live.
        rooms = () if fault.name in OF_THE_ROOM else ("testbed.machines",)
        for module in (*rooms, "faults"):
            kill(*(one.pid for one in processes(instance) if one.module == module))
    elif point.victim == "holder":
        kill(*(one.pid for one in processes(instance) if any(word.endswith(f"/{entry.id}.json") for word in one.words)))
    elif point.victim == "holder container":
        kill(*(state.pid for state in await ground.containers({labels.INJECTION: entry.id})))
    elif entry.target.pod:
        role = labels.ROLE_CONTAINER if entry.target.container else labels.ROLE_SANDBOX
        kill(*(state.pid for state in await ground.containers({labels.POD_UID: entry.target.uid, labels.ROLE: role})))
    else:
        kill(*(one.pid for one in processes(instance)
               if one.module == "testbed.node" and entry.target.node in one.words))


def kill(*pids: int) -> None:
    for pid in pids:
        if pid > 1:  # what has ended has none
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
