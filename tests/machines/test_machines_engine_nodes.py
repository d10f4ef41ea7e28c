"""Nodes with an engine of their own: what their container is given, who keeps it running, and what holds the engine."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testbed.api.instance import Instance
from testbed.api.process_identity import start_ticks
from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.machines.new_node import MAX_NODES, new_node
from testbed.machines.node_container import container_spec, engine_socket
from testbed.machines.node_keeper import NodeKeeper
from testbed.resources import image_context


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    found = Instance("t", "0123456789ab", tmp_path / "t", "10.99.0.0/16", 29990, tuple(range(30000, 30016)))
    found.directory.mkdir()
    return found.with_nodes((new_node(found, "", "", "", kind="engine"),))


def test_addresses_of_nodes_are_never_those_of_pods_nor_of_each_other(instance: Instance) -> None:
    ranges = [ipaddress.IPv4Network(instance.pod_cidr(k)) for k in range(1, MAX_NODES + 2)]
    uplinks = [ipaddress.IPv4Address(instance.uplink_address(str(one))) for one in ranges]
    assert len(set(uplinks)) == len(uplinks)
    taken = {ipaddress.IPv4Address(one) for one in (instance.host_address, instance.gateway_address)}
    assert not taken & set(uplinks)
    assert not any(uplink in one for uplink in uplinks for one in ranges)
    assert all(ipaddress.IPv4Address(instance.router_address(str(one))) in one for one in ranges)
    assert all(instance.router_address(str(one)) != instance.node_address(str(one)) for one in ranges)


def test_its_container_may_write_only_its_disk_and_the_clusters_directory(instance: Instance) -> None:
    spec = container_spec(instance, instance.nodes[0])
    targets = [mount.target for mount in spec.mounts]
    assert len(targets) == len(set(targets))
    writable = {mount.source for mount in spec.mounts if not mount.read_only}
    assert writable == {str(instance.directory), "testbed-0123456789ab_engine-node-1", engine_socket("")}
    assert not {"/", "/etc", "/root", "/home", "/var"} & {mount.source for mount in spec.mounts}
    assert spec.ports == () and spec.pid_mode == "" and spec.network == "testbed-t"
    assert "SYS_RESOURCE" in spec.cap_drop
    python = Path(sys.base_prefix).resolve()
    assert any(python.is_relative_to(mount.source) for mount in spec.mounts if mount.read_only)


def test_an_engine_elsewhere_and_an_unknown_kind_are_refused(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentProblem, match="need an engine on this machine"):
        engine_socket("tcp://192.0.2.1:2375")
    monkeypatch.setenv("DOCKER_HOST", "ssh://there")
    with pytest.raises(EnvironmentProblem, match="ssh://there"):
        engine_socket("")
    with pytest.raises(InvalidInput, match="no nodes of kind"):
        new_node(instance, "", "", "", kind="fancy")


# --- who keeps it running


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Errands:
    """Starts a process as a node's container, once ``may`` is set."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.pids: list[int] = []

    async def __call__(self, act: str, node: str) -> dict[str, Any]:
        assert (act, node) == ("node", "node-1")
        await self.may.wait()
        process = await asyncio.create_subprocess_exec("sleep", "60")
        self.pids.append(process.pid)
        return {"pid": process.pid, "ticks": start_ticks(process.pid)}

    def close(self) -> None:
        for pid in self.pids:
            if start_ticks(pid) is not None:
                os.kill(pid, signal.SIGKILL)


async def test_a_node_whose_container_died_is_started_again() -> None:
    errands = Errands()
    keeper = NodeKeeper(errands)
    try:
        keeper.keep("node-1")
        keeper.keep("node-1")
        await _until(lambda: [state.running for state in keeper.states()] == [True])
        os.kill(errands.pids[0], signal.SIGKILL)
        await _until(lambda: len(errands.pids) == 2 and keeper.states()[0].pid == errands.pids[1])
        assert keeper.states()[0].restarts == 1
        await keeper.release("node-1")
        assert keeper.states() == ()
        assert start_ticks(errands.pids[1]) is not None
    finally:
        await keeper.close()
        errands.close()


async def test_whoever_switches_the_power_off_comes_after_a_start_that_is_under_way() -> None:
    errands = Errands()
    errands.may.clear()
    keeper = NodeKeeper(errands)
    try:
        keeper.keep("node-1")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        releasing = asyncio.create_task(keeper.release("node-1"))
        await asyncio.sleep(0.05)
        assert not releasing.done()
        errands.may.set()
        await releasing
        assert len(errands.pids) == 1
    finally:
        await keeper.close()
        errands.close()


# --- what holds the engine (compose/images/node/keeper.py)


@pytest.fixture
def keeper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("node_image_keeper", image_context("node") / "keeper.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_an_engine_is_held_by_several_and_let_go_by_each(keeper: ModuleType, tmp_path: Path) -> None:
    engine = keeper.Kept(["sleep", "60"], tmp_path / "log", (os.getuid(), os.getgid()))
    holds = keeper.Holds(engine)
    running = asyncio.create_task(engine.run())
    later = time.monotonic() + 60
    try:
        await _until(lambda: engine.pid)
        first = engine.pid
        holds.hold("a", "freeze", later)
        await _until(lambda: keeper.state(first) == "T")
        holds.hold("b", "kill", later)
        await _until(lambda: not engine.pid)
        holds.release("a")
        holds.release("never")
        await asyncio.sleep(0.1)
        assert not engine.pid
        holds.hold("c", "freeze", later)
        holds.release("b")
        await _until(lambda: engine.pid)  # it comes back, and stands still for c
        await _until(lambda: keeper.state(engine.pid) == "T")
        holds.release("c")
        await _until(lambda: keeper.state(engine.pid) == "S")
        with pytest.raises(ValueError, match="not kill or freeze"):
            holds.hold("d", "melt", later)
    finally:
        running.cancel()
        engine.signal(signal.SIGKILL)


async def test_a_hold_ends_at_its_own_time(keeper: ModuleType, tmp_path: Path) -> None:
    engine = keeper.Kept(["sleep", "60"], tmp_path / "log", (os.getuid(), os.getgid()))
    holds = keeper.Holds(engine)
    running = asyncio.create_task(engine.run())
    try:
        await _until(lambda: engine.pid)
        holds.hold("a", "freeze", time.monotonic() + 0.3)
        await _until(lambda: keeper.state(engine.pid) == "T")
        await _until(lambda: keeper.state(engine.pid) == "S")
        assert holds.keys() == {}
        holds.hold("b", "kill", time.monotonic() + 0.3)
        await _until(lambda: not engine.pid)
        await _until(lambda: engine.pid)
    finally:
        running.cancel()
        engine.signal(signal.SIGKILL)
