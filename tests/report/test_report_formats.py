"""Every report says what the result holds, and nothing of a cluster's text can break out of its format."""

from __future__ import annotations

import html as html_module
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import jsonschema
import pytest
from support.report_sample import HOSTILE, sample_result

from testbed.experiment.objectives import say_value
from testbed.experiment.result import Disruption, Marks, ObjectiveResult, Outage, Result, Verdict, result_schema
from testbed.report import html, junit, markdown, terminal
from testbed.report import json as json_report
from testbed.report.words import clean, say_measured

MAX_PAGE_BYTES = 1_500_000


@pytest.fixture(scope="module")
def page() -> str:
    return html.render(sample_result(verdict=Verdict.OBJECTIVE_MISSED))


# --- terminal


def test_the_terminal_report_begins_with_the_verdict_and_the_objectives() -> None:
    text = terminal.render(sample_result())
    assert text.index("PASSED") < text.index("lose-a-node.isolation.median < 2.5s") < text.index("disruption")
    assert "liveness probe: periodSeconds 1" in text
    assert "3959" not in text and "5600 requests due" in text


@pytest.mark.parametrize("width", [20, 60, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = terminal.render(sample_result(), width=width)
    assert max(len(line) for line in text.splitlines()) <= max(width, terminal.MINIMUM_WIDTH)


def test_a_cluster_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in terminal.render(sample_result(verdict=Verdict.OBJECTIVE_MISSED))
    coloured = terminal.render(sample_result(), color=True)
    assert "\x1b[" in coloured and "\x1b[31mred" not in coloured


def test_several_runs_show_their_spread() -> None:
    assert re.search(r"hang .*\(5.72 s – 5.72 s\)", terminal.render(sample_result(6), width=200))


def test_a_result_without_runs_has_a_report() -> None:
    empty = sample_result(verdict=Verdict.INTERRUPTED).model_copy(update={"runs": (), "statistics": ()})
    for render in (terminal.render, markdown.render, junit.render, html.render):
        assert "interrupted" in render(empty).lower()


# --- JSON, JUnit, Markdown


def test_json_follows_the_published_schema_and_comes_back_the_same() -> None:
    result = sample_result(2)
    value = json.loads(json_report.render(result))
    jsonschema.Draft202012Validator(result_schema()).validate(value)
    assert Result.from_json(value) == result


def test_json_on_a_terminal_does_not_steer_it() -> None:
    result = sample_result().model_copy(update={"reason": "\x1b[2J\x9b2J\u202e"})
    text = json_report.render(result)
    assert text.replace("\n", "").isprintable()
    assert Result.from_json(json.loads(text)) == result


def test_junit_counts_and_parses() -> None:
    root = ElementTree.fromstring(junit.render(sample_result(verdict=Verdict.OBJECTIVE_MISSED)))
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("4", "1", "0", "1")
    assert len(root.findall(".//failure")) == 1


def test_junit_tells_a_run_that_ended_badly_as_an_error() -> None:
    root = ElementTree.fromstring(junit.render(sample_result(verdict=Verdict.UNDO_FAILED)))
    assert root.get("errors") == "1"
    assert "undo failed" in (root.find(".//error").get("message") or "")  # type: ignore[union-attr]


def test_markdown_cannot_be_broken_out_of() -> None:
    text = markdown.render(sample_result(verdict=Verdict.OBJECTIVE_MISSED))
    assert "<script" not in text and "<img" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (4, 6, 7) for row in rows)


# --- HTML


def test_the_page_is_one_small_file_without_references(page: str) -> None:
    assert len(page.encode()) <= MAX_PAGE_BYTES
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)  # the libraries name their own schemas
    references = re.findall(r"""<[^>]+\s(?:src|href)=["']?([^"'>\s]+)""", outside)
    assert [item for item in references if not item.startswith("data:")] == []
    assert "http://" not in outside and "https://" not in outside
    assert "default-src 'none'" in page


def test_nothing_hostile_is_markup(page: str) -> None:
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert html_module.escape("<script>alert(1)</script>") in page
    assert "\x1b" not in page
    assert "49" not in re.findall(r"red.{0,60}", page)[0]  # a template in a log is text


