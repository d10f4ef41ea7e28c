"""Brings a cluster up and takes it down.

Decides the order: what can be chosen is chosen under a lock (name, /16, ports), then the machine room starts
everything at once, and this waits until the API answers, the nodes are Ready and the gateway is programmed. Whatever
interrupts it, what was made is taken away again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from testbed.api.instance import (
    ENGINE,
    SLICE,
    TESTBED,
    Instance,
    instance_directory,
    load_instance,
    memory_directory,
)
from testbed.api.log_lines import for_people, of_lines
from testbed.api.process_identity import same_process, start_ticks
from testbed.errors import ApiError, EngineUnavailable, EnvironmentProblem, InvalidInput, NoSuchImage, TestbedError
from testbed.machines import addresses
from testbed.machines.cleanup import abandoned, clean, remove_instance, remove_tree
from testbed.machines.client import RoomClient, room_status
from testbed.machines.node_container import check as check_engine_nodes
from testbed.machines.processes import (
    ROOM_RECORD,
    child_environment,
    read_record,
    record_room,
    spawn,
)
from testbed.machines.room import new_node
from testbed.network.gateway import IMAGE as GATEWAY_IMAGE
from testbed.network.gateway import ensure_network, gateway_status
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.protocol import Engine
from testbed.supervisors.catalog import supervisor

Progress = Callable[[str], None]
SANDBOX_IMAGE = "testbed-pause:1"
DEADLINE_S = 90.0
MAX_RESTARTS = 4  # of one process during `up`: it will never come
_POLL_S = 0.05
_PF_EXITING = 0x4  # linux: include/linux/sched.h
_MAX_SOCKET_PATH = 107  # sun_path, unix(7)


def _silent(step: str) -> None:
    return


@dataclass(frozen=True)
class Shape:
    """What a cluster begins as.

    Attributes:
        node_cpu, node_memory, node_disk: of each node, as quantities; empty: the machine's, without a limit.
        node_kind: of its first nodes, "slice" or "engine".
        zones: over how many they are spread; 0: they name none.
        allow_privileged: containers may be privileged and add any capability.
        supervisor: who looks after the containers: "testbed", or one of testbed.supervisors.catalog.
        supervisor_options: its switches.
    """

    nodes: int = 3
    profile: str = "fast"
    node_cpu: str = ""
    node_memory: str = ""
    node_disk: str = ""
    node_kind: str = SLICE
    zones: int = 0
    allow_privileged: bool = False
    supervisor: str = TESTBED
    supervisor_options: Mapping[str, str] = field(default_factory=dict)

    def settled(self) -> Shape:
        """With what its supervisor makes of it. Raises: InvalidInput."""
        if self.supervisor == TESTBED:
            if self.supervisor_options:
                raise InvalidInput("our own supervisor has no options", hint="choose another: --supervisor compose")
            return self
        chosen = supervisor(self.supervisor)
        kind = chosen.node_kind(self.node_kind)
        return replace(self, node_kind=kind, nodes=chosen.node_count(self.nodes, kind),
                       supervisor_options=chosen.checked_options(self.supervisor_options))

    @property
    def images(self) -> tuple[str, ...]:
        """Of ours, that must be there."""
        return (GATEWAY_IMAGE, SANDBOX_IMAGE) if self.supervisor == TESTBED else supervisor(self.supervisor).images


_USUAL = Shape()


def bring_up(
    name: str = "default", shape: Shape = _USUAL, *, progress: Progress = _silent, owner_pid: int | None = None,
    engine_url: str = "",
) -> Instance:
    """Makes a cluster and waits until it can be used (about 5 s). ``owner_pid``: the process with which it ends.

    Raises: EnvironmentProblem (a cluster of that name is up; engine, image, port or permission missing; something did
    not start), InvalidInput. Nothing is left behind then.
    """
    async def work() -> Instance:
        _end_by_signals()
        return await bring_up_async(name, shape, progress=progress, owner_pid=owner_pid, engine_url=engine_url)

    try:
        return asyncio.run(work())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _end_by_signals() -> None:
    """SIGTERM and SIGHUP interrupt this task as Ctrl-C does, so that what was made is taken away."""
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError, RuntimeError):  # not the main thread: its owner answers signals
            asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())


def take_down(name: str = "default", *, lost: bool = False, progress: Progress = _silent) -> None:
    """Removes exactly what the cluster of that name made; its ``runs`` stay. Twice is harmless.

    ``lost``: also what the engine has of a cluster of that name whose state directory is gone.

    Raises: EngineUnavailable (repeat it when the engine is back), EnvironmentProblem (only the engine knows the
    cluster, and it was not said that its state is lost).
    """
    asyncio.run(take_down_async(name, lost=lost, progress=progress))


async def take_down_async(name: str = "default", *, lost: bool = False, progress: Progress = _silent) -> None:
    """``take_down`` in a running event loop."""
    directory = instance_directory(name)
    known = directory.is_dir()
    engine = open_engine(_engine_url(directory))
    try:
        if known:
            await clean(directory, engine, open_host, progress)
        if known and not lost:
            return
        try:
            left = await abandoned(engine, name)
        except EngineUnavailable:
            if lost:
                raise
            return
        if left and not lost:
            raise _other_cluster(name)
        for identity in sorted(left):
            await remove_instance(identity, engine, open_host, progress)
            await remove_tree(engine, memory_directory(identity), identity)
    finally:
        await engine.close()


def _other_cluster(name: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the engine has a cluster named {name!r} whose state is not here (another user's, or of another "
        "XDG_STATE_HOME)",
        hint=f"use another name: --name NAME; or, when its state is lost: testbed down --lost --name {name}",
    )


def _engine_url(directory: Path) -> str:
    with suppress(EnvironmentProblem):
        return load_instance(directory).engine_url
    return ""


async def bring_up_async(
    name: str = "default", shape: Shape = _USUAL, *, progress: Progress = _silent, owner_pid: int | None = None,
    engine_url: str = "",
) -> Instance:
    """``bring_up`` in a running event loop."""
    shape = shape.settled()
    directory = instance_directory(name)
    if (directory / "instance.json").exists():
        raise _already_up(directory)
    engine = open_engine(engine_url)
    try:
        progress("looking at the engine")
        await _check_engine(engine, name, shape, engine_url)
        instance = await _reserve(directory, name, shape, engine, engine_url)
        try:
            progress(f"network {instance.subnet}, API on port {instance.api_port}")
            await asyncio.gather(ensure_network(engine, instance), _credentials(instance))
            start_room(instance, owner_pid=owner_pid)
            await _wait_until_usable(instance, progress)
        except BaseException:
            progress("taking away what was made")
            await clean(directory, engine, open_host, progress)
            raise
        return instance
    finally:
        await engine.close()


# --- before anything is made


def _already_up(directory: Path) -> TestbedError:
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


async def _check_engine(engine: Engine, name: str, shape: Shape, engine_url: str) -> None:
    """Raises: EngineUnavailable, EnvironmentProblem (image missing, name used from another state directory)."""
    if shape.node_kind == ENGINE:
        await check_engine_nodes(engine, engine_url)
    for image in shape.images:
        try:
            await engine.image(image)
        except NoSuchImage as error:
            raise EnvironmentProblem(f"image {image} is missing", hint="build our images: testbed setup") from error
    if await abandoned(engine, name):
        raise _other_cluster(name)


async def _reserve(directory: Path, name: str, shape: Shape, engine: Engine, engine_url: str) -> Instance:
    """Chooses addresses and ports and writes ``instance.json``, one `up` at a time."""
    longest = directory / "gateway" / "control.sock"
    if len(os.fsencode(longest)) > _MAX_SOCKET_PATH:
        raise EnvironmentProblem(f"{longest} is too long for a socket's path ({_MAX_SOCKET_PATH} bytes)",
                                 hint="set XDG_STATE_HOME to a shorter directory, or use a shorter name")
    networks = [subnet for network in await engine.networks() for subnet in network.subnets]
    with _locked(directory.parent):
        if (directory / "instance.json").exists():
            raise _already_up(directory)
        others = list(_other_instances(directory))
        source = random.Random()
        taken = {port for other in others for port in _ports(other)}
        subnet = addresses.choose_subnet(
            [*networks, *addresses.machine_networks(), *(other.subnet for other in others)], source
        )
        identity = secrets.token_hex(6)
        api_port, driver_port, *ingress_ports = addresses.choose_ports(4, taken, source)
        instance = Instance(
            name=name, id=identity, directory=directory, subnet=subnet, api_port=api_port,
            node_ports=addresses.choose_node_ports(taken, source), profile=shape.profile,
            engine_url=engine_url, ingress_ports=tuple(ingress_ports), zones=shape.zones,
            allow_privileged=shape.allow_privileged, supervisor=shape.supervisor,
            supervisor_options=dict(shape.supervisor_options),
            driver_port=0 if shape.supervisor == TESTBED else driver_port,
        )
        for _ in range(shape.nodes):
            node = new_node(instance, "", shape.node_cpu, shape.node_memory, avoid=taken, kind=shape.node_kind)
            node = replace(node, disk=shape.node_disk)
            instance = instance.with_nodes((*instance.nodes, node))
        _make_directories(instance)
        (directory / "id").write_text(identity)  # found again even when instance.json is only half written
        instance.save()
    return instance


def _make_directories(instance: Instance) -> None:
    try:
        instance.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        instance.directory.chmod(0o700)
        for directory in (instance.gateway_directory, instance.directory / "logs"):
            directory.mkdir(mode=0o700, exist_ok=True)
        # The gateway's root has no DAC_OVERRIDE and writes here as "others"; the directory above keeps people out.
        instance.gateway_directory.chmod(0o777)
    except OSError as error:
        raise EnvironmentProblem(f"cannot make {error.filename}: {error.strerror}",
                                 hint="set XDG_STATE_HOME to a directory that you own") from error


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Holds the lock under which ports and ranges of this user's clusters are chosen. Ends with the process."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write in {root}: {error.strerror}",
                                 hint="set XDG_STATE_HOME to a directory that you own") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _other_instances(directory: Path) -> Iterator[Instance]:
    for file in directory.parent.glob("*/instance.json"):
        if file.parent != directory:
            with suppress(TestbedError):
                yield load_instance(file.parent)


def _ports(instance: Instance) -> Iterator[int]:
    yield instance.api_port
    yield instance.driver_port
    yield from instance.node_ports
    yield from instance.ingress_ports
    for node in instance.nodes:
        yield from (node.agent_port, node.to_agent_port, node.to_api_port)


async def _credentials(instance: Instance) -> None:
    """TLS, tokens and kubeconfig."""
    from testbed.server.certificates import write_credentials
    from testbed.server.kubeconfig import write_kubeconfig

    write_credentials(instance)
    write_kubeconfig(instance)


# --- starting and waiting


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


async def _wait_until_usable(instance: Instance, progress: Progress) -> None:
    """Raises: EnvironmentProblem that names what did not come, with the end of its log."""
    started = time.monotonic()
    waits: list[tuple[str, Callable[[], Awaitable[bool]]]] = [
        ("machine room", lambda: _room_answers(instance)),
    ]
    async with _api(instance) as api:
        waits.append(("API", api.answers))
        if instance.routed:
            waits.append(("gateway", lambda: _gateway_programmed(instance)))
        waits.append(("nodes", lambda: api.nodes_ready(max(len(instance.nodes), 1 if instance.foreign else 0))))
        for what, done in waits:
            while not await done():
                await _check_progress(instance, what, started)
                await asyncio.sleep(_POLL_S)
            progress(f"{what} ready after {time.monotonic() - started:.1f} s")


async def _room_answers(instance: Instance) -> bool:
    with suppress(TestbedError):
        await RoomClient(instance.room_socket).status()
        return True
    return False


async def _gateway_programmed(instance: Instance) -> bool:
    return bool(gateway_status(instance).get("programmed"))


class _api:
    """The API as `up` looks at it."""

    def __init__(self, instance: Instance) -> None:
        from testbed.client.aio import HttpClient

        self._client = HttpClient.of_instance(instance)

    async def __aenter__(self) -> _api:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def answers(self) -> bool:
        return await self._ready_nodes() is not None

    async def nodes_ready(self, count: int) -> bool:
        return (await self._ready_nodes() or 0) >= count

    async def _ready_nodes(self) -> int | None:
        from testbed.api.resources import NODES

        try:
            nodes = (await self._client.list(NODES)).items
        except ApiError:
            return None
        return sum(
            any(condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node.get("status", {}).get("conditions", ()))
            for node in nodes
        )


async def _check_progress(instance: Instance, what: str, started: float) -> None:
    """Raises: EnvironmentProblem when waiting any longer is in vain."""
    failing: list[str] = []
    with suppress(TestbedError):
        status = await RoomClient(instance.room_socket).status()
        failing = [process.name for process in status.processes if process.restarts >= MAX_RESTARTS]
    if failing:
        log = "room" if failing[0] == "gateway" else failing[0]
        raise EnvironmentProblem(f"{failing[0]} does not start:\n{_tail(instance, log)}")
    if time.monotonic() - started > DEADLINE_S:
        runs_nodes = "driver" if instance.foreign else "agent-node-1"
        culprit = {"machine room": "room", "API": "api", "gateway": "room"}.get(what, runs_nodes)
        raise EnvironmentProblem(f"{what} did not get ready within {DEADLINE_S:g} s:\n{_tail(instance, culprit)}")


def _tail(instance: Instance, process: str, lines: int = 12) -> str:
    try:
        text = instance.log_file(process).read_text(errors="replace")
    except OSError:
        return f"(no log {instance.log_file(process)})"
    return "\n".join(for_people(line) for line in of_lines(text.splitlines()[-lines:], process))
