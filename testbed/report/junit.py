"""JUnit XML for CI systems: one test case per objective and per comparison with the baseline, and one for the run
itself; void runs and what could not be judged are skipped."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from testbed.experiment.result import Result, Verdict
from testbed.experiment.result.comparison import Comparison
from testbed.report.words import clean, headline, say_measured

_NOT_THE_RUN = (Verdict.PASSED, Verdict.OBJECTIVE_MISSED)


def render(*results: Result) -> str:
    """A ``testsuites`` document, one suite for each result. A run that ended badly is an error, a missed objective a
    failure."""
    root = ElementTree.Element("testsuites", {"name": "testbed"})
    for result in results:
        suite(root, result, clean(result.name), (result.ended_at - result.started_at).total_seconds())
    return document(root)


def document(root: ElementTree.Element) -> str:
    """The text, with the counts and the time of all suites."""
    suites = root.findall("testsuite")
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(item.get(count, "0")) for item in suites)))
    root.set("time", f"{sum(float(item.get('time', '0')) for item in suites):.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def suite(
    root: ElementTree.Element, result: Result, name: str, duration_s: float, comparisons: Iterable[Comparison] = (),
) -> ElementTree.Element:
    """Adds a suite. ``comparisons``: with others than the result's own baseline."""
    broken = result.verdict not in _NOT_THE_RUN
    seconds = f"{duration_s:.3f}"
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": name, "timestamp": result.started_at.isoformat(), "id": result.run_id, "time": seconds})
    case = ElementTree.SubElement(suite, "testcase", {"name": "run", "classname": name, "time": seconds})
    if broken:
        error = ElementTree.SubElement(case, "error", {"message": headline(result), "type": result.verdict.value})
        error.text = clean("\n".join(f"run {run.number}: {run.verdict.value} {run.reason}" for run in result.runs))
    for item in result.objectives:
        _objective(suite, item.text, item.met,
                   f"measured {say_measured(result, item)}" + (f" ({item.note})" if item.note else ""))
    for comparison in (*([result.comparison] if result.comparison else []), *comparisons):
        _comparison(suite, comparison)
    for run in result.runs:
        if run.void_reason:
            void = ElementTree.SubElement(suite, "testcase", {
                "name": f"run {run.number}", "classname": name, "time": f"{run.duration_s:.3f}"})
            ElementTree.SubElement(void, "skipped", {"message": clean(f"void: {run.void_reason}")})
    count_cases(suite)
    return suite


def count_cases(suite: ElementTree.Element) -> None:
    """Says of a suite how many of its cases came to what."""
    for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(1 for _ in suite.iter(tag))))


def _comparison(suite: ElementTree.Element, comparison: Comparison) -> None:
    """Only what the run was told to fail on is a failure: without a gate a comparison informs."""
    for item in comparison.primary:
        name = f"{item.name} against {comparison.a}"
        ratio = "" if item.ratio is None else f", {item.ratio:.2f} times the baseline's"
        met = None if item.verdict == "cannot tell" else True
        _objective(suite, name, False if item.verdict in comparison.fail_on else met,
                   f"{item.verdict}{ratio}" + (f" ({item.reason})" if item.reason else ""), kind="comparison")


def _objective(
    suite: ElementTree.Element, text: str, met: bool | None, measured: str, kind: str = "objective"
) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"name": clean(text), "classname": suite.get("name", "")})
    if met is False:
        ElementTree.SubElement(case, "failure", {"message": clean(f"{text}: {measured}"), "type": kind})
    elif met is None:
        ElementTree.SubElement(case, "skipped", {"message": clean(measured)})
    ElementTree.SubElement(case, "system-out").text = clean(measured)