def test_the_data_block_is_json_that_no_tag_can_end(page: str) -> None:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert block is not None
    data = json.loads(block.group(1))
    assert data["shown"] == "1"
    assert any(clean(HOSTILE)[:20] in event["message"] for event in data["runs"]["1"]["events"])


def test_many_long_runs_still_fit() -> None:
    text = html.render(sample_result(30, seconds=300.0))
    assert len(text.encode()) <= MAX_PAGE_BYTES
    assert "more runs are in result.json" in text


def test_a_report_is_replaced_whole(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "report.html"
    path.write_text("old")
    html.write(sample_result(), path)
    assert path.read_text().endswith("</html>")
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_heavy_libraries_are_only_imported_to_render() -> None:
    code = ("import sys; from testbed.report import html, terminal, junit, markdown, charts; "
            "import testbed.experiment.runner; "
            "heavy = ('altair', 'vl_convert', 'rich', 'jinja2', 'numpy', 'aiohttp'); "
            "print([name for name in heavy if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("text", "disruption", "quantity", "said"), [
    ("lose.repair.median < 9s", "lose", "repair", "1.2 s ± 0.3 s"),
    ("baseline is another word", "lose", "repair", "1.2 s ± 0.3 s"),  # what it is about is a value, not its text
    ("lose.repair.median < 9s", "", "", "1.23 s"),
])
def test_what_was_measured_is_said_as_exactly_as_it_is_known(
    text: str, disruption: str, quantity: str, said: str,
) -> None:
    item = ObjectiveResult(text=text, disruption=disruption, quantity=quantity, met=True, measured=1.234, unit="s")
    seen = Disruption(name="lose", kind="fault", marks=Marks(injected=0.0, restored=1.234),
                      mark_uncertainties={"restored": 0.3})
    run = sample_result().runs[0].model_copy(update={"disruptions": (seen,)})
    result = sample_result().model_copy(update={"runs": (run,)})
    assert say_measured(result, item) == said


@pytest.mark.parametrize(("measured", "limit", "unit", "said"), [
    (1.0684, 1.07, "s", "1.068 s"), (1.0684, 1.2, "s", "1.07 s"), (0.99896, 0.999, "ratio", "99.896 %"),
    (0.0100004, 0.01, "ratio", "1.00004 %"), (1.1004, 1.1, "times", "1.1004 ×"), (3.0, 2.0, "", "3")])
def test_what_missed_its_objective_is_told_from_the_limit(
    measured: float, limit: float, unit: str, said: str,
) -> None:
    item = ObjectiveResult.model_validate({"text": "it", "met": False, "measured": measured, "limit": limit,
                                           "unit": unit})
    assert say_measured(sample_result(), item) == said
    assert say_value(measured, unit) == say_measured(sample_result(), item.model_copy(update={"met": True}))


def test_one_outage_is_said_the_same_of_the_run_and_of_its_disruption() -> None:
    """And runs without an outage do not make that of another one exact."""
    outage = Outage(start_s=10.0, end_s=10.021049, failed=1, start_uncertainty_s=0.01, end_uncertainty_s=0.04)
    seen = Disruption(name="lose", kind="fault", marks=Marks(injected=10.0), outages=(outage,))
    calm = sample_result().runs[0].model_copy(update={
        "disruptions": (seen.model_copy(update={"outages": ()}),), "outages": ()})
    run = calm.model_copy(update={"disruptions": (seen,), "outages": (outage,)})
    result = sample_result().model_copy(update={"runs": (calm, calm, run)})
    told = {say_measured(result, ObjectiveResult(text="", disruption=disruption, quantity=quantity, met=True,
                                                 measured=outage.seconds, unit="s"))
            for disruption, quantity in (("", "outage.total"), ("", "outage.longest"), ("lose", "outage"),
                                         ("lose", "outage.longest"))}
    assert told == {"20 ms ± 50 ms"}


@pytest.mark.parametrize(("nodes", "words"), [(1, "1 node on"), (3, "3 nodes on")])
def test_one_node_is_said_as_one(nodes: int, words: str) -> None:
    made = sample_result()
    environment = made.environment.model_copy(update={"nodes": nodes})
    assert words in html.render(made.model_copy(update={"environment": environment}))
