"""What clients met, and what was done to the healthy, in words."""

from __future__ import annotations

import pytest
from support.report_sample import HOSTILE, sample_result

from testbed.experiment.result import (
    Burn,
    BurnAlert,
    ClientView,
    Detector,
    Disruption,
    FalseAct,
    Latency,
    Outage,
    Requests,
    Result,
)
from testbed.report import html, markdown, terminal
from testbed.report.client_words import client_lines, say_share
from testbed.report.words import clean

VIEW = ClientView(
    start_s=10.0, end_s=30.0, requests=Requests(due=2000, ok=1880, failed=120),
    outage_count=2, outage_sum_s=1.2, outage_longest_s=1.0, outage_uncertainty_s=0.02,
    availability_requests=0.94, availability_time=0.94, before=Latency(p50=0.001, p95=0.002, p99=0.004),
    during=Latency(p50=0.002, p95=0.8, p99=0.95), after=Latency(p50=0.001, p95=0.002, p99=0.005),
    normal_limit_s=0.006, latency_normal_s=2.31, latency_disturbed_s=1.4, lost_s=1.25, depth=1.0, gray_s=0.7,
    burn=Burn(target=0.999, window_s=2592000, bad=120, rate=60.0, spent_s=1.2, budget_s=2592,
              alerts=(BurnAlert(factor=14.4, long_s=3600, short_s=300, at_s=61.0),
                      BurnAlert(factor=6, long_s=21600, short_s=1800))),
)
HUNG = Disruption(
    name="hang", kind="fault", clients=VIEW, requests=Requests(due=2000, ok=1880, failed=120),
    outages=(Outage(start_s=10, end_s=11, failed=100, start_uncertainty_s=0.01, end_uncertainty_s=0.001),
             Outage(start_s=12, end_s=12.2, failed=20, start_uncertainty_s=0.005, end_uncertainty_s=0.004)),
)


def with_views(result: Result) -> Result:
    run = result.runs[0]
    hostile = Detector(false_restarts=1, false_isolations=2, false_isolated_s=3.2, probe_hours=0.1, acts=(
        FalseAct(what="restart", pod=HOSTILE, start_s=12.0, message=HOSTILE),))
    item = run.disruptions[0].model_copy(update={"clients": VIEW, "outages": HUNG.outages})
    return result.model_copy(update={"runs": (run.model_copy(update={
        "disruptions": (item, *run.disruptions[1:]), "clients": VIEW, "detector": hostile}),)})


def test_an_outage_in_words() -> None:
    lines = client_lines(HUNG)
    assert lines[0] == ("out for 1.20 s ± 0.02 s in 2 windows, the longest 1.00 s ± 0.02 s; 94.00 % of 2000 requests "
                        "answered in time, no outage in 94 % of the time")
    assert lines[1].startswith("latency p50/p95/p99 (normal: up to 6.0 ms): 1.0 ms/2.0 ms/4.0 ms before")
    assert lines[1].endswith("back to normal after 2.31 s")
    assert lines[2] == "1.25 s of service lost (resilience loss), at its deepest 100% of it"
    assert lines[3] == ("gray failure: over 700 ms requests failed again and again (never a second without one) while "
                        "every probe was green")
    assert lines[4] == ("error budget (99.9 % over 30 d): 1.20 s of 43 min 12 s used (0.046 %), burn rate 60; would "
                        "have fired the 14.4× alert (1 h and 5 min) after 51.0 s")


def test_no_outage_is_told_with_what_it_does_not_prove() -> None:
    view = ClientView(start_s=0, end_s=10, requests=Requests(due=1000, ok=1000), availability_requests=1.0,
                      availability_time=1.0, failed_at_most=0.003, gray_s=0.0, lost_s=0.0, depth=0.0)
    (line,) = client_lines(HUNG.model_copy(update={"clients": view, "outages": (),
                                                   "requests": Requests(due=1000, ok=1000)}))
    assert line == ("no outage: 100.0 % of 1000 requests answered in time (none failed: of all, at most 0.3 % do, with "
                    "95 % confidence)")


