"""Earlier runs: what is listed of whole, half-written and strange folders, each read once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import keep

from testbed.api.run_journal import writer
from testbed.server import run_folders
from testbed.server.run_folders import MAX_RUNS, RunEntry, RunFolders, head

Json = dict[str, Any]
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)


def listed(root: Path) -> dict[str, Any]:
    return {entry["id"]: entry for entry in RunFolders(root).newest()}


# --- heads of files


@given(st.dictionaries(st.text(), VALUES), st.integers(0, 400), st.sampled_from([None, 1]))
def test_the_head_of_a_file_tells_what_is_in_it_whole(value: Json, length: int, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert head(text) == value
    told = head(text[:length])
    assert told.items() <= value.items()


@pytest.mark.parametrize("text", ["", "[1]", "nothing", "{", "[" * 100_000, '{"a":' + "[" * 100_000, '{"a" 1'])
def test_what_is_no_object_tells_nothing(text: str) -> None:
    assert head(text) == {}


def test_a_number_that_may_go_on_is_not_told() -> None:
    assert head('{"a": 1, "b": 12') == {"a": 1}


# --- the list


def test_the_newest_run_comes_first_with_its_verdict_and_report(tmp_path: Path) -> None:
    old = keep(tmp_path, "old", name="crash", startedAt="2026-01-01T12:00:00Z", verdict="passed", runs=[1] * 100_000)
    keep(tmp_path, "new", name="crash", startedAt="2026-01-02T12:00:00Z", verdict="objective missed")
    os.utime(old / "result.json", (1, 1))
    (old / "report.html").write_text("<p>")
    first, second = RunFolders(tmp_path).newest()
    assert (first["id"], first["verdict"], first["report"]) == ("new", "objective missed", "")
    assert second == {"id": "old", "experiment": "crash", "started": "2026-01-01T12:00:00Z", "verdict": "passed",
                      "problem": "", "running": False, "report": "report.html", "variants": []}


def test_a_study_names_its_variants_folders_and_no_other(tmp_path: Path) -> None:
    keep(tmp_path, "s", "study.json", name="ways", verdict="passed", variants=[
        {"name": "a", "folder": "1-a"}, {"name": "b", "folder": "../../b"}, {"folder": ""}, "c", {}])
    assert listed(tmp_path)["s"]["variants"] == ["1-a"]


@pytest.mark.parametrize("journal, running, verdict", [
    ({"state": "running", "pid": os.getpid()}, True, "running"),
    ({"state": "running", **writer()}, True, "running"),
    ({"state": "running", "pid": os.getpid(), "pidTicks": 1}, False, "broken off"),  # the number is another's by now
    ({"state": "running", "pid": 2**31 - 1}, False, "broken off"),
    ({"state": "running", "pid": "1"}, False, "broken off"), ({"state": "running"}, False, "broken off"),
    ({"state": "finished", "pid": os.getpid()}, False, "broken off"),
])
def test_a_run_without_a_result_still_runs_or_was_broken_off(
    tmp_path: Path, journal: Json, running: bool, verdict: str,
) -> None:
    keep(tmp_path, "r", "journal.json", experiment="crash", startedAt="2026-01-01T12:00:00Z", **journal)
    entry = listed(tmp_path)["r"]
    assert (entry["experiment"], entry["running"], entry["verdict"]) == ("crash", running, verdict)


def test_a_runner_that_dies_is_seen_though_its_files_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep(tmp_path, "r", "journal.json", state="running", pid=os.getpid())
    folders = RunFolders(tmp_path)
    assert folders.newest()[0]["running"]
    keep(tmp_path, "r", "journal.json", state="running", pid=2**31 - 1)
    assert not folders.newest()[0]["running"]


def test_half_written_and_strange_folders_are_told_or_left_out(tmp_path: Path) -> None:
    (keep(tmp_path, "half") / "result.json").write_text('{"schemaVersion": "x", "na')
    (keep(tmp_path, "binary") / "result.json").write_bytes(bytes(range(256)))
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(keep(tmp_path.parent, "elsewhere"))
    entries = listed(tmp_path)
    assert set(entries) == {"half", "binary"}
    assert entries["half"]["experiment"] == "" and entries["binary"]["problem"] == "result.json cannot be read"


def test_a_result_that_comes_later_is_seen(tmp_path: Path) -> None:
    folder = keep(tmp_path, "r", "journal.json", state="running", pid=os.getpid())
    folders = RunFolders(tmp_path)
    assert folders.newest()[0]["verdict"] == "running"
    keep(tmp_path, "r", name="crash", verdict="passed")
    assert folders.newest()[0]["verdict"] == "passed"
    (folder / "report.html").write_text("<p>")
    assert folders.newest()[0]["report"] == "report.html"


def test_the_list_has_an_end_and_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert RunFolders(tmp_path / "none").newest() == []
    for number in range(MAX_RUNS + 5):
        keep(tmp_path, f"run-{number}", name="x")
    assert len(RunFolders(tmp_path).newest()) == MAX_RUNS


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose files were read, and "all" where the whole folder was listed."""
    found: list[str] = []
    read_entry, iterdir = run_folders.read_entry, Path.iterdir

    def read(folder: Path) -> RunEntry:
        found.append(folder.name)
        return read_entry(folder)

    def list_all(folder: Path) -> Iterator[Path]:
        found.append("all")
        return iterdir(folder)

    monkeypatch.setattr(run_folders, "read_entry", read)
    monkeypatch.setattr(Path, "iterdir", list_all)
    return found


