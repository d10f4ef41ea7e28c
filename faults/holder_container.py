"""A container that holds one injection in force from inside the target's namespaces, and takes it back itself: at its
deadline, or when it is told to end.

It runs one program of the tools image (``compose/images/nettools/hold.py``) with a plan as its argument. It is known
by the injection's id in a label. It is kept after its end: exit code 0 says that everything was taken back. After any
other end (it was killed) the same program clears what it left, in a container of its own. Whatever is joined must still
run: with its namespaces gone nothing can be left in them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from faults.protocol import Json, NotInEffect, TargetGone, Tools
from testbed.api import labels
from testbed.errors import EngineError, NameConflict, NoSuchContainer
from testbed.runtime.containers import ContainerSpec, ContainerState, Mount
from testbed.runtime.helper_container import HELPER_IMAGE

PROGRAM = ("python3", "-I", "-u", "/opt/testbed/hold.py")
IN_FORCE = "in force: "  # what the program prints when it has begun; the rest of the line says how
_BEGIN_WITHIN_S = 10.0
_END_WITHIN_S = 5.0
_KILL_WITHIN_S = 2.0
_CLEAR_WITHIN_S = 20.0
_LOOK_S = 0.01

Started = Callable[[ContainerState], Awaitable[None]]


@dataclass(frozen=True)
class Hold:
    """What is run, and where.

    Attributes:
        entry_id: the injection's. fault: its name (``NetworkChaos/delay``).
        program: a module beside ``hold.py``. plan: its argument, as JSON.
        joined: id of the container whose namespaces it joins, and without which there is nothing to clear; empty:
            none. network, pid: whether it joins these; the pid namespace of no container is the machine's.
        cgroup_parent: where it counts; by default the cluster's own folder for holders.
        mounts: paths of this machine and where it sees them, to write.
    """

    entry_id: str
    fault: str
    program: str
    plan: Json
    joined: str
    deadline_ns: int
    network: bool = False
    pid: bool = False
    cgroup_parent: str = ""
    cap_add: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    security_opt: tuple[str, ...] = ("no-new-privileges",)

    def to_json(self) -> Json:
        return asdict(self)

    @staticmethod
    def from_json(value: Json) -> Hold:
        lists = {name: tuple(value[name]) for name in ("cap_add", "devices", "security_opt")}
        mounts = tuple((source, target) for source, target in value["mounts"])
        return Hold(**{**value, **lists, "mounts": mounts})


def name_of(tools: Tools, hold: Hold, verb: str) -> str:
    return f"testbed-{tools.site.instance_id}_{verb.upper()}_{hold.entry_id}"


def spec_of(tools: Tools, hold: Hold, verb: str) -> ContainerSpec:
    """``verb``: "hold" or "clear"."""
    argument = json.dumps({"id": hold.entry_id, "fault": hold.fault, "deadline_ns": hold.deadline_ns, **hold.plan})
    return ContainerSpec(
        name=name_of(tools, hold, verb), image=HELPER_IMAGE,
        labels={labels.INSTANCE: tools.site.instance_id, labels.INSTANCE_NAME: tools.site.instance_name,
                labels.ROLE: labels.ROLE_HOLDER, labels.INJECTION: hold.entry_id, labels.JOINED: hold.joined},
        command=PROGRAM, args=(verb, hold.program, argument),
        network=f"container:{hold.joined}" if hold.network else "none",
        pid_mode=(f"container:{hold.joined}" if hold.joined else "host") if hold.pid else "",
        cgroup_parent=hold.cgroup_parent or f"{tools.site.cgroup}/holders",
        cap_drop=("ALL",), cap_add=hold.cap_add, devices=hold.devices, security_opt=hold.security_opt,
        mounts=tuple(Mount(target, source) for source, target in hold.mounts),
    )


async def begin(tools: Tools, hold: Hold, started: Started | None = None) -> str:
    """Starts it, unless it runs; returns when the effect is in force, with the program's words about how.

    Args: started: what is done to it from outside once it runs, before its program may go on.

    Raises: TargetGone when what it joins does not run; NotInEffect with the program's own words when it failed.
    """
    container = await _created(tools, hold)
    try:
        state = await tools.engine.start(container)
        if started is not None:
            await started(state)
    except EngineError as error:
        if not await joined_runs(tools, hold):
            raise TargetGone(f"container {hold.joined[:12]} does not run any more") from error
        raise
    loop = asyncio.get_running_loop()
    until = loop.time() + _BEGIN_WITHIN_S
    while loop.time() < until:
        said = await words(tools, container)
        if said:
            return said
        state = await tools.engine.inspect(container)
        if not state.running:
            said = await words(tools, container)
            if said and state.exit_code == 0:
                return said
            raise NotInEffect(f"{hold.program} ended with {state.exit_code}: {await _last_line(tools, container)}")
        await asyncio.sleep(_LOOK_S)
    raise NotInEffect(f"{hold.program} did not begin within {_BEGIN_WITHIN_S:.0f} s")


async def _created(tools: Tools, hold: Hold) -> str:
    spec = spec_of(tools, hold, "hold")
    for _ in range(2):
        try:
            return await tools.engine.create(spec)
        except NameConflict:
            state = await find(tools, hold)
            if state is not None and state.status in ("created", "running", "paused"):
                return state.id
            await tools.engine.remove(spec.name)
    return await tools.engine.create(spec)


async def find(tools: Tools, hold: Hold) -> ContainerState | None:
    """The holder container, in whatever state."""
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_HOLDER, labels.INJECTION: hold.entry_id})
    return next((state for state in found if state.name == name_of(tools, hold, "hold")), None)


async def holds(tools: Tools, hold: Hold) -> ContainerState:
    """The running holder. Raises: NotInEffect."""
    state = await find(tools, hold)
    if state is None or not state.running:
        raise NotInEffect("its holder does not run")
    return state


async def end(tools: Tools, hold: Hold) -> None:
    """Takes back whatever there is to take back; harmless when there is nothing.

    Raises: EngineError, NotInEffect when something could not be cleared.
    """
    state = await find(tools, hold)
    clean = False
    if state is not None:
        if state.status == "paused":
            await tools.engine.unpause(state.id)
        if state.running:
            await tools.engine.signal(state.id, "SIGTERM")
            state = await _ended(tools, state, _END_WITHIN_S)
        if state.running:  # what is cleared beside it, it would bring back
            await tools.engine.signal(state.id, "SIGKILL")
            state = await _ended(tools, state, _KILL_WITHIN_S)
        clean = not state.running and state.status == "exited" and state.exit_code == 0
    if not clean and await joined_runs(tools, hold):
        await _clear(tools, hold)
    if state is not None:
        await tools.engine.remove(state.id)


async def _ended(tools: Tools, state: ContainerState, within_s: float) -> ContainerState:
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while state.running and loop.time() < until:
        await asyncio.sleep(_LOOK_S)
        try:
            state = await tools.engine.inspect(state.id)
        except NoSuchContainer:
            break
    return state


async def _clear(tools: Tools, hold: Hold) -> None:
    spec = spec_of(tools, hold, "clear")
    await tools.engine.remove(spec.name)
    container = await tools.engine.create(spec)
    try:
        await tools.engine.start(container)
        state = await _ended(tools, await tools.engine.inspect(container), _CLEAR_WITHIN_S)
        if (state.running or state.exit_code) and await joined_runs(tools, hold):
            raise NotInEffect(f"what {hold.program} left could not be cleared: {await _last_line(tools, container)}")
    except EngineError:
        if await joined_runs(tools, hold):
            raise
    finally:
        await tools.engine.remove(container)


async def joined_runs(tools: Tools, hold: Hold) -> bool:
    if not hold.joined:
        return True
    try:
        return (await tools.engine.inspect(hold.joined)).running
    except NoSuchContainer:
        return False


async def look(tools: Tools, container: str, what: str, question: Json, *, within_s: float = 10.0) -> Any:
    """Asks ``look.py`` of the tools image, in a holder container, what can be seen there; its answer, from JSON.

    Raises: NotInEffect with its words when it cannot see.
    """
    argv = ("python3", "-I", "/opt/testbed/look.py", what, json.dumps(question))
    try:
        result = await tools.engine.exec(container, argv, timeout_s=within_s, limit_bytes=1 << 20)
    except TimeoutError as error:
        raise NotInEffect(f"{what}: no answer within {within_s:.0f} s") from error
    except EngineError as error:
        raise NotInEffect(f"{what}: {error}") from error  # the holder has ended meanwhile
    if result.exit_code:
        raise NotInEffect(f"{what}: {result.output.decode(errors='replace').strip()[-300:]}")
    return json.loads(result.output)


async def words(tools: Tools, container: str) -> str:
    """What the program says of how it holds; empty while it has not begun."""
    for line in (await _output(tools, container)).splitlines():
        if line.startswith(IN_FORCE):
            return line.removeprefix(IN_FORCE)
    return ""


async def _last_line(tools: Tools, container: str) -> str:
    lines = (await _output(tools, container)).strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


async def _output(tools: Tools, container: str) -> str:
    chunks = [chunk async for chunk in tools.engine.logs(container)]
    return b"".join(chunks).decode(errors="replace")