@pytest.mark.parametrize(("failed", "late", "says"), [(3, 0, "failed"), (0, 3, "came late"),
                                                     (2, 1, "failed or came late")])
def test_a_gray_gap_names_what_there_was(failed: int, late: int, says: str) -> None:
    view = VIEW.model_copy(update={"requests": Requests(due=100, ok=97, failed=failed, late=late)})
    (line,) = (line for line in client_lines(HUNG.model_copy(update={"clients": view})) if line.startswith("gray"))
    assert f"requests {says} again and again" in line


def test_a_run_tells_its_own_stretch_from_where_it_begins() -> None:
    """Its count, what these requests met, and since when: not those of the calm before the method."""
    counts = Requests(due=593, ok=429, failed=164, outcomes={"200": 429, "refused": 164})
    view = VIEW.model_copy(update={"start_s": 1.96, "requests": counts, "availability_requests": counts.answered_ratio})
    run = sample_result().runs[0].model_copy(update={
        "clients": view, "outages": HUNG.outages, "detector": None,
        "requests": Requests(due=789, ok=625, failed=164, outcomes={"200": 625, "refused": 164})})
    lines = client_lines(run)
    assert "72.3 % of 593 requests from the method on, at 1.96 s, answered in time" in lines[0]
    assert lines[1] == "what requests met: 429 × 200, 164 × refused"
    assert lines[2].endswith("back to normal 2.31 s after the method began")
    assert lines[-1].endswith("alert (1 h and 5 min) 59.0 s after the method began")


def test_what_did_not_end_says_so() -> None:
    open_ended = HUNG.outages[0].model_copy(update={"ended": False})
    view = VIEW.model_copy(update={"outage_count": 1, "latency_normal_s": None})
    lines = client_lines(HUNG.model_copy(update={"clients": view, "outages": (open_ended,)}))
    assert "(it had not ended)" in lines[0]
    assert lines[1].endswith("not back to normal while watched")


def test_noise_that_was_lived_through_is_told_and_false_acts_are_named() -> None:
    quiet = Disruption(name="noise", kind="fault", noise=True, detector=Detector(probe_hours=0.25))
    assert client_lines(quiet) == [
        "lived through unnoticed: no false restart, no false isolation in 0.25 probe-hours"]
    assert client_lines(quiet.model_copy(update={"noise": False})) == []
    shot = Detector(false_restarts=2, false_isolations=1, false_isolated_s=3.2, acts=(
        FalseAct(what="restart", pod="default/web-1", start_s=12.0, message="Container web failed liveness probe"),))
    assert client_lines(quiet.model_copy(update={"detector": shot})) == [
        "false acts against pods that no fault had hit: 2 restarts, 1 isolation (3.20 s out of rotation)",
        "restart of default/web-1 at 12.00 s: Container web failed liveness probe"]
    long = shot.model_copy(update={"probe_hours": 0.5, "acts": ()})
    assert client_lines(quiet.model_copy(update={"detector": long}))[0].endswith(
        "; 4,000 restarts and evictions per 1,000 probe-hours")


@pytest.mark.parametrize(("share", "of", "says"), [
    (0.5, 10, "50 %"), (0.995, 200, "99.5 %"), (0.9999, 10_000, "99.99 %"), (1.0, 0, "100 %"),
])
def test_a_share_has_no_more_digits_than_its_requests_support(share: float, of: int, says: str) -> None:
    assert say_share(share, of) == says


def test_every_report_tells_it_and_nothing_breaks_out() -> None:
    result = with_views(sample_result())
    for text in (terminal.render(result, width=400), markdown.render(result), html.render(result)):
        assert "requests failed again and again (never a second without one) while every probe was green" in text
        assert "false acts against pods that no fault had hit: 1 restart, 2 isolations" in text
        assert "\x1b" not in text
    assert "<script>alert(1)" not in html.render(result)
    assert "<script>" not in markdown.render(result)
    assert clean(HOSTILE) in terminal.render(result, width=400)
