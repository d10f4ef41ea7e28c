"""docs/comparison.md says what the results file says, and a page is made of whatever is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.report_sample import STARTED, sample_result

import benchmarks.meter.__main__ as meter
from benchmarks.comparison.__main__ import fill
from benchmarks.comparison.document import page
from benchmarks.comparison.plan import RECOVERIES, SHIPPED
from benchmarks.comparison.records import Record, Records
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import EXIT_CODES, RunResult, Study, VariantResult, Verdict
from testbed.experiment.runner import ExperimentRun

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_results_files() -> None:
    records = Records(ROOT / "benchmarks" / "comparison" / "results.jsonl")
    assert (ROOT / "docs" / "comparison.md").read_text() == page(list(records.read()))


def test_every_experiment_that_is_compared_can_be_read() -> None:
    for item in (*RECOVERIES, *SHIPPED):
        loaded = load_experiment(item.file)
        assert item.step in [step.name for step in loaded.experiment.spec.method]


def recorded(tmp_path: Path, runs: int) -> list[Record]:
    """The sample's crash as if it were the comparison's, on two platforms."""
    records = Records(tmp_path / "results.jsonl")
    for platform in ("testbed", "compose"):
        records.append("crash", VariantResult(name=platform, platform=platform, timing=(("restart", "at once"),),
                                              result=sample_result(runs)))
    return list(records.read())


def test_a_row_for_each_platform_with_its_interval_and_its_timers(tmp_path: Path) -> None:
    lines = page(recorded(tmp_path, 6)).splitlines()
    rows = [line for line in lines if line.startswith(("| testbed | 6 |", "| compose | 6 |"))]
    assert len(rows) == 2 and all("–" in row for row in rows)
    assert "| testbed | restart at once |" in lines


def test_what_was_broken_off_while_it_was_written_is_not_read(tmp_path: Path) -> None:
    recorded(tmp_path, 2)
    file = tmp_path / "results.jsonl"
    file.write_text(file.read_text() + '{"comparison": "cra')
    assert len(list(Records(file).read())) == 4
    assert Records(file).count("crash", "testbed") == 2


@pytest.mark.parametrize("bad", [
    {"void_reason": "stolen from"}, {"verdict": Verdict.INCONCLUSIVE}, {"verdict": Verdict.NO_EFFECT}])
def test_runs_that_cannot_be_trusted_are_not_recorded(tmp_path: Path, bad: dict[str, object]) -> None:
    result = sample_result(3)
    runs = (result.runs[0].model_copy(update=bad), *result.runs[1:])
    records = Records(tmp_path / "results.jsonl")
    records.append("crash", VariantResult(name="testbed", platform="testbed",
                                          result=result.model_copy(update={"runs": runs})))
    assert [item.run.number for item in records.read()] == [2, 3] and records.count("crash", "testbed") == 2


def study(verdict: Verdict) -> Study:
    """Two variants with three runs each, of a command that ended so."""
    result = sample_result(3)
    return Study(run_id="r", name="crash", started_at=STARTED, ended_at=STARTED, verdict=verdict,
                 exit_code=EXIT_CODES[verdict], variants=tuple(
                     VariantResult(name=name, platform=name, result=result) for name in ("testbed", "compose")))


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verdict], None]:
    """How every study ends from now on."""
    def ends(verdict: Verdict) -> None:
        async def run(self: ExperimentRun) -> Study:
            return study(verdict)

        monkeypatch.setattr(ExperimentRun, "run", run)
    return ends


def test_an_interrupted_comparison_ends_at_once_and_keeps_nothing_of_its_round(
    tmp_path: Path, ending: Callable[[Verdict], None],
) -> None:
    records = Records(tmp_path / "results.jsonl")
    comparison = replace(RECOVERIES[0], platforms=("testbed", "compose"))
    ending(Verdict.INTERRUPTED)
    with pytest.raises(SystemExit) as left:
        fill(comparison, 3, records, tmp_path / "runs")
    assert left.value.code == 130 and list(records.read()) == []
    ending(Verdict.PASSED)
    fill(comparison, 3, records, tmp_path / "runs")
    assert [records.count(comparison.name, platform) for platform in comparison.platforms] == [3, 3]


@pytest.mark.parametrize("verdict", [Verdict.INTERRUPTED, Verdict.ENVIRONMENT])
def test_a_pair_that_was_not_carried_out_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Callable[[Verdict], None], verdict: Verdict,
) -> None:
    ending(verdict)
    results = tmp_path / "results.jsonl"
    monkeypatch.setattr("sys.argv", ["meter", "--results", str(results), "--pairs", "1", "--runs", "2"])
    with pytest.raises(SystemExit) as left:
        meter.main()
    assert left.value.code == EXIT_CODES[verdict] and not results.exists()


def test_runs_keep_what_tables_are_made_of(tmp_path: Path) -> None:
    before: RunResult = sample_result(1).runs[0]
    after = recorded(tmp_path, 1)[0].run
    assert after.started_at == STARTED and after.requests == before.requests
    for one, other in zip(before.disruptions, after.disruptions, strict=True):
        assert (one.repair_s, one.outage_s, one.requests) == (other.repair_s, other.outage_s, other.requests)
