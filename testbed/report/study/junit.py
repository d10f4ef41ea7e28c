"""A study as JUnit XML: a suite for each variant, by its whole name. What fails there is what fails the command.

Variants are tried out. One that ends badly without failing the command is told as skipped, with what it missed; only
the one that decides and those that could not be carried out have failures and errors.
"""

from __future__ import annotations

from xml.etree import ElementTree

from testbed.experiment.result import Study
from testbed.report import junit
from testbed.report.words import clean

TOLD = "told only, another variant decides: "


def render(study: Study) -> str:
    root = ElementTree.Element("testsuites", {"name": "testbed"})
    told = {item.folder for item in study.told_only}
    for item in study.variants:
        suite = junit.suite(
            root, item.result, clean(f"{study.name}: {item.name}"), sum(run.duration_s for run in item.result.runs),
            [item.comparison] if item.comparison else [])
        if item.folder in told:
            _tell(suite)
    if study.exit_code and not any(True for tag in ("failure", "error") for _ in root.iter(tag)):
        _of_the_command(root, study)
    return junit.document(root)


def _tell(suite: ElementTree.Element) -> None:
    """Turns what this variant missed into what is skipped; a comparison that was told to fail stays a failure."""
    for case in suite.iter("testcase"):
        for bad in [one for one in case if one.tag in ("failure", "error") and one.get("type") != "comparison"]:
            case.remove(bad)
            case.insert(0, ElementTree.Element("skipped", {"message": TOLD + bad.get("message", "")}))
    junit.count_cases(suite)


def _of_the_command(root: ElementTree.Element, study: Study) -> None:
    """What failed is nothing of any variant's: their comparison."""
    name = clean(study.name)
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": name, "timestamp": study.started_at.isoformat(), "id": study.run_id, "time": "0.000"})
    case = ElementTree.SubElement(suite, "testcase", {"name": "study", "classname": name, "time": "0.000"})
    ElementTree.SubElement(case, "error", {"message": clean(study.reason), "type": study.verdict.value})
    junit.count_cases(suite)
