"""A real cluster as the machine room makes it: up, power, nodes, owners, and down whatever has died."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cluster import unique_name

from testbed.api import labels
from testbed.api.instance import Instance, memory_directory
from testbed.api.instance_files import instance_directory
from testbed.errors import EnvironmentProblem
from testbed.machines.cleanup import processes_of
from testbed.machines.client import RoomClient, room_status
from testbed.machines.room_start import start_room
from testbed.machines.shape import Shape
from testbed.machines.up import bring_up, take_down
from testbed.runtime.factory import open_engine

pytestmark = pytest.mark.engine
NAME = unique_name("machines")
OWNED = unique_name("owner")
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "nodeName": "node-1", "volumes": [{"name": "fast", "emptyDir": {"medium": "Memory"}}],
        "containers": [{"name": "app", "image": "sample:v1",
                        "volumeMounts": [{"name": "fast", "mountPath": "/fast"}]}],
    },
}


@pytest.fixture(scope="module", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("st")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        yield home


@pytest.fixture(scope="module")
def cluster(state_home: Path) -> Iterator[Instance]:
    try:
        yield bring_up(NAME, Shape(nodes=2))
    finally:
        take_down(NAME)


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def engine_objects(identity: str) -> tuple[int, int]:
    """How many containers and networks of this instance there are."""

    async def count() -> tuple[int, int]:
        engine = open_engine()
        try:
            mine = {labels.INSTANCE: identity}
            return len(await engine.list(mine)), len(await engine.networks(mine))
        finally:
            await engine.close()

    return asyncio.run(count())


def assert_nothing_left(instance: Instance) -> None:
    assert engine_objects(instance.id) == (0, 0)
    assert processes_of(instance.directory) == {}
    assert not instance.directory.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/testbed-{instance.id}"))
    assert not list(Path("/sys/fs/cgroup").glob(f"testbed-{instance.id}"))
    assert not Path(f"/sys/class/net/{instance.bridge}").exists()
    assert not memory_directory(instance.id).exists()


async def pod_address(instance: Instance) -> str:
    """Makes the pod where it is missing, and waits until it has an address and answers."""
    from testbed.api.resources import PODS
    from testbed.client.aio import HttpClient
    from testbed.errors import NotFound

    client = HttpClient.of_instance(instance)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    pod = await client.get(PODS, "web", "default")
                except NotFound:  # also one that was being evicted a moment ago
                    pod = await client.create(PODS, POD, "default")
                address = pod.get("status", {}).get("podIP")
                if address and "deletionTimestamp" not in pod["metadata"] and _answers(str(address)):
                    return str(address)
                await asyncio.sleep(0.1)
    finally:
        await client.close()


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 8080), timeout=1):
            return True
    except OSError:
        return False


def test_second_up_changes_nothing_and_wakes_a_dead_room(cluster: Instance) -> None:
    with pytest.raises(EnvironmentProblem, match="already up"):
        bring_up(NAME, Shape(nodes=1))
    before = room_status(cluster.room_socket)
    os.kill(before.room_pid, signal.SIGKILL)
    with pytest.raises(EnvironmentProblem, match="started again"):
        bring_up(NAME, Shape(nodes=1))
    pids = {state.name: state.pid for state in before.processes}
    until(lambda: _pids(cluster) == pids)
    assert start_room(cluster) == room_status(cluster.room_socket).room_pid


def _pids(instance: Instance) -> dict[str, int]:
    try:
        return {state.name: state.pid for state in room_status(instance.room_socket).processes}
    except EnvironmentProblem:
        return {}


def test_node_without_power_is_silent_on_the_wire(cluster: Instance) -> None:
    address = asyncio.run(pod_address(cluster))
    room = RoomClient(cluster.room_socket)
    with socket.create_connection((address, 8080), timeout=5) as connection:
        asyncio.run(room.set_power("node-1", on=False))
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)  # neither FIN nor RST came
    with pytest.raises((TimeoutError, OSError)) as caught:
        socket.create_connection((address, 8080), timeout=1)
    assert not isinstance(caught.value, ConnectionRefusedError)
    assert not room_status(cluster.room_socket).nodes[0].agent_pid
    asyncio.run(room.set_power("node-1", on=True))
    until(lambda: room_status(cluster.room_socket).nodes[0].agent_pid)


def listening(pids: set[int]) -> set[str]:
    """Addresses of this machine on which one of these processes listens (TCP, both families)."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(descriptor.readlink()))
            except OSError:
                continue
    found = set()
    for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                raw = bytes.fromhex(words[1].partition(":")[0])
                found.add(socket.inet_ntop(family, raw[::-1] if family == socket.AF_INET else raw))
    return found


