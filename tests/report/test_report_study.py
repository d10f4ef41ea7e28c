"""A study's reports: one table for all variants, the same figures in every format, nothing that breaks out of it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from support.report_sample import HOSTILE, STARTED, sample_result

from testbed.experiment.compare import compare_runs
from testbed.experiment.result import (
    EXIT_CODES,
    ObjectiveResult,
    Result,
    Study,
    Turn,
    VariantResult,
    Verdict,
    judging,
    study_schema,
)
from testbed.experiment.saving import write_study
from testbed.report.study import html, junit, markdown, rows, terminal
from testbed.report.words import clean


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


def suites(made: Study) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(made))
    found = root.findall("testsuite")
    for count in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(count, "")) == sum(int(suite.get(count, "")) for suite in found)
    return found


def test_junit_has_a_suite_for_each_variant_under_its_own_name_and_time() -> None:
    made = study()
    found = suites(made)
    assert [suite.get("name", "").rpartition(": ")[2] for suite in found] == ["testbed", clean(HOSTILE)]
    for suite, item in zip(found, made.variants, strict=True):
        assert {case.get("classname") for case in suite.iter("testcase")} == {suite.get("name")}
        assert float(suite.get("time", "")) == pytest.approx(sum(run.duration_s for run in item.result.runs))


def with_verdicts(*verdicts: Verdict) -> Study:
    """A study whose variants ended so, and whose verdict is what that comes to."""
    missed = (ObjectiveResult(text="crash.repair.max < 4s", met=False, measured=5.0, unit="s", disruption="crash",
                              quantity="repair"),)
    results = [sample_result(3).model_copy(update={
        "verdict": verdict, "exit_code": EXIT_CODES[verdict], "reason": "" if verdict is Verdict.PASSED else "why",
        "objectives": missed if verdict is Verdict.OBJECTIVE_MISSED else ()}) for verdict in verdicts]
    judged = judging(results)
    return Study(run_id="r", name="crash", started_at=STARTED, ended_at=STARTED, verdict=judged.verdict,
                 exit_code=judged.exit_code, reason=judged.reason, variants=tuple(
                     VariantResult(name=f"v{index}", platform="testbed", folder=f"{index}-v", result=result)
                     for index, result in enumerate(results)))


GOOD, MISSED, NOT_REGAINED, UNDO = (Verdict.PASSED, Verdict.OBJECTIVE_MISSED, Verdict.NOT_REGAINED,
                                    Verdict.UNDO_FAILED)


@pytest.mark.parametrize("verdicts", [
    (GOOD, GOOD), (GOOD, MISSED), (MISSED, GOOD), (MISSED, MISSED), (GOOD, NOT_REGAINED), (NOT_REGAINED, GOOD),
    (GOOD, UNDO), (MISSED, UNDO)], ids=str)
def test_exit_code_junit_markdown_and_page_are_one_story(verdicts: tuple[Verdict, ...]) -> None:
    made = with_verdicts(*verdicts)
    red = sum(int(suite.get(count, "")) for suite in suites(made) for count in ("failures", "errors"))
    assert (red > 0) == (made.exit_code != 0)
    assert markdown.render(made).startswith("## ❌" if made.exit_code else "## ✅")
    assert f'class="pill {"bad" if made.exit_code else "good"}" id="verdict"' in html.render(made)
    assert terminal.render(made, width=200).startswith(f" {made.verdict.value.upper()} ")


def held_against(reference: Verdict, worse: bool) -> Study:
    """A file that is held against another one, whose own run ended so."""
    made = with_verdicts(reference, GOOD)
    runs = [sample_result(12).runs, slower(sample_result(12), 3.0 if worse else 1.0).runs]
    gated = compare_runs("main/x.yaml", runs[0], "x.yaml", runs[1]).model_copy(update={"fail_on": ("worse",)})
    verdict = MISSED if worse else GOOD
    return made.model_copy(update={
        "decides": 1, "verdict": verdict, "exit_code": EXIT_CODES[verdict],
        "reason": "is worse than main/x.yaml: crash.repair" if worse else "",
        "variants": (made.variants[0], made.variants[1].model_copy(update={"comparison": gated}))})


@pytest.mark.parametrize("reference", [GOOD, MISSED])
@pytest.mark.parametrize("worse", [True, False])
def test_what_is_held_against_another_file_decides_in_every_format(reference: Verdict, worse: bool) -> None:
    made = held_against(reference, worse)
    assert [item.name for item in made.told_only] == ([] if reference is GOOD else ["v0"])
    failures = [case.get("name") for suite in suites(made) for case in suite.iter("testcase")
                if case.find("failure") is not None]
    assert failures == (["crash.repair against main/x.yaml"] if worse else [])
    for text in (terminal.render(made, width=200), markdown.render(made), html.render(made)):
        assert "x.yaml against" in text and "main/x.yaml" in text and ("✗ worse" in text) is worse
        assert worse or "It is held against v0" in text


def test_what_another_variant_missed_is_told_in_every_format_and_fails_nothing() -> None:
    made = with_verdicts(GOOD, MISSED, MISSED)
    for text in (terminal.render(made, width=200), markdown.render(made), html.render(made)):
        assert "2 others did not pass, which fails nothing" in text and "missed" in text
    skipped = [case.find("skipped") for suite in suites(made) for case in suite.iter("testcase")
               if case.get("name") == "crash.repair.max < 4s"]
    assert len(skipped) == 2 and all(one is not None and "5" in one.get("message", "") for one in skipped)


def test_a_comparison_that_broke_down_is_an_error_of_the_study() -> None:
    made = with_verdicts(GOOD, GOOD).model_copy(update={"verdict": Verdict.BUG, "exit_code": 70, "reason": "a bug"})
    assert [suite.get("errors") for suite in suites(made)] == ["0", "0", "1"]


def test_timers_of_all_variants_are_told_once() -> None:
    made = study()
    same, own = ("probes", "as the manifest says"), ("restart", "at once")
    variants = tuple(item.model_copy(update={"timing": timing}) for item, timing in zip(
        made.variants, ((same,), (same, own)), strict=True))
    lines = list(rows.timing_lines(made.model_copy(update={"variants": variants})))
    assert lines == ["all variants: probes as the manifest says", f"{clean(HOSTILE)}: restart at once"]


def test_the_schema_of_a_study_holds_for_what_is_kept_and_for_what_is_printed(tmp_path: Path) -> None:
    made = study()
    write_study(made, tmp_path)
    checker = jsonschema.Draft202012Validator(study_schema())
    checker.validate(made.to_json())
    checker.validate(json.loads((tmp_path / "study.json").read_text()))
    assert not checker.is_valid({**made.to_json(), "verdict": "splendid"})


def test_a_study_comes_back_from_its_json() -> None:
    made = study()
    assert Study.from_json(made.to_json()) == made
