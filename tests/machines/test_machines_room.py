"""The machine room with small real processes in place of the cluster's: adoption, power, nodes, the control socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance, save_instance
from testbed.api.process_identity import start_ticks
from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.machines.__main__ import remembered_owner
from testbed.machines.cleanup import end_processes, instance_ids, processes_of, remove_state
from testbed.machines.client import RoomClient, room_status
from testbed.machines.logs import MAX_BYTES
from testbed.machines.new_node import new_node
from testbed.machines.room import Room
from testbed.machines.room_service import handle
from testbed.machines.wire import serve as serve_socket
from testbed.node.boots import boots
from testbed.runtime.host_protocol import ProcessIdentity, RunResult

STUB = """
import json, os, subprocess, sys, time
module, arguments = sys.argv[1], sys.argv[2:]
if module == "testbed.machines.errand":
    directory = arguments[arguments.index("--instance") + 1]
    with open(os.path.join(directory, "errands"), "a") as stream:
        stream.write(arguments[-1] + "\\n")
    answer = {}
    if arguments[-1] == "gateway":
        child = subprocess.Popen([sys.executable, "-S", __file__, "gateway", "--instance", directory],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        ticks = open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()[19]
        answer = {"pid": child.pid, "ticks": int(ticks)}
    print(json.dumps(answer))
else:
    time.sleep(600)
"""


class FakeHost:
    """Remembers what was asked; kills what was put into a cgroup."""

    def __init__(self) -> None:
        self.groups: dict[str, set[int]] = {}
        self.acts: list[str] = []

    async def create_cgroup(self, cgroup: str) -> None:
        self.groups.setdefault(cgroup, set())

    async def join_cgroup(self, cgroup: str, pid: int) -> None:
        self.groups[cgroup].add(pid)

    async def pids_in(self, cgroup: str) -> tuple[int, ...]:
        return tuple(pid for name, pids in self.groups.items() if name.startswith(cgroup) for pid in pids)

    async def kill_cgroup(self, cgroup: str) -> None:
        self.acts.append(f"kill {cgroup}")
        for pid in await self.pids_in(cgroup):
            if start_ticks(pid) is not None:
                os.kill(pid, signal.SIGKILL)

    async def identify(self, pid: int) -> ProcessIdentity:
        return ProcessIdentity(pid, 1)

    async def run_in(self, process: ProcessIdentity, argv: tuple[str, ...], **more: Any) -> RunResult:
        self.acts.append(" ".join(argv))
        return RunResult(0, b"", b"")


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Path]:
    found = tmp_path / "t"
    (found / "logs").mkdir(parents=True)
    (tmp_path / "stub.py").write_text(STUB)
    instance = Instance("t", "0123456789ab", found, "10.99.0.0/16", 29990, tuple(range(30000, 30016)))
    for _ in range(2):
        instance = instance.with_nodes((*instance.nodes, new_node(instance, "", "", "")))
    save_instance(instance)
    yield found
    await end_processes(found, {os.getpid()})


def room_in(directory: Path, host: FakeHost) -> Room:
    return Room(load_instance(directory), host, root=True,  # type: ignore[arg-type]
                environment=dict(os.environ), command=(sys.executable, "-S", str(directory.parent / "stub.py")))


async def until(condition: Callable[[], Any], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def running(room: Room, count: int) -> dict[str, int]:
    """Waits until so many processes run; name to pid."""
    async with asyncio.timeout(15):
        while True:
            found = {state.name: state.pid for state in (await room.status()).processes if state.running}
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


async def test_starts_everything_and_a_successor_adopts_it(directory: Path) -> None:
    host = FakeHost()
    room = room_in(directory, host)
    await room.start()
    before = await running(room, 7)
    assert set(before) == {"api", "chaos", "gateway", "agent-node-1", "agent-node-2", "cable-node-1", "cable-node-2"}
    assert host.groups["/testbed-0123456789ab/node-1/agent"] == {before["agent-node-1"]}
    await room.close()
    successor = room_in(directory, host)
    await successor.start()
    after = await running(successor, 7)
    del before["gateway"], after["gateway"]  # the stub of the errand starts a new one
    assert after == before
    await successor.close()


async def test_the_api_is_in_a_cgroup_of_its_own_and_is_held_down_until_let_up(directory: Path) -> None:
    host = FakeHost()
    room = room_in(directory, host)
    await room.start()
    before = await running(room, 7)
    assert host.groups["/testbed-0123456789ab/_api"] == {before["api"]}
    await handle(room, "PUT", "/processes/api/down", {"key": "k", "down": True, "deadline_s": 60})
    await running(room, 6)
    api = next(state for state in (await room.status()).processes if state.name == "api")
    assert (api.running, api.held_down) == (False, ("k",))
    await handle(room, "PUT", "/processes/api/down", {"key": "k", "down": False})
    assert (await running(room, 7))["api"] != before["api"]
    with pytest.raises(InvalidInput, match="may not be held down"):
        await room.hold_down("chaos", "k", deadline_s=1)
    await room.close()


async def test_power_off_cuts_and_kills_and_stays_off_for_a_successor(directory: Path) -> None:
    host = FakeHost()
    room = room_in(directory, host)
    await room.start()
    before = await running(room, 7)
    await room.set_power("node-1", on=False)
    await room.set_power("node-1", on=False)
    assert host.acts[0] == "kill /testbed-0123456789ab/node-1"
    assert start_ticks(before["agent-node-1"]) is None
    await room.close()
    successor = room_in(directory, host)
    await successor.start()
    await running(successor, 6)
    state = next(node for node in (await successor.status()).nodes if node.name == "node-1")
    assert not state.powered
    assert boots(successor.instance.node_directory("node-1")) == 0
    await successor.set_power("node-1", on=True)
    assert boots(successor.instance.node_directory("node-1")) == 1
    assert "agent-node-1" in await running(successor, 7)
    assert "sweep" in (directory / "errands").read_text().split()
    await successor.close()


async def test_the_room_keeps_the_logs_of_all_bounded(directory: Path) -> None:
    log = directory / "logs" / "agent-node-1.log"
    log.write_bytes(b"x" * (MAX_BYTES + 1))
    room = room_in(directory, FakeHost())
    await room.start()
    await until(lambda: log.stat().st_size <= MAX_BYTES)
    assert log.with_name("agent-node-1.log.1").stat().st_size == MAX_BYTES
    await room.close()


async def test_gateway_that_died_is_made_again(directory: Path) -> None:
    room = room_in(directory, FakeHost())
    await room.start()
    pid = (await running(room, 7))["gateway"]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: start_ticks(pid) is None)
    assert (await running(room, 7))["gateway"] != pid
    await room.close()


async def test_nodes_come_and_go_over_the_control_socket(directory: Path) -> None:
    room = room_in(directory, FakeHost())
    await room.start()
    server = await serve_socket(directory / "room.sock", partial(handle, room))
    client = RoomClient(directory / "room.sock")
    assert await client.add_node() == "node-3"
    assert await client.add_node("extra", cpu="2", memory="1Gi") == "extra"
    assert load_instance(directory).node("extra").cpu == "2"
    with pytest.raises(InvalidInput, match="already"):
        await client.add_node("extra")
    with pytest.raises(InvalidInput, match="cannot be a name"):
        await client.add_node("No/Name")
    await client.remove_node("node-2")
    assert [node.name for node in load_instance(directory).nodes] == ["node-1", "node-3", "extra"]
    assert await client.add_node() == "node-2"
    ranges = [node.pod_cidr for node in load_instance(directory).nodes]
    assert len(set(ranges)) == len(ranges)
    with pytest.raises(InvalidInput, match="node-9"):
        await client.set_power("node-9", on=False)
    assert (await asyncio.to_thread(room_status, directory / "room.sock")).id == "0123456789ab"
    server.close()
    await room.close()


async def test_room_that_is_not_there_is_an_environment_problem(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="does not answer"):
        await RoomClient(tmp_path / "room.sock").status()


async def test_control_socket_refuses_nonsense(directory: Path) -> None:
    room = room_in(directory, FakeHost())
    server = await serve_socket(directory / "room.sock", partial(handle, room))
    for request, code in ((b"GET /nothing HTTP/1.1\r\n\r\n", b" 404 "),
                          (b"PUT /nodes/node-1/power HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", b" 400 "),
                          (b"POST /nodes HTTP/1.1\r\ncontent-length: 3\r\n\r\n[1]", b" 400 ")):
        reader, writer = await asyncio.open_unix_connection(directory / "room.sock")
        writer.write(request)
        answer = await reader.read()
        assert code in answer.partition(b"\r\n")[0] + b" "
        assert "message" in json.loads(answer.partition(b"\r\n\r\n")[2])
        writer.close()
    server.close()


async def test_everything_of_a_cluster_is_found_and_ended_without_the_room(directory: Path) -> None:
    room = room_in(directory, FakeHost())
    await room.start()
    await running(room, 7)
    await room.close()
    (directory / "processes.json").unlink()
    assert len(processes_of(directory)) == 7
    await end_processes(directory, {os.getpid()})
    assert processes_of(directory) == {}


def test_state_goes_and_runs_stay(tmp_path: Path) -> None:
    directory = tmp_path / "t"
    (directory / "runs" / "1").mkdir(parents=True)
    (directory / "logs").mkdir()
    (directory / "instance.json").write_text("{")
    remove_state(directory)
    assert [entry.name for entry in directory.iterdir()] == ["runs"]
    remove_state(directory)
    (directory / "runs" / "1").rmdir()
    remove_state(directory)
    assert not directory.exists()
    remove_state(directory)


async def test_id_is_known_from_half_an_instance_file(directory: Path) -> None:
    text = (directory / "instance.json").read_text()
    (directory / "instance.json").write_text(text[:60])
    assert instance_ids(directory) == {"0123456789ab"}


def test_room_that_is_started_again_still_knows_for_whom_the_cluster_was_made(tmp_path: Path) -> None:
    file = tmp_path / "owner"
    assert remembered_owner(file, None) is None
    assert remembered_owner(file, "12:345") == (12, 345)
    assert remembered_owner(file, None) == (12, 345)
    file.write_text("half")
    assert remembered_owner(file, None) is None