def test_security_row1_everything_listens_on_loopback_and_files_are_the_owners(cluster: Instance) -> None:
    until(lambda: all(state.running for state in room_status(cluster.room_socket).processes))
    assert listening(set(processes_of(cluster.directory))) == {"127.0.0.1"}
    assert stat.S_IMODE(cluster.directory.stat().st_mode) == 0o700
    secret = [cluster.token_file, cluster.agent_token_file, cluster.certificate_key, cluster.kubeconfig]
    assert [oct(file.stat().st_mode & 0o077) for file in secret] == ["0o0"] * len(secret)


def test_nodes_come_and_go(cluster: Instance) -> None:
    room = RoomClient(cluster.room_socket)
    name = asyncio.run(room.add_node())
    until(lambda: next(node for node in room_status(cluster.room_socket).nodes if node.name == name).agent_pid)
    asyncio.run(room.remove_node(name))
    assert name not in [node.name for node in room_status(cluster.room_socket).nodes]
    assert not cluster.cable_socket(name).exists()


def test_down_after_every_process_was_killed_and_with_half_an_instance_file(cluster: Instance) -> None:
    asyncio.run(pod_address(cluster))  # the pod of an earlier test may have been evicted from its node without power
    assert memory_directory(cluster.id).exists()
    for pid in processes_of(cluster.directory):
        os.kill(pid, signal.SIGKILL)
    cluster.file.write_text(cluster.file.read_text()[:40])
    take_down(NAME)
    assert_nothing_left(cluster)
    take_down(NAME)


OWNER = """
import os, sys, time
from testbed.machines.shape import Shape
from testbed.machines.up import bring_up
bring_up(sys.argv[1], Shape(nodes=1), owner_pid=os.getpid())
print("up", flush=True)
time.sleep(600)
"""


@contextmanager
def running(script: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", script, OWNED], stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        take_down(OWNED)


def test_cluster_ends_with_the_process_it_was_made_for() -> None:
    with running(OWNER) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        directory = instance_directory(OWNED)
        assert processes_of(directory)
        process.kill()
        process.wait()
        until(lambda: not directory.exists() and not processes_of(directory))


def test_interrupted_up_takes_away_what_it_made() -> None:
    with running(OWNER) as process:
        directory = instance_directory(OWNED)
        until(lambda: (directory / "room.sock").exists())
        identity = (directory / "id").read_text()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode != 0
        assert not directory.exists() and engine_objects(identity) == (0, 0)


def test_what_lies_in_the_way_is_said_and_nothing_is_made(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = state_home / ("x" * 90)
    monkeypatch.setenv("XDG_STATE_HOME", str(deep))
    with pytest.raises(EnvironmentProblem, match="too long"):
        bring_up("test-deep", Shape(nodes=1))
    assert not (deep / "testbed" / "test-deep").exists()
    monkeypatch.setattr("testbed.machines.shape.GATEWAY_IMAGE", "testbed-no-such-image:1")
    with pytest.raises(EnvironmentProblem, match="is missing") as caught:
        bring_up("test-image", Shape(nodes=1))
    assert "testbed setup" in caught.value.hint
