"""A comparison is told the same in every report, and nothing of a cluster's text breaks out of one."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from support.report_sample import HOSTILE, sample_result, sample_run

from testbed.experiment.compare import compare
from testbed.experiment.result import Result, RunResult, Verdict
from testbed.experiment.statistics import over_runs
from testbed.report import comparison, comparison_page, html, junit, markdown, terminal


def slowed(run: RunResult, factor: float) -> RunResult:
    """The same run with every disruption restored later."""
    def later(item):  # type: ignore[no-untyped-def]
        restored = item.marks.injected + factor * (item.marks.restored - item.marks.injected)
        return item.model_copy(update={"marks": item.marks.model_copy(update={"restored": restored})})

    return run.model_copy(update={"disruptions": tuple(later(item) for item in run.disruptions)})


@pytest.fixture(scope="module")
def compared() -> Result:
    """Ten runs against ten that were faster, with a name that tries to break out, an outlier and a void run."""
    base = sample_result(10)
    runs = [slowed(sample_run(number, 60.0), 1.3 + number / 500) for number in range(1, 11)]
    runs[3] = slowed(runs[3], 4.0)
    runs.append(sample_run(11, 60.0).model_copy(update={"void_reason": "the hypervisor took 9% " + HOSTILE}))
    result = base.model_copy(update={"runs": tuple(runs), "statistics": over_runs(runs, 7),
                                     "verdict": Verdict.OBJECTIVE_MISSED, "exit_code": 1})
    found = compare(base, result, name_a=HOSTILE, name_b="new").model_copy(update={"fail_on": ("worse",)})
    return result.model_copy(update={"comparison": found})


def test_the_terminal_says_what_is_worse_by_how_much_and_how_surely(compared: Result) -> None:
    text = terminal.render(compared, width=160)
    assert "WORSE" in text and "\x1b" not in text
    assert re.search(r"crash\s+restored after\s+1\.23 s\s+1\.\d+ s\s+1\.3\d \(1\.3\d to 1\.3\d\).*✗ worse", text)
    assert "outliers: run 4" in text and "1 of 11 runs is void" in text


def test_each_report_tells_it(compared: Result) -> None:
    page, text = html.render(compared), markdown.render(compared)
    for report in (page, text):
        assert "worse" in report and "outliers: run 4" in report and "<script>alert(1)" not in report
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any(len(re.findall(r"(?<!\\)\|", row)) == len(comparison.TITLES) + 1 for row in rows)
    assert not re.search(r"<(?!/?(sub|details|summary|br)\b)[a-z]", text)


def test_a_comparison_is_a_page_of_its_own_that_needs_nothing_else(compared: Result) -> None:
    assert compared.comparison is not None
    page = comparison_page.render(compared.comparison)
    assert page.count("<tr>") == 1 + len(list(comparison.rows(compared.comparison)))
    assert '<span class="pill bad" id="verdict">worse</span>' in page and "restored after" in page
    assert "<script" not in page and not re.search(r"<\w[^<>]* (src|href)=(?!\"data:)", page)


def test_what_the_run_was_told_to_fail_on_fails_in_junit(compared: Result) -> None:
    root = ElementTree.fromstring(junit.render(compared))
    failed = [case.get("name", "") for case in root.iter("testcase") if case.find("failure") is not None]
    assert any(name.startswith("crash.repair against") for name in failed)
    assert any("void" in (item.get("message") or "") for item in root.iter("skipped"))
    assert root.get("tests") == str(len(list(root.iter("testcase"))))


def test_without_a_gate_a_comparison_informs(compared: Result) -> None:
    assert compared.comparison is not None
    told = compared.model_copy(update={"comparison": compared.comparison.model_copy(update={"fail_on": ()})})
    root = ElementTree.fromstring(junit.render(told))
    assert not [case for case in root.iter("testcase")
                if "against" in (case.get("name") or "") and case.find("failure") is not None]


def test_counts_that_were_zero_say_what_that_bounds() -> None:
    runs = [sample_run(number, 60.0) for number in range(1, 21)]
    clean_runs = [run.model_copy(update={"disruptions": tuple(
        item.model_copy(update={"requests": item.requests.model_copy(update={"failed": 0})})
        for item in run.disruptions)}) for run in runs]
    result = sample_result(20).model_copy(update={"runs": tuple(clean_runs), "statistics": over_runs(clean_runs, 1)})
    assert "none in 20 runs, so in at most 15% of all" in terminal.render(result, width=160)