def test_who_asks_for_one_run_makes_no_other_be_read(tmp_path: Path, looked: list[str]) -> None:
    for number in range(MAX_RUNS + 5):
        keep(tmp_path, f"run-{number}", name="x")
    folders = RunFolders(tmp_path)
    assert all(folders.find(run) is not None for run in ("run-0", f"run-{MAX_RUNS}"))
    assert looked == ["run-0", f"run-{MAX_RUNS}"]
    assert folders.find("none") is folders.find("..") is folders.find(".") is None


def test_only_a_run_that_goes_on_is_read_again_and_what_is_not_shown_never(tmp_path: Path, looked: list[str]) -> None:
    for number in range(MAX_RUNS + 5):
        folder = keep(tmp_path, f"run-{number}", name="x")
        os.utime(folder, (number, number))
    keep(tmp_path, "now", "journal.json", state="running", pid=os.getpid())
    folders = RunFolders(tmp_path)
    assert len(folders.newest()) == MAX_RUNS
    assert len(looked) == MAX_RUNS + 1 and not {"run-0", "run-5"} & set(looked)
    looked.clear()
    assert folders.newest()[0]["id"] == "now"
    assert looked == ["now"]
    (tmp_path / "later").mkdir()
    folders.newest()
    keep(tmp_path, "later", name="x")  # what is written into a folder does not change the one that it is in
    assert folders.newest()[0]["id"] == "later"


def test_of_runs_that_are_whole_only_the_folders_are_looked_at_again(
    tmp_path: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everybody waits while the list is made."""
    asked: list[Path] = []
    stat = Path.stat

    def counted(path: Path, **more: Any) -> os.stat_result:
        asked.append(path)
        return stat(path, **more)

    for number in range(MAX_RUNS):
        (keep(tmp_path, f"run-{number}", name="x", verdict="passed") / "report.html").touch()
    folders = RunFolders(tmp_path)
    first = folders.newest()
    looked.clear()
    monkeypatch.setattr(Path, "stat", counted)
    assert folders.newest() == first and len(first) == MAX_RUNS
    assert sorted(asked) == sorted([tmp_path, *(tmp_path / entry["id"] for entry in first)]) and not looked
    os.utime(keep(tmp_path, "run-7", name="x", verdict="failed"), (5, 5))  # the file was replaced
    assert {entry["id"]: entry["verdict"] for entry in folders.newest()}["run-7"] == "failed"
    assert looked == ["run-7"]
