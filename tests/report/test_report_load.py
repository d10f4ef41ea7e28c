"""Pulse targets, Locust's failed requests and what sending cost stand in every report; a cluster's words stay words."""

from __future__ import annotations

import pytest
from support.report_sample import HOSTILE, sample_result

from testbed.experiment.result import (
    GeneratorUse,
    LocustEntry,
    LocustResult,
    Outage,
    Requests,
    Result,
    RunResult,
    TargetResult,
)
from testbed.report import html, markdown, terminal
from testbed.report.load_tables import CLOSED_LOOP, generator_line, load_tables

OUT = Outage(start_s=10, end_s=11.2, failed=120, uncertainty_s=0.01)
TARGETS = (TargetResult(name="web", aim="GET service/web /", profile="100/s", requests=Requests(due=100, ok=100)),
           TargetResult(name="store", protocol="tcp", aim=f"tcp service/{HOSTILE}", profile="50/s",
                        requests=Requests(due=50, ok=40, failed=10), outages=(OUT,)))
LOCUST = LocustResult(
    users=5, requests=300, failures=8, workers=3, remote=1, uncounted=12,
    entries=(LocustEntry(name="GET /", requests=100, failures=0),
             LocustEntry(name=HOSTILE, requests=100, failures=5, first_failed_s=10.02, last_failed_s=11.4,
                         longest_failing_s=1.31, p95=0.1),
             LocustEntry(name="GET /far", requests=50, failures=3),
             LocustEntry(name="GET /steady", requests=50, failures=1, first_failed_s=10.0, last_failed_s=11.0,
                         longest_failing_s=1.2, open_loop=True, outages=(OUT,))))
USES = (GeneratorUse(name="pulse web", cpu_share=0.081, cpu_peak=0.12), GeneratorUse(name="locust worker 1"))


def result() -> Result:
    base = sample_result()
    first = base.runs[0].model_copy(update={"targets": TARGETS, "locust": LOCUST, "generator": USES})
    return base.model_copy(update={"runs": (first,)})


def run() -> RunResult:
    return result().runs[0]


def test_every_target_says_what_it_met() -> None:
    (targets, _, _) = load_tables(run())
    assert [row[0] for row in targets.rows] == ["web", "store"]
    assert [row[6] for row in targets.rows] == ["none", "1.20 s ± 0.01 s"]


def test_one_http_target_says_nothing_that_the_run_does_not() -> None:
    assert load_tables(run().model_copy(update={"targets": TARGETS[:1], "locust": None})) == []


def test_locusts_failures_are_told_by_name_with_what_a_closed_loop_hides() -> None:
    (_, names, workers) = load_tables(run())
    assert [row[0] for row in names.rows] == [HOSTILE, "GET /far", "GET /steady"]
    assert names.rows[0][3:] == ("10.02 s to 11.40 s", "1.31 s", "–")
    assert names.rows[1][3:] == ("unknown", "unknown", "–")  # another machine's clock
    assert names.rows[2][5] == "1.20 s ± 0.01 s"
    assert names.notes == (CLOSED_LOOP,)
    assert "1 of Locust's 3 workers" in workers.notes[0] and "12 more requests" in workers.notes[1]


def test_what_sending_cost_is_told_where_it_is_known() -> None:
    assert generator_line(run()) == "pulse web 8% (busiest second 12%)"


@pytest.mark.parametrize("render", [lambda told: terminal.render(told, width=160), markdown.render, html.render],
                         ids=["terminal", "markdown", "html"])
def test_every_report_has_them(render) -> None:  # type: ignore[no-untyped-def]
    text = render(result())
    for word in ("50/s", "GET /far", "pulse web 8%", "longest without a success"):
        assert word in text


def test_nothing_hostile_is_markup() -> None:
    assert "<script>alert" not in html.render(result())
    assert "\x1b" not in terminal.render(result())
