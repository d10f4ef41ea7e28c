"""Removes exactly what one cluster made: processes, containers, network, cgroups, state.

Decides what belongs to a cluster: processes by its record and by their ``--instance DIR``, engine objects by their
labels, cgroups and memory volumes by the id. Works with whatever is left: a half-written ``instance.json``, no machine
room, a second time. The directories ``runs`` and ``monitoring`` stay: reports, and what Prometheus recorded, outlive
the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed.api import labels
from testbed.api.instance import memory_directory
from testbed.api.process_identity import start_ticks
from testbed.errors import EngineError, EngineUnavailable, EnvironmentProblem, HostError
from testbed.machines.processes import ROOM_RECORD, ended, kill_exactly, read_record
from testbed.runtime.containers import ContainerSpec, Mount
from testbed.runtime.helper_container import HELPER_IMAGE, run_to_end
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

RECORD = "processes.json"
KEPT = frozenset({"runs", "monitoring"})
SWEEP_WITHIN_S = 15.0
_CLEAN_WITHIN_S = 60.0  # what then is left, the next attempt says
_ID = re.compile(r"\b[0-9a-f]{12}\b")


def processes_of(directory: Path) -> dict[int, int]:
    """Pid to start ticks of every process that was started with ``--instance <directory>``, and of holders."""
    found: dict[int, int] = {}
    holders = os.fsencode(directory / "holders") + b"/"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(holders) for word in words) or any(
            word == b"--instance" and following == os.fsencode(directory)
            for word, following in zip(words, words[1:], strict=False)
        ):
            ticks = start_ticks(int(entry.name))
            if ticks is not None:
                found[int(entry.name)] = ticks
    return found


async def end_processes(directory: Path, spared: Iterable[int]) -> None:
    """SIGKILL to all processes of the cluster. The machine room first: it would start the others again."""
    room = read_record(directory / ROOM_RECORD)
    recorded = {pid: ticks for pid, ticks, _ in (room | read_record(directory / RECORD)).values()}
    first = [pid for pid, _, _ in room.values()]
    for _ in range(5):  # a room that was just restarting something leaves one more to find
        everyone = {pid: ticks for pid, ticks in (recorded | processes_of(directory)).items() if pid not in spared}
        everyone = {pid: ticks for pid, ticks in everyone.items() if start_ticks(pid) == ticks}
        if not everyone:
            return
        for pid in sorted(everyone, key=lambda pid: pid not in first):
            kill_exactly(pid, everyone[pid], signal.SIGKILL)
        await asyncio.gather(*(ended(pid, ticks) for pid, ticks in everyone.items()))


def instance_ids(directory: Path) -> set[str]:
    """The ids that clusters in this directory had, also when ``instance.json`` was only half written."""
    ids: set[str] = set()
    for name in ("id", "instance.json"):
        with contextlib.suppress(OSError):
            ids.update(_ID.findall((directory / name).read_text(errors="replace")))
    return ids


async def remove_containers(engine: Engine, wanted: dict[str, str], *, spared_role: str = "") -> None:
    """Removes all containers with these labels, several at a time. ``spared_role``: containers that stay.

    Raises: EngineUnavailable, EngineError (one that cannot be removed).
    """
    for _ in range(3):  # a container that was being created when its agent died shows up late
        states = [state for state in await engine.list(wanted) if state.labels.get(labels.ROLE) != spared_role]
        if not states:
            return
        results = await asyncio.gather(*(engine.remove(state.id) for state in states), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        raise failed[0]


async def sweep_containers(engine: Engine, wanted: dict[str, str]) -> None:
    """Removes what a dead node left. A removal that does not end (moby/moby#23371) must not keep the node off: what
    does not run is left to its agent, which collects such containers.

    Raises: EngineUnavailable (one still runs, or nobody knows).
    """
    try:
        async with asyncio.timeout(SWEEP_WITHIN_S):
            await remove_containers(engine, wanted)
    except (EngineUnavailable, EngineError, TimeoutError) as error:
        if await engine.list(wanted, running_only=True):
            raise EngineUnavailable("containers of a node without power still run") from error


def remove_state(directory: Path) -> None:
    """Removes everything in ``directory`` but what is ``KEPT``; the directory too when nothing is left.

    Raises: EnvironmentProblem when a file cannot be removed.
    """
    try:
        if not directory.is_dir():
            return
        # Last the file by which the cluster is known: interrupted, the next attempt still knows the id.
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name in ("instance.json", "id")):
            if entry.name in KEPT:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        for empty in (*(directory / name for name in KEPT), directory):
            with contextlib.suppress(OSError):
                empty.rmdir()
    except OSError as error:
        raise EnvironmentProblem(f"cannot remove {error.filename}: {error.strerror}",
                                 hint="remove it as the user who owns it, then repeat") from error


async def clean(
    directory: Path, engine: Engine, open_host: Callable[[str, Engine], Host], say: Callable[[str], None],
    *, spared: Iterable[int] = (),
) -> None:
    """Takes everything away and says what is being done. ``spared``: processes that stay (the caller stays anyway).

    Raises: EngineUnavailable (processes are gone, state stays: repeat), EnvironmentProblem, EngineError.
    """
    say("ending processes")
    ending = asyncio.create_task(end_processes(directory, {os.getpid(), *spared}))
    await asyncio.sleep(0)  # signals first: a room that lives would start others
    for identity in sorted(instance_ids(directory)):  # what a fault has frozen ends only when it is thawed
        host = open_host(identity, engine)
        with contextlib.suppress(HostError, EngineError, EngineUnavailable):
            await host.kill_cgroup(f"/testbed-{identity}")
        await host.close()
    await ending
    for identity in sorted(instance_ids(directory)):
        await remove_instance(identity, engine, open_host, say)
    say("removing state")
    for identity in sorted(instance_ids(directory)):
        await remove_tree(engine, memory_directory(identity), identity)
    try:
        remove_state(directory)
    except EnvironmentProblem:
        if os.geteuid() == 0:
            raise
        await _remove_as_root(engine, max(instance_ids(directory), default=""), directory, "nodes", "hostpath")
        remove_state(directory)


async def remove_instance(
    identity: str, engine: Engine, open_host: Callable[[str, Engine], Host], say: Callable[[str], None]
) -> None:
    """Removes what carries this id from the engine and the cgroups, whether or not its state is still known.

    Raises: EngineUnavailable, EngineError.
    """
    host = open_host(identity, engine)
    try:
        say("removing containers")
        with contextlib.suppress(HostError):  # the engine's forced removal kills it too
            await host.kill_cgroup(f"/testbed-{identity}")
        await _remove_from_engine(engine, identity, say)
        with contextlib.suppress(HostError):
            await host.remove_cgroup(f"/testbed-{identity}")
    finally:
        await host.close()
    await remove_containers(engine, {labels.INSTANCE: identity})  # the helper that did host acts


async def abandoned(engine: Engine, name: str) -> set[str]:
    """Ids of the clusters of that name of which the engine has something.

    Raises: EngineUnavailable, EngineError.
    """
    wanted = {labels.INSTANCE_NAME: name}
    found = [state.labels for state in await engine.list(wanted)]
    found += [network.labels for network in await engine.networks(wanted)]
    found += [volume.labels for volume in await engine.volumes(wanted)]
    return {carried[labels.INSTANCE] for carried in found if labels.INSTANCE in carried}


async def _remove_from_engine(engine: Engine, identity: str, say: Callable[[str], None]) -> None:
    """Containers, then volumes and the network; again when a container joined it meanwhile."""
    for attempts_left in (2, 1, 0):
        await remove_containers(engine, {labels.INSTANCE: identity}, spared_role=labels.ROLE_HELPER)
        say("removing the network")
        try:
            for volume in await engine.volumes({labels.INSTANCE: identity}):
                await engine.remove_volume(volume.name, labels={labels.INSTANCE: identity})
            for network in await engine.networks({labels.INSTANCE: identity}):
                await engine.remove_network(network.id)
            return
        except EngineError:
            if not attempts_left:
                raise
            await asyncio.sleep(0.3)


async def remove_tree(engine: Engine, tree: Path, identity: str) -> None:
    """Removes ``tree``, of that cluster, with what containers wrote there. Nothing there is fine.

    Raises: EnvironmentProblem, EngineError, EngineUnavailable.
    """
    if _removed(tree):
        return
    await _remove_as_root(engine, identity, tree.parent, tree.name)


def _removed(tree: Path) -> bool:
    """False when it takes root. Raises: EnvironmentProblem."""
    try:
        shutil.rmtree(tree)
    except FileNotFoundError:
        return True
    except OSError as error:
        if os.geteuid() == 0 or tree.is_symlink():
            raise EnvironmentProblem(f"cannot remove {tree}: {error.strerror or error}",
                                     hint="remove it as the user who owns it, then repeat") from error
        return False
    return True


async def _remove_as_root(engine: Engine, identity: str, directory: Path, *names: str) -> None:
    """What containers wrote into volumes belongs to root: a container removes it for a user who is not."""
    await run_to_end(engine, ContainerSpec(
        name=f"testbed-cleaner-{secrets.token_hex(6)}", image=HELPER_IMAGE,
        labels={labels.INSTANCE: identity, labels.ROLE: labels.ROLE_HELPER},
        command=("rm", "-rf", "--", *(f"/state/{name}" for name in names)), mounts=(Mount("/state", str(directory)),),
    ), _CLEAN_WITHIN_S)
