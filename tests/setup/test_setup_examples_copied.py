"""``testbed examples --copy``: what a newcomer starts from, and never at the cost of his own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli.experiment import example_files
from testbed.cli.main import main
from testbed.experiment.loading import load_experiment


def copy_to(folder: Path, *example: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["examples", *example, "--copy", str(folder)])
    return int(str(ended.value.code))


def test_the_examples_are_copied_with_their_manifests_and_locustfile(tmp_path: Path) -> None:
    assert copy_to(tmp_path / "new" / "folder") == 0
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert {"quickstart.yaml", "web.yaml", "locustfile.py"} <= names
    assert not any(name.startswith("__") for name in names)
    assert copy_to(tmp_path / "new" / "folder") == 0, "the same again changes nothing"


@pytest.mark.parametrize("file", example_files(), ids=lambda file: file.stem)
def test_one_example_is_copied_with_what_it_needs_and_nothing_else(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert copy_to(tmp_path, file.stem) == 0
    copied = load_experiment(tmp_path / file.name)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in copied.files}
    assert f"testbed run {tmp_path / file.name}" in capsys.readouterr().err


def test_an_example_that_is_not_there_copies_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy_to(tmp_path / "new", "crahs") == 3
    assert "crash" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_files_of_the_user_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.yaml").write_text("mine")
    assert copy_to(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["web.yaml"]
    assert (tmp_path / "web.yaml").read_text() == "mine"
    assert "web.yaml" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert copy_to(tmp_path / "file") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
