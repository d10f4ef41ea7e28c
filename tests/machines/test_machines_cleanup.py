"""Taking a cluster away whatever goes wrong in between, and what lies outside its directory: memory volumes, logs."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from testbed.api import labels
from testbed.api.instance import Instance, memory_directory
from testbed.errors import EngineUnavailable, EnvironmentProblem
from testbed.machines.cleanup import clean, remove_tree
from testbed.machines.errand import sweep
from testbed.machines.logs import bound, keep_bounded
from testbed.machines.new_node import MAX_NODES, new_node
from testbed.machines.power import one_per_network
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.simulation.loop import VirtualClock, VirtualLoop, run_virtual

ID, OTHER = "7e5700c1ea11", "7e5700c1ea12"
CALLS = ("list", "remove", "networks", "remove_network", "volumes", "remove_volume")


class BreakingEngine:
    """Gives up at its ``after``-th call that matters, and at all later ones."""

    def __init__(self, engine: SimulatedEngine, after: int) -> None:
        self._engine, self._left = engine, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name not in CALLS:
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise EngineUnavailable("the engine went away in the middle")
            return await found(*arguments, **more)

        return call


@pytest.fixture(autouse=True)
def memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.api.instance._MEMORY", tmp_path_factory.mktemp("shm"))


def machine_of(loop: VirtualLoop) -> SimulatedMachine:
    machine = SimulatedMachine(random.Random(1), VirtualClock(loop))
    machine.add_image("sample:v1")
    return machine


async def cluster(engine: SimulatedEngine, directory: Path, identity: str) -> None:
    """Network, two containers, a memory volume, state."""
    tags = {labels.INSTANCE: identity, labels.NODE: "node-1"}
    start = f"10.{int(identity[-2:])}.0"
    await engine.create_network(
        f"net-{identity}", subnet=f"{start}.0/17", gateway=f"{start}.1", bridge="", labels=tags,
    )
    for number in range(2):
        container = await engine.create(ContainerSpec(
            name=f"{identity}-{number}", image="sample:v1", labels=tags, cgroup_parent=f"/testbed-{identity}/node-1"))
        await engine.start(container)
    await engine.create_volume(f"volume-{identity}", labels=tags)
    (memory_directory(identity) / "node-1" / "uid").mkdir(parents=True)
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    (directory / "id").write_text(identity)
    (directory / "instance.json").write_text(f'{{"id": "{identity}", ')


@pytest.mark.parametrize("after", range(12))
def test_row32_a_down_that_broke_off_at_any_call_is_finished_by_the_next(tmp_path: Path, after: int) -> None:
    async def body(loop: VirtualLoop) -> None:
        machine = machine_of(loop)
        engine = SimulatedEngine(machine)
        mine, other = tmp_path / "mine", tmp_path / "other"
        await cluster(engine, mine, ID)
        await cluster(engine, other, OTHER)

        def host(identity: str, _: Any) -> Any:
            return SimulatedHost(machine, identity)

        try:
            await clean(mine, BreakingEngine(engine, after), host, lambda step: None)
        except EngineUnavailable:
            assert (mine / "instance.json").exists()  # still known, so that it can be repeated
        await clean(mine, engine, host, lambda step: None)
        assert not mine.exists() and not memory_directory(ID).exists()
        assert {item.spec.labels[labels.INSTANCE] for item in machine.containers.values()} == {OTHER}
        assert [network.name for network in machine.networks.values()] == [f"net-{OTHER}"]
        assert list(machine.volumes) == [f"volume-{OTHER}"]
        assert memory_directory(OTHER).exists() and other.exists()  # R5: of its own cluster only
        await clean(other, engine, host, lambda step: None)
        assert not machine.containers and not machine.networks and not machine.volumes

    run_virtual(body)


def test_a_node_that_had_no_power_has_lost_its_memory(tmp_path: Path) -> None:
    async def body(loop: VirtualLoop) -> None:
        machine = machine_of(loop)
        engine = SimulatedEngine(machine)
        await cluster(engine, tmp_path, ID)
        (memory_directory(ID) / "node-2").mkdir()
        instance = Instance("t", ID, tmp_path, "10.99.0.0/16", 29990, ())
        await sweep(engine, SimulatedHost(machine, ID), instance, "node-1")
        assert [path.name for path in memory_directory(ID).iterdir()] == ["node-2"]
        assert not machine.containers
        await remove_tree(engine, memory_directory(ID), ID)

    run_virtual(body)


async def test_what_containers_wrote_as_root_is_removed_by_a_container_for_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    class Engine:
        specs: ClassVar[list[ContainerSpec]] = []

        def __getattr__(self, name: str) -> Any:
            async def call(*arguments: Any) -> Any:
                if name == "create":
                    self.specs.append(arguments[0])
                return SimpleNamespace(running=False)

            return call

    monkeypatch.setattr("testbed.machines.cleanup.shutil.rmtree", refuse)
    monkeypatch.setattr("testbed.machines.cleanup.os.geteuid", lambda: 1000)
    await remove_tree(Engine(), tmp_path / "testbed-1", ID)
    spec, = Engine.specs
    assert spec.command == ("rm", "-rf", "--", "/state/testbed-1")
    assert [(mount.target, mount.source) for mount in spec.mounts] == [("/state", str(tmp_path))]
    assert spec.network == "none"
    assert spec.labels[labels.INSTANCE] == ID  # an interrupted one is found again


async def test_a_symlink_in_place_of_a_memory_volume_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(EnvironmentProblem):
        await remove_tree(None, tmp_path / "link", ID)  # type: ignore[arg-type]
    assert (tmp_path / "precious").exists()


def test_row31_a_hundred_nodes_share_one_network(tmp_path: Path) -> None:
    """Nodes are ranges of their cluster's only network, so the engine's pool of networks cannot run out of them."""
    instance = Instance("t", ID, tmp_path, "10.99.0.0/16", 29990, tuple(range(30000, 30016)))
    for _ in range(MAX_NODES):
        instance = instance.with_nodes((*instance.nodes, new_node(instance, "", "", "")))
    ranges = {node.pod_cidr for node in instance.nodes}
    assert len(ranges) == MAX_NODES
    assert all(cidr.startswith("10.99.") and int(cidr.split(".")[2]) < 128 for cidr in ranges)
    assert instance.gateway_address.rpartition(".")[0] + ".0/24" not in ranges


def test_row53_the_link_of_our_own_network_is_never_taken_down() -> None:
    assert one_per_network([os.getpid(), 2**22 - 1]) == ()


# --- logs (I13, row 36)


def test_row36_a_long_log_is_cut_and_its_end_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab") as writer:
        writer.write(b"a" * 50 + b"b" * 100)
        writer.flush()
        assert bound(log, 100)
        assert (log.stat().st_size, (tmp_path / "api.log.1").read_bytes()) == (0, b"b" * 100)
        writer.write(b"after")  # whoever has it open goes on at its start, without a hole
        writer.flush()
        assert log.read_bytes() == b"after"
        assert not bound(log, 100)
    assert not bound(tmp_path / "none.log", 100)


def test_row36_on_a_full_disk_the_log_is_cut_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("testbed.machines.logs.shutil.copyfileobj", full)
    log = tmp_path / "api.log"
    log.write_bytes(b"x" * 200)
    assert bound(log, 100)
    assert log.stat().st_size == 0
    assert list(tmp_path.iterdir()) == [log]


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


async def test_row36_logs_stay_bounded_while_a_process_chatters(tmp_path: Path) -> None:
    keeping = asyncio.get_running_loop().create_task(keep_bounded(tmp_path, 1000, 0.001))
    largest = 0
    with (tmp_path / "agent.log").open("ab", buffering=0) as writer:
        for _ in range(200):
            writer.write(b"y" * 100)
            await asyncio.sleep(0.002)
            largest = max(largest, size_of(tmp_path))
    keeping.cancel()
    assert largest < 200 * 100 / 2
