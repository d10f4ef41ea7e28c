"""Brings a cluster up and takes it down.

Decides the order: what can be chosen is chosen under a lock (``reservation``), then the machine room starts everything
at once (``room_start``), and this waits until the API answers, the nodes are Ready and the gateway is programmed
(``usable``). Whatever interrupts it, what was made is taken away again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from testbed.api.instance import ENGINE, Instance, memory_directory
from testbed.api.instance_files import instance_directory, load_instance
from testbed.errors import EngineUnavailable, EnvironmentProblem, NoSuchImage
from testbed.machines.cleanup import abandoned, clean, remove_instance, remove_tree
from testbed.machines.node_container import check as check_engine_nodes
from testbed.machines.reservation import reserve
from testbed.machines.room_start import already_up, start_room
from testbed.machines.shape import Shape
from testbed.machines.usable import wait_until_usable
from testbed.network.gateway import ensure_network
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.protocol import Engine

Progress = Callable[[str], None]


def _silent(step: str) -> None:
    return


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
        raise already_up(directory)
    engine = open_engine(engine_url)
    try:
        progress("looking at the engine")
        await _check_engine(engine, name, shape, engine_url)
        instance = await reserve(directory, name, shape, engine, engine_url)
        try:
            progress(f"network {instance.subnet}, API on port {instance.api_port}")
            await asyncio.gather(ensure_network(engine, instance), _credentials(instance))
            start_room(instance, owner_pid=owner_pid)
            await wait_until_usable(instance, progress)
        except BaseException:
            progress("taking away what was made")
            await clean(directory, engine, open_host, progress)
            raise
        return instance
    finally:
        await engine.close()




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


async def _credentials(instance: Instance) -> None:
    """TLS, tokens and kubeconfig."""
    from testbed.server.certificates import write_credentials
    from testbed.server.kubeconfig import write_kubeconfig

    write_credentials(instance)
    write_kubeconfig(instance)


