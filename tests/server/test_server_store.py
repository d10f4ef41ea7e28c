"""The store: versions, watch from any revision, bounds, and what survives a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import AlreadyExists, Conflict, EnvironmentProblem, Gone, NotFound
from testbed.store import Store

Json = dict[str, Any]


def put(store: Store, name: str, value: int = 0) -> int:
    obj: Json = {"metadata": {"name": name}, "value": value}
    if store.get("k", "", name) is None:
        return store.create("k", "", name, obj).revision
    return store.update("k", "", name, obj).revision


def test_each_write_has_a_new_higher_version_across_kinds() -> None:
    store = Store()
    first = store.create("a", "n", "x", {})
    second = store.create("b", "n", "x", {})
    third = store.update("a", "n", "x", {"metadata": {}})
    assert first.revision < second.revision < third.revision == store.revision
    assert third.value["metadata"]["resourceVersion"] == str(third.revision)


def test_wrong_writes_are_refused_and_leave_no_trace() -> None:
    store = Store()
    made = store.create("a", "", "x", {"value": 1})
    with pytest.raises(AlreadyExists):
        store.create("a", "", "x", {})
    with pytest.raises(Conflict):
        store.update("a", "", "x", {"value": 2}, expected=made.revision - 1)
    with pytest.raises(Conflict):
        store.delete("a", "", "x", expected=made.revision + 1)
    with pytest.raises(NotFound):
        store.update("a", "", "y", {})
    assert store.get("a", "", "x") is made and store.revision == made.revision


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40), st.integers(0, 40))
def test_replaying_changes_from_any_revision_gives_the_present(operations: list[tuple[str, bool]], cut: int) -> None:
    store = Store()
    seen: dict[str, int] = {}
    since = store.revision
    for number, (name, deletes) in enumerate(operations):
        if number == cut:
            since, seen = store.revision, {item.name: item.revision for item in store.list("k")}
        if deletes and store.get("k", "", name) is not None:
            store.delete("k", "", name)
        else:
            put(store, name, number)
    for change in store.watch("k", since=since).take():
        if change.type == "DELETED":
            del seen[change.stored.name]
        else:
            assert (change.type == "ADDED") == (change.stored.name not in seen)
            seen[change.stored.name] = change.revision
    assert seen == {item.name: item.revision for item in store.list("k")}


def test_history_is_bounded_and_says_gone_when_it_is_too_old() -> None:
    store = Store(history=3)
    first = put(store, "a")
    for number in range(10):
        put(store, "a", number)
    with pytest.raises(Gone):
        store.watch("k", since=first)
    assert [change.revision for change in store.watch("k", since=store.revision - 2).take()] == [
        store.revision - 1, store.revision]


def test_a_version_of_another_database_is_gone() -> None:
    store = Store()
    with pytest.raises(Gone):
        store.watch("k", since=store.revision + 5)


def test_writes_of_one_kind_do_not_age_the_history_of_another() -> None:
    store = Store(history=3)
    quiet = store.create("quiet", "", "x", {}).revision
    for number in range(50):
        put(store, "a", number)
    assert store.watch("quiet", since=quiet).take() == []


def test_a_reader_that_falls_behind_is_told_gone_and_never_slows_the_writer() -> None:
    store = Store()
    subscription = store.watch("k", limit=5)
    for number in range(6):
        put(store, "a", number)
    with pytest.raises(Gone):
        subscription.take()


def test_a_watch_of_one_namespace_sees_only_that() -> None:
    store = Store()
    subscription = store.watch("k", "mine")
    store.create("k", "other", "x", {})
    store.create("k", "mine", "x", {})
    assert [change.stored.namespace for change in subscription.take()] == ["mine"]


async def test_a_waiting_reader_wakes_on_a_write_and_on_close() -> None:
    store = Store()
    subscription = store.watch("k")
    revision = put(store, "a")
    assert [change.revision for change in await subscription.next()] == [revision]
    store.close()
    assert await subscription.next() == []


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    store = Store()
    store.create("k", "", "x", {"value": value})
    stored = store.get("k", "", "x")
    assert stored is not None and stored.fresh()["value"] == value


def test_a_lone_surrogate_does_not_break_the_database(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.create("k", "", "x", {"value": "\ud800"})
    store.close()
    stored = Store(tmp_path / "db").get("k", "", "x")
    assert stored is not None and stored.value["value"] == "\ud800"


def test_everything_is_there_after_a_restart_and_revisions_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    put(store, "a", 1)
    put(store, "b", 2)
    revision = store.delete("k", "", "b").revision
    store.close()
    again = Store(tmp_path / "db")
    assert again.revision == revision
    assert [item.name for item in again.list("k")] == ["a"]
    assert put(again, "c") > revision


def test_a_watch_survives_a_restart_when_nothing_was_missed(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    revision = put(store, "a")
    store.close()
    again = Store(tmp_path / "db")
    assert again.watch("k", since=revision).take() == []
    with pytest.raises(Gone):
        again.watch("k", since=revision - 1)


def test_the_database_is_the_owners_alone(tmp_path: Path) -> None:
    Store(tmp_path / "db")
    assert (tmp_path / "db").stat().st_mode & 0o077 == 0


def test_a_broken_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"this is no database" * 100)
    with pytest.raises(EnvironmentProblem, match="cannot be opened"):
        Store(tmp_path / "db")


WRITER = """
import sys
from testbed.store import Store
store = Store(sys.argv[1])
number = store.count("k")
while True:
    store.create("k", "", f"x{number}", {"value": number})
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("lines", [1, 7, 50, 200])
def test_an_acknowledged_write_survives_sigkill(tmp_path: Path, lines: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "db")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split("\n") if line.strip().isdigit()]
    process.wait()
    store = Store(tmp_path / "db")
    kept = {item.value["value"] for item in store.list("k")}
    # What was told is there; at most the one write whose telling was cut off is there beside it.
    assert set(told) <= kept <= {*told, len(told)}
