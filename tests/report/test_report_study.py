"""A study's reports: one table for all variants, the same figures in every format, nothing that breaks out of it."""

from __future__ import annotations

from xml.etree import ElementTree

from report_sample import HOSTILE, STARTED, sample_result

from testbed.experiment.compare import compare_runs
from testbed.experiment.result import Result, Study, Turn, VariantResult, Verdict
from testbed.report import junit
from testbed.report.study import html, markdown, rows, terminal


def slower(result: Result, factor: float) -> Result:
    """The same with every repair of the crash so many times as long."""
    runs = []
    for run in result.runs:
        changed = [item.model_copy(update={"marks": item.marks.model_copy(update={
            "restored": item.marks.injected + factor * item.repair_s})})
            if item.name == "crash" and item.repair_s and item.marks.injected else item for item in run.disruptions]
        runs.append(run.model_copy(update={"disruptions": tuple(changed)}))
    from testbed.experiment.statistics import over_runs

    return result.model_copy(update={"runs": tuple(runs), "statistics": over_runs(runs, 7)})


def study() -> Study:
    first = sample_result(12)
    second = slower(first, 3.0).model_copy(update={"verdict": Verdict.OBJECTIVE_MISSED, "reason": HOSTILE,
                                                   "exit_code": 1})
    return Study(
        run_id="quickstart-1", name=HOSTILE, seed=7, started_at=STARTED, ended_at=STARTED, verdict=Verdict.PASSED,
        exit_code=0, turns=tuple(Turn(variant="a", number=number) for number in range(1, 25)),
        variants=(VariantResult(name="testbed", platform="testbed", timing=(("node is lost after", "1.5 s"),),
                                folder="1-testbed", result=first),
                  VariantResult(name=HOSTILE, platform="compose", folder="2-compose", result=second,
                                comparison=compare_runs("a", first.runs, "b", second.runs))))


def test_the_first_variant_is_what_the_others_are_held_against() -> None:
    found = list(rows.rows(study(), "crash"))
    assert [row.runs for row in found] == ["12", "12"]
    assert found[0].against == ""
    assert found[1].against == "× 3.00, worse"


def test_void_runs_stand_beside_the_others() -> None:
    made = study()
    result = made.variants[0].result
    void = tuple(run.model_copy(update={"void_reason": "stolen from"}) if run.number < 3 else run
                 for run in result.runs)
    item = made.variants[0].model_copy(update={"result": result.model_copy(update={"runs": void})})
    assert rows.say_runs(item) == "10 + 2 void"


def test_every_format_tells_the_same_and_names_the_timers() -> None:
    made = study()
    texts = [terminal.render(made, width=240), markdown.render(made), html.render(made)]
    for text in texts:
        assert "3.00, worse" in text and "node is lost after 1.5 s" in text and "objective missed" in text


def test_hostile_names_stay_text() -> None:
    made = study()
    assert "\x1b" not in terminal.render(made)
    page = html.render(made)
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    assert "<script>" not in markdown.render(made)


def test_a_page_fits_a_phone_and_loads_nothing() -> None:
    page = html.render(study())
    assert "http-equiv=\"Content-Security-Policy\"" in page and "default-src 'none'" in page
    assert 'href="1-testbed/report.html"' in page


def test_junit_has_a_suite_for_each_variant() -> None:
    made = study()
    root = ElementTree.fromstring(junit.render(*(item.result for item in made.variants)))
    suites = root.findall("testsuite")
    assert len(suites) == 2
    assert int(root.get("tests", "0")) == sum(int(suite.get("tests", "0")) for suite in suites)


def test_a_study_comes_back_from_its_json() -> None:
    made = study()
    assert Study.from_json(made.to_json()) == made
