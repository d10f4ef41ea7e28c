"""What became of writes, whom a disruption dragged along and what shipping cost, in words and in every report."""

from __future__ import annotations

import html as html_module
import re

import pytest
from support.report_sample import HOSTILE, sample_result, sample_run
from test_report_clients import HUNG, VIEW

from testbed.experiment.compare import compare
from testbed.experiment.result import (
    Backlog,
    Disruption,
    LocustResult,
    Reached,
    Requests,
    Result,
    RunResult,
    Shipping,
    StateView,
    Writes,
)
from testbed.experiment.result.machine import MachineLoad
from testbed.experiment.statistics import over_runs
from testbed.report import comparison, html, junit, markdown, terminal
from testbed.report.client_words import client_lines
from testbed.report.html_data import run_data
from testbed.report.load_tables import machine_line
from testbed.report.state_words import shipping_lines, state_lines
from testbed.report.statistics_words import over_runs_lines
from testbed.report.words import clean

WRITES = Writes(acknowledged=2607, stored=2607)
LOST = Writes(acknowledged=2607, stored=2603, lost=4, in_doubt=2, lost_ids=("a", "b", "c", "d"))
BACKLOG = Backlog(peak=270, usual=2, drained_s=11.2, drain_s=8.9, uncertainty_s=0.25)
CASCADE = (Reached(deployment="default/api", how="unready", after_s=1.2, lasted_s=14.0, pods=2),
           Reached(deployment="default/web", how="restarted", after_s=3.0, lasted_s=0.0))
SHIPPING = Shipping(peak_pods=5, usual_pods=4, container_s=120.46, extra_container_s=12.34,
                    answers={"sample:v2": 230, "sample:v1": 1}, wrong_answers={"sample:v2": 70},
                    last_answer_s={"sample:v2": 12.3})


def of_run(writes: Writes | None, problem: str = "") -> list[str]:
    run = sample_run(1, 60.0)
    return state_lines(run.model_copy(update={"state": StateView(writes=writes, problem=problem)}))


def of(backlog: Backlog | None = None, cascade: tuple[Reached, ...] = ()) -> list[str]:
    return state_lines(Disruption(name="x", kind="fault", backlog=backlog, cascade=cascade))


def test_what_became_of_writes() -> None:
    assert of_run(WRITES) == ["2607 writes acknowledged, none lost (at most 0.12 %, 95 %)"]
    assert of_run(LOST) == ["4 of 2607 acknowledged writes lost: a, b, c, …; 2 without a right answer are stored all "
                            "the same"]
    assert of_run(Writes()) == ["no write was acknowledged"]
    assert of_run(None, "nobody answered") == ["not known for sure: nobody answered"]
    assert state_lines(sample_run(1, 60.0)) == []


@pytest.mark.parametrize(("change", "says"), [
    ({}, "backlog up to 270 (2 before), worked off 8.9 s ± 0.3 s after the repair, 11.2 s ± 0.3 s after the injection"),
    ({"drained_s": None, "drain_s": None}, "backlog up to 270 (2 before), not worked off while it was watched"),
    ({"drain_s": None}, "backlog up to 270 (2 before), worked off 11.2 s ± 0.3 s after the injection"),
    ({"drain_s": 0.0}, "backlog up to 270 (2 before), worked off before everything was restored, 11.2 s ± 0.3 s after "
                       "the injection"),
    ({"peak": 3, "drained_s": 0.0, "drain_s": 0.0}, "no backlog: at most 3 waited (2 before)"),
    ({"peak": None, "unknown_s": 9.0}, "backlog unknown: nobody could say how long it was"),
])
def test_how_the_backlog_went(change: dict[str, object], says: str) -> None:
    assert of(BACKLOG.model_copy(update=change)) == [says]


def test_what_nobody_could_say_of_a_backlog_is_told() -> None:
    assert of(BACKLOG.model_copy(update={"unknown_s": 3.0}))[0].endswith("; for 3.0 s ± 0.3 s nobody could say")


def test_whom_it_dragged_along() -> None:
    assert of(cascade=CASCADE) == [
        "dragged along: default/api unready after 1.20 s for 14.0 s (2 pods), default/web restarted after 3.00 s "
        "(1 pod)"]
    assert "and not ready again" in of(cascade=(CASCADE[0].model_copy(update={"lasted_s": None}),))[0]


def test_what_shipping_cost() -> None:
    assert shipping_lines(sample_run(1, 60.0).model_copy(update={"shipping": SHIPPING})) == [
        "5 pods at most (4 usual), 12.3 container-seconds more than usual, of 120 container-seconds",
        "sample:v1 answered 1 request",
        "sample:v2 answered 230 requests, 70 of them wrongly, the last at 12.3 s"]
    assert shipping_lines(sample_run(1, 60.0)) == []


def test_what_the_machine_went_through() -> None:
    load = MachineLoad(seconds=9, pressure=0.3, runnable=1.26, steal=0.01, busy=0.52, loop_lag_p99_s=0.004,
                       loop_lag_max_s=0.31)
    run = sample_run(1, 60.0)
    assert machine_line(run.model_copy(update={"machine": load})) == (
        "52% of its CPUs' time used, 1% taken by the hypervisor, 30% of the time some task waited for a CPU, 1.3 tasks "
        "per CPU, the runner woke up 4.0 ms late (p99), 310 ms at most")
    assert machine_line(run) == machine_line(run.model_copy(update={"machine": MachineLoad()})) == ""


