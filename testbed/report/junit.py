"""JUnit XML for CI systems: one test case per objective, and one for the run itself."""

from __future__ import annotations

from xml.etree import ElementTree

from testbed.experiment.objectives import say_value
from testbed.experiment.result import Result, Verdict
from testbed.report.words import clean, headline

_NOT_THE_RUN = (Verdict.PASSED, Verdict.OBJECTIVE_MISSED)


def render(*results: Result) -> str:
    """A ``testsuites`` document, one suite for each result. A run that ended badly is an error, a missed objective a
    failure."""
    root = ElementTree.Element("testsuites", {"name": "testbed"})
    suites = [_suite(root, result) for result in results]
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, result: Result) -> ElementTree.Element:
    missed = sum(1 for item in result.objectives if item.met is False)
    unknown = sum(1 for item in result.objectives if item.met is None)
    broken = result.verdict not in _NOT_THE_RUN
    seconds = f"{(result.ended_at - result.started_at).total_seconds():.3f}"
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": clean(result.name), "timestamp": result.started_at.isoformat(), "id": result.run_id,
        "tests": str(len(result.objectives) + 1), "failures": str(missed), "errors": str(int(broken)),
        "skipped": str(unknown), "time": seconds})
    case = ElementTree.SubElement(suite, "testcase", {"name": "run", "classname": clean(result.name), "time": seconds})
    if broken:
        error = ElementTree.SubElement(case, "error", {"message": headline(result), "type": result.verdict.value})
        error.text = clean("\n".join(f"run {run.number}: {run.verdict.value} {run.reason}" for run in result.runs))
    for item in result.objectives:
        _objective(suite, result, item.text, item.met,
                   f"measured {say_value(item.measured, item.unit)}" + (f" ({item.note})" if item.note else ""))
    return suite


def _objective(suite: ElementTree.Element, result: Result, text: str, met: bool | None, measured: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"name": clean(text), "classname": clean(result.name)})
    if met is False:
        ElementTree.SubElement(case, "failure", {"message": clean(f"{text}: {measured}"), "type": "objective"})
    elif met is None:
        ElementTree.SubElement(case, "skipped", {"message": clean(measured)})
    ElementTree.SubElement(case, "system-out").text = clean(measured)
