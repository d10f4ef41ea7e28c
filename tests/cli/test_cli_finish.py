"""How measuring commands end: what was measured is shown whatever becomes of its files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.cli.finish import finish, finish_study
from testbed.experiment.result import Result, Study, VariantResult, Verdict
from testbed.report import html

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def result(exit_code: int = 0) -> Result:
    return Result(run_id="crash-1", name="crash", started_at=STARTED, ended_at=STARTED, exit_code=exit_code,
                  verdict=Verdict.PASSED if exit_code == 0 else Verdict.OBJECTIVE_MISSED)


def study() -> Study:
    variants = tuple(VariantResult(name=name, platform=name, folder=f"{index}-{name}", result=result())
                     for index, name in enumerate(("testbed", "swarm"), start=1))
    return Study(run_id="crash-1", name="crash", started_at=STARTED, ended_at=STARTED, exit_code=0,
                 verdict=Verdict.PASSED, variants=variants)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Where no file can be made."""
    (tmp_path / "disk").write_text("")
    return tmp_path / "disk"


def test_all_that_was_asked_for_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(result(1), tmp_path, junit=tmp_path / "a.xml", markdown=tmp_path / "a.md") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "a.xml", "report.html"]
    told = capsys.readouterr()
    assert "crash" in told.out and str(tmp_path / "report.html") in told.err


@pytest.mark.parametrize(("measured", "expected"), [(0, 4), (1, 1)])
def test_a_full_disk_hides_no_result(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], measured: int, expected: int,
) -> None:
    assert finish(result(measured), full, output="json", junit=tmp_path / "a.xml") == expected
    told = capsys.readouterr()
    assert json.loads(told.out)["runId"] == "crash-1"
    assert "report.html cannot be written" in told.err and "report:" not in told.err
    assert (tmp_path / "a.xml").exists()  # each file by itself


def test_a_bug_in_a_page_hides_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(result: Result) -> str:
        raise KeyError("series")

    monkeypatch.setattr(html, "render", broken)
    assert finish_study(study(), tmp_path, markdown=tmp_path / "a.md") == 70
    told = capsys.readouterr()
    assert "crash" in told.out and "a bug of ours: KeyError('series')" in told.err
    assert (tmp_path / "report.html").exists() and (tmp_path / "a.md").exists()
    assert not (tmp_path / "1-testbed").exists()


def test_a_reader_that_has_gone_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("testbed.cli.output.out", gone)
    with pytest.raises(BrokenPipeError):
        finish(result(), tmp_path)
    assert (tmp_path / "report.html").exists()
