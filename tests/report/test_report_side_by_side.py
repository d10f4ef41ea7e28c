"""docs/comparison.md says what the results file says, and a page is made of whatever is there."""

from __future__ import annotations

from pathlib import Path

from report_sample import STARTED, sample_result

from benchmarks.comparison.document import page
from benchmarks.comparison.plan import RECOVERIES, SHIPPED
from benchmarks.comparison.records import Record, Records
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import RunResult, VariantResult

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


def test_void_runs_do_not_count(tmp_path: Path) -> None:
    result = sample_result(3)
    void = result.runs[0].model_copy(update={"void_reason": "stolen from"})
    records = Records(tmp_path / "results.jsonl")
    records.append("crash", VariantResult(name="testbed", platform="testbed", result=result.model_copy(
        update={"runs": (void, *result.runs[1:])})))
    assert records.count("crash", "testbed") == 2


def test_runs_keep_what_tables_are_made_of(tmp_path: Path) -> None:
    before: RunResult = sample_result(1).runs[0]
    after = recorded(tmp_path, 1)[0].run
    assert after.started_at == STARTED and after.requests == before.requests
    for one, other in zip(before.disruptions, after.disruptions, strict=True):
        assert (one.repair_s, one.outage_s, one.requests) == (other.repair_s, other.outage_s, other.requests)
