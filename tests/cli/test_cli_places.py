"""Places where nothing can be written are told before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.cli.main import main
from testbed.cli.places import check_places
from testbed.errors import EnvironmentProblem

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def said(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and messages of a command that says nothing else."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    told = capsys.readouterr()
    assert told.out == ""
    return ended.value.code, told.err


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TESTBED_NAME", raising=False)
    (tmp_path / "file").write_text("kept")
    return tmp_path / "state"


@pytest.mark.parametrize("experiment", ["crash.yaml", "chaos-toolkit.json"])
@pytest.mark.parametrize("out", ["/proc/nope", "file"])
def test_a_folder_that_cannot_be_made(
    experiment: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    platform = () if experiment.endswith(".json") else ("--platform", "simulation")
    code, told = said(("run", str(EXAMPLES / experiment), *platform, "--out", str(tmp_path / out)), capsys)
    assert code == 4 and "cannot be made" in told and out in told and "--out" in told
    assert "simulating" not in told and "a bug of ours" not in told


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
@pytest.mark.parametrize("place", ["/proc/x.xml", "file/x.xml", "."])
def test_a_report_that_cannot_be_written_costs_no_run(
    option: str, place: str, tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = said(("run", "crash", "--platform", "simulation", option, place), capsys)
    assert code == 4 and told.startswith(f"error: {option} ") and "cannot be written" in told
    assert "run 1" not in told and not state.exists()


def test_a_load_test_looks_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = said(("load", "web", "--junit", "/proc/x.xml"), capsys)
    assert code == 4 and "--junit /proc/x.xml: cannot be written" in told


def test_a_journal_is_looked_at_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = said(("run", str(EXAMPLES / "chaos-toolkit.json"), "--journal-path", "/proc/x.json"), capsys)
    assert code == 4 and "--journal-path /proc/x.json: cannot be written" in told


def test_to_look_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "behind")
    check_places({"a": tmp_path / "file", "b": tmp_path / "new", "c": tmp_path / "link", "d": None,
                  "e": Path(os.devnull)})
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "link").is_symlink()
    assert not (tmp_path / "new").exists() and not (tmp_path / "behind").exists()


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """Its reader would see the end of it, or nobody reads yet and this waited for ever."""
    os.mkfifo(tmp_path / "pipe")
    check_places({"--junit": tmp_path / "pipe"})


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(EnvironmentProblem, match="--junit"):
        check_places({"--junit": tmp_path / "one"})
