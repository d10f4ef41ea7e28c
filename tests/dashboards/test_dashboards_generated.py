"""The committed JSON is what its source makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.boards import FILES, FOLDER


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FOLDER / "generate.py"), *arguments], capture_output=True, text=True,
                          check=False)


def test_committed_json_is_up_to_date() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_what_is_stale_missing_or_too_much_is_named(tmp_path: Path) -> None:
    if not FILES:
        pytest.fail("no dashboard is committed")
    for file in FILES:
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "nodes.json").write_text("{}")
    (tmp_path / "rollouts.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    done = generate("--check", "--folder", str(tmp_path))
    assert done.returncode == 1
    assert "nodes.json" in done.stderr and "rollouts.json" in done.stderr and "old.json" in done.stderr
    assert "overview.json" not in done.stderr and (tmp_path / "old.json").exists()
    assert generate("--folder", str(tmp_path)).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name for file in FILES]
    assert generate("--check", "--folder", str(tmp_path)).returncode == 0