# --- every report


def stateful(run: RunResult, lost: int, **update: object) -> RunResult:
    writes = Writes(acknowledged=1000, stored=1000 - lost, lost=lost)
    return run.model_copy(update={"state": StateView(writes=writes), **update})


@pytest.fixture(scope="module")
def told() -> Result:
    """A run with all of it, and with names that try to break out."""
    run = sample_run(1, 60.0)
    item = run.disruptions[0].model_copy(update={
        "backlog": BACKLOG, "cascade": (CASCADE[0], CASCADE[1].model_copy(update={"deployment": HOSTILE}))})
    run = run.model_copy(update={
        "disruptions": (item, *run.disruptions[1:]), "machine": MachineLoad(busy=0.52),
        "state": StateView(writes=LOST.model_copy(update={"lost_ids": (HOSTILE,)}), problem=HOSTILE),
        "shipping": SHIPPING.model_copy(update={"answers": {HOSTILE: 9}})})
    return sample_result().model_copy(update={"runs": (run,)})


def test_every_report_tells_it_and_nothing_breaks_out(told: Result) -> None:
    for text in (terminal.render(told, width=400), markdown.render(told), html_module.unescape(html.render(told))):
        assert "4 of 2607 acknowledged writes lost" in text
        assert "worked off 8.9 s ± 0.3 s after the repair" in text
        assert "dragged along: default/api unready after 1.20 s for 14.0 s (2 pods)" in text
        assert "12.3 container-seconds more than usual" in text
        assert "52% of its CPUs' time used" in text
    assert "\x1b" not in terminal.render(told) + markdown.render(told) + html.render(told)
    assert "<script>" not in markdown.render(told) and "<script>alert(1)" not in html.render(told)
    assert clean(HOSTILE) in terminal.render(told, width=1000)


def test_what_lies_beside_the_page_is_linked_and_nothing_else() -> None:
    result = sample_result().model_copy(update={"artefacts": {
        "report": "report.html", "journal": "journal.json", "pulse-a b": "pulse-a b.csv", HOSTILE: "x",
        "script": "javascript:alert(3)", "passwords": "../../etc/passwd", "root": "/etc/passwd"}})
    page = html.render(result)
    links = re.findall(r'<a href="([^"]+)">', page)
    assert sorted(links) == ["./javascript%3Aalert%283%29", "./journal.json", "./pulse-a%20b.csv", "./x"]
    assert "<script>alert(1)" not in page


def test_requests_that_failed_are_told_by_what_they_met() -> None:
    counts = Requests(due=100, ok=90, failed=10, outcomes={"refused": 10, "200": 90})
    met = HUNG.model_copy(update={"clients": VIEW.model_copy(update={"requests": counts})})
    assert "what requests met: 90 × 200, 10 × refused" in client_lines(met)
    assert not any("what requests met" in line for line in client_lines(HUNG))


def test_seconds_in_which_locust_failed_are_drawn() -> None:
    run = sample_run(1, 60.0)
    failing = LocustResult(users=1, requests=3, failures=1, rate=(1.0, 2.0), failures_rate=(0.0, 1.0))
    assert run_data(run.model_copy(update={"locust": failing}))["locustFailed"] == [0.0, 1.0]


# --- over runs


def over(lost: list[int]) -> Result:
    runs = [stateful(sample_run(number, 60.0), one) for number, one in enumerate(lost, 1)]
    return sample_result(2).model_copy(update={"runs": tuple(runs), "statistics": over_runs(runs, 7)})


@pytest.mark.parametrize(("lost", "says"), [
    ([0, 2, 0, 1], "whole run acknowledged writes lost: 3 in 2 of 4 runs"),
    ([0, 0, 0], "whole run acknowledged writes lost: none in 3 runs"),
    ([0] * 20, "whole run acknowledged writes lost: none in 20 runs, so in at most 15% of all (95 %)"),
])
def test_what_was_lost_over_many_runs(lost: list[int], says: str) -> None:
    result = over(lost)
    assert next(over_runs_lines(result)) == says
    for text in (terminal.render(result, width=300), markdown.render(result), html.render(result)):
        assert says in text


def test_a_release_that_loses_writes_compares_as_worse_in_every_report() -> None:
    kept, worse = over([0] * 10), over([2] * 10)
    found = compare(kept, worse, name_a="a", name_b="b").model_copy(update={"fail_on": ("worse",)})
    assert comparison.headline(found) == "worse: writes.lost"
    row = next(iter(comparison.rows(found)))
    assert row.cells[:4] == ("whole run", "acknowledged writes lost", "0", "2")
    result = worse.model_copy(update={"comparison": found})
    for text in (terminal.render(result, width=300), markdown.render(result), html.render(result)):
        assert "whole run" in text and "worse" in text
    assert 'name="writes.lost against a"' in junit.render(result)
