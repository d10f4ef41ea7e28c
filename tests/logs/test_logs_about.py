"""Lines of our own processes about one thing: from a fault by its victim's id to the recovery, and no further."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.log_lines import LogLine
from testbed.cli.log_about import Trail
from testbed.cli.log_system import SystemLog, process_of

SET = "ReplicaSet/default/web"
U1 = {"pod": "default/web-1", "pod_uid": "uid-of-web-1", "node": "node-1", "owner": SET}
U2 = {"pod": "default/web-2", "pod_uid": "uid-of-web-2", "node": "node-2", "owner": SET}
U3 = {"pod": "default/web-3", "pod_uid": "uid-of-web-3", "node": "node-2", "owner": SET}


def lines(*told: tuple[str, dict[str, str]]) -> list[LogLine]:
    return [LogLine(number, "", "api", text, fields=fields) for number, (text, fields) in enumerate(told)]


STORY = lines(
    ("made web-1", {"reason": "SuccessfulCreate", "object": SET, **U1}),
    ("made web-2", {"reason": "SuccessfulCreate", "object": SET, **U2}),
    ("web-1 is ready", U1),
    ("web-2 is ready", U2),
    ("web-1 is hit", {"fault": "PodChaos/default/kill", "pod": "default/web-1", "pod_uid": "uid-of-web-1"}),
    ("web-1 is stopped", {"reason": "Killing", "container_id": "c0ffee0123", **U1}),
    ("made web-3", {"reason": "SuccessfulCreate", "object": SET, **U3}),
    ("another is made", {"reason": "SuccessfulCreate", "object": "ReplicaSet/default/other", "pod_uid": "uid-of-o",
                         "pod": "default/other-1", "owner": "ReplicaSet/default/other"}),
    ("the gateway has no more web-1", {"pod": "default/web-1", "pod_uid": "uid-of-web-1"}),
    ("web-3 is ready", U3),
    ("the gateway has web-3", {"pod": "default/web-3", "pod_uid": "uid-of-web-3"}),
    ("node-1 is silent", {"node": "node-1"}),
)


def about(word: str, story: list[LogLine] = STORY) -> list[str]:
    trail = Trail(word)
    return [line.message for line in story if trail.takes(line)]


REPLACED = ["made web-3", "web-3 is ready", "the gateway has web-3"]
ONE = ["made web-1", "web-1 is ready", "web-1 is hit", "web-1 is stopped", "the gateway has no more web-1"]


@pytest.mark.parametrize("word", ["web-1", "default/web-1", "pod/web-1", "po/default/web-1", "uid-of-web-1"])
def test_a_pod_is_followed_from_its_making_to_what_was_made_in_its_place(word: str) -> None:
    assert sorted(about(word)) == sorted(ONE + REPLACED)


@pytest.mark.parametrize("word", ["kill", "PodChaos/kill", "default/kill", "PodChaos/default/kill", "fault/kill"])
def test_a_fault_is_followed_by_its_victims_id_to_the_recovery(word: str) -> None:
    assert about(word) == ["web-1 is hit", "web-1 is stopped", "made web-3", "the gateway has no more web-1",
                           "web-3 is ready", "the gateway has web-3"]


def test_a_container_leads_to_its_pod() -> None:
    assert about("c0ffee")[0] == "web-1 is stopped" and "web-3 is ready" in about("c0ffee")


def test_a_node_is_all_that_happens_on_it_and_what_is_made_for_the_pods_it_lost() -> None:
    assert about("node/node-1") == ["made web-1", "web-1 is ready", "web-1 is stopped", *REPLACED, "node-1 is silent"]
    assert about("node/web-1") == []


def test_an_owner_is_only_what_names_it() -> None:
    assert about("ReplicaSet/web") == ["made web-1", "made web-2", "made web-3"]


def test_a_fault_of_a_node_is_followed_by_its_name() -> None:
    story = lines(
        ("node-1 is hit", {"fault": "NodeChaos/default/kill", "node": "node-1"}),
        ("node-1 is silent", {"node": "node-1", "reason": "NodeNotReady"}),
        ("web-1 is unready", {"reason": "NodeNotReady", **U1}),
        ("node-2 is well", {"node": "node-2"}),
        ("made web-3", {"reason": "SuccessfulCreate", "object": SET, **U3}),
        ("web-3 is ready", U3))
    assert about("NodeChaos/kill", story) == [line.message for line in story if "well" not in line.message]


def test_a_pod_that_was_scaled_up_meanwhile_stands_for_nobody() -> None:
    story = lines(("made web-1", {"reason": "SuccessfulCreate", "object": SET, **U1}),
                  ("made web-2", {"reason": "SuccessfulCreate", "object": SET, **U2}), ("web-2 is ready", U2))
    assert about("web-1", story) == ["made web-1"]


# --- reading them

def write(file: Path, *told: LogLine) -> None:
    with file.open("a") as stream:
        stream.writelines(f"{line.to_json()}\n" for line in told)


@pytest.mark.parametrize(("name", "process"), [
    ("api.log", "api"), ("agent-node-1.log", "agent/node-1"), ("cable-node-1.log.1", "cable/node-1"),
    ("chaos.log", "chaos"), ("room.log.1", "room")])
def test_a_file_says_whose_it_is(name: str, process: str) -> None:
    assert process_of(Path(name)) == process


@given(owners=st.lists(st.tuples(st.sampled_from(["api", "chaos", "agent-n1"]), st.booleans()), max_size=30),
       max_lines=st.integers(1, 40))
def test_all_lines_of_all_processes_come_in_the_order_of_their_times(
    tmp_path_factory: pytest.TempPathFactory, owners: list[tuple[str, bool]], max_lines: int,
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    told = [LogLine(number, "", process, f"line {number}") for number, (process, _) in enumerate(owners)]
    older = {process: True for process, _ in owners}
    for line, (process, cut) in zip(told, owners, strict=True):
        older[process] = older[process] and not cut
        write(directory / f"{process}.log{'.1' if older[process] else ''}", line)
    for process in older:
        (directory / f"{process}.log").touch()
    found, left_out = SystemLog(directory).written(max_lines)
    assert found == told[-max_lines:] and left_out == max(0, len(told) - max_lines)


def test_what_was_before_is_not_shown_and_says_whom_it_is_about(tmp_path: Path) -> None:
    write(tmp_path / "api.log", *STORY)
    found, _ = SystemLog(tmp_path, since_ns=8, word="PodChaos/kill").written(100)
    assert [line.message for line in found] == about("PodChaos/kill")[3:]


def test_the_log_of_a_nodes_own_engine_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "engine-node-1.log").write_text("dockerd says\n")
    assert SystemLog(tmp_path).written(10) == ([], 0)


async def test_what_is_added_is_told_once_while_logs_are_cut_and_processes_come(tmp_path: Path) -> None:
    told: list[str] = []
    log, api = SystemLog(tmp_path), tmp_path / "api.log"
    write(api, LogLine(1, "", "api", "one"))
    assert [line.message for line in log.written(10)[0]] == ["one"]
    following = asyncio.create_task(log.follow(lambda line: told.append(line.message)))

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while len(told) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    write(api, LogLine(2, "", "api", "two"))
    write(tmp_path / "chaos.log", LogLine(3, "", "chaos", "three"))
    await until(2)
    write(api, LogLine(4, "", "api", "four"))
    api.rename(tmp_path / "api.log.1")
    write(api, LogLine(5, "", "api", "five"))
    with api.open("a") as stream:
        stream.write('{"half": ')
    await until(4)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    assert told == ["two", "three", "four", "five"]
