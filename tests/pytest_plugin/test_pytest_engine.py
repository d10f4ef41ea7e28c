"""The example that ships, on a real cluster that its session brings up and takes down."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path: sockets have little room for theirs."""
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        yield Path(folder)


@pytest.mark.engine
@pytest.mark.parametrize(("selected", "passed"), [
    ("dead_container", 1), pytest.param("", 2, marks=pytest.mark.long)])
def test_the_example_passes_and_leaves_nothing_behind(
    pytester: pytest.Pytester, state: Path, monkeypatch: pytest.MonkeyPatch, selected: str, passed: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TESTBED_NAME", raising=False)
    for name in ("web.yaml", "test_resilience.py"):
        shutil.copyfile(ROOT / "examples" / name, pytester.path / name)
    ran = pytester.runpytest_subprocess(
        "-p", "testbed.pytest_plugin", "-p", "no:cacheprovider", "--testbed-require", "-k", selected,
        "test_resilience.py", timeout=240)
    ran.assert_outcomes(passed=passed, deselected=2 - passed)
    results = list((state / "testbed" / "default" / "runs").glob("*/result.json"))
    assert len(results) == passed
