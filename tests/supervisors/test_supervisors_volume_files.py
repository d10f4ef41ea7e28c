"""Volumes of configuration as files that anybody in a container can read, and that stay inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.core.environment import MissingConfig
from testbed.errors import EnvironmentProblem
from testbed.supervisors.volume_files import write_volumes


def test_files_are_written_with_their_modes_and_are_readable_whatever_our_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        places = write_volumes(tmp_path / "v", {"conf": {"a": (b"1", 0o644), "deep/er/b": (b"2", 0o400)}})
    finally:
        os.umask(before)
    root = Path(places["conf"])
    assert ((root / "a").read_bytes(), (root / "deep" / "er" / "b").read_bytes()) == (b"1", b"2")
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes == {"a": 0o644, "deep": 0o755, "deep/er": 0o755, "deep/er/b": 0o400}
    assert root.stat().st_mode & 0o777 == 0o755


def test_a_path_that_leaves_its_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingConfig, match="outside"):
        write_volumes(tmp_path, {"conf": {"../x": (b"1", 0o644)}})
    assert not (tmp_path / "x").exists()


def test_a_volume_after_one_with_folders_is_beside_it_and_not_inside(tmp_path: Path) -> None:
    places = write_volumes(tmp_path, {"conf": {"deep/a": (b"1", 0o644)}, "secret": {"key": (b"2", 0o400)}})
    assert places == {"conf": str(tmp_path / "conf"), "secret": str(tmp_path / "secret")}
    assert sorted(path.name for path in (tmp_path / "conf").rglob("*")) == ["a", "deep"]


def test_a_disk_that_takes_no_files_is_told_in_a_word_that_drivers_understand(tmp_path: Path) -> None:
    (tmp_path / "volumes").write_text("in the way")
    with pytest.raises(EnvironmentProblem, match="cannot be written to"):
        write_volumes(tmp_path / "volumes" / "uid", {"conf": {"a": (b"1", 0o644)}})
