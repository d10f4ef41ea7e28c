"""Every report says whether somebody would have been paged, and where the logs of what was disrupted are."""

from __future__ import annotations

import pytest
from support.report_sample import HOSTILE, sample_result
from test_report_study import study

from testbed.experiment.result import Alert, Disruption, KeptLog, Result, TimelineEvent
from testbed.experiment.statistics import over_runs
from testbed.report import html, markdown, terminal
from testbed.report.html_data import waterfall_data
from testbed.report.log_words import log_lines, logs_of, said
from testbed.report.study.rows import titles
from testbed.report.words import columns, say_quantity

FORMS = {"terminal": lambda result: terminal.render(result, width=200), "markdown": markdown.render,
         "html": html.render}


def paged(*after_s: float, pager: bool = True, runs: int = 1) -> Result:
    """The crash of every run, with alerts so long after it."""
    result = sample_result(runs)
    changed = []
    for run in result.runs:
        crash, *others = run.disruptions
        zero = crash.marks.injected or 0.0
        alerts = tuple(Alert(name=f"Alert{index}", at_s=zero + seconds, object="deployment default/web")
                       for index, seconds in enumerate(after_s, 1))
        first = {"alerted": zero + after_s[0]} if after_s else {}
        crash = crash.model_copy(update={
            "pager_s": 50.5 if pager else None, "alerts": alerts, "marks": crash.marks.model_copy(update=first),
            "mark_uncertainties": {"injected": 0.001, "alerted": 0.001}})
        changed.append(run.model_copy(update={"disruptions": (crash, *others)}))
    return result.model_copy(update={"runs": tuple(changed), "statistics": over_runs(changed, 7)})


def the_crash(result: Result) -> Disruption:
    return result.runs[0].disruptions[0]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_when_somebody_was_paged_and_by_what(form: str) -> None:
    text = FORMS[form](paged(4.0, 9.0))
    assert "paged after 4.00 s: Alert1 (deployment default/web)" in text
    assert "then Alert2 (deployment default/web) after 9.00 s" in text


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_that_nobody_was_paged_where_somebody_could_have_been(form: str) -> None:
    text = FORMS[form](paged())
    assert "not paged: no alert of it within the 50.5 s that one was waited for" in text
    assert "paged" not in FORMS[form](paged(pager=False)), "without an Alertmanager nothing is said of it"


def test_tables_have_the_column_only_where_an_alertmanager_was_attached() -> None:
    result = paged(4.0, runs=3)
    assert columns(result)["alerted"] == "paged" and "alerted" not in columns(paged(pager=False))
    assert say_quantity(result, "crash", "alerted").startswith("4.00 s (4.00 s")
    assert say_quantity(paged(), "crash", "alerted") == "not paged"
    assert say_quantity(result, "hang", "alerted") == "–", "nobody looked at that one"


def test_the_waterfall_has_the_alert_in_a_lane_of_its_own_unless_it_came_long_after() -> None:
    (mark,) = [mark for mark in waterfall_data(the_crash(paged(1.5)))["marks"] if mark["lane"] == "alerts"]
    assert (mark["at"], mark["label"]) == (1.5, "alerted: Alert1")
    assert all(mark["lane"] != "alerts" for mark in waterfall_data(the_crash(paged(60.0)))["marks"])


# --- logs and events


def log(pod: str, container: str, file: str, **more: object) -> KeptLog:
    return KeptLog.model_validate({"pod": pod, "container": container, "file": file, "read_at_s": 60.0, **more})


LOGS = (
    log("default/web-7d9-x1", "web", "logs/run-1-web-7d9-x1-web.log", read_at_s=9.5),
    log("default/web-7d9-x1", "web", "logs/run-1-web-7d9-x1-web.previous.log", of="previous", read_at_s=9.5),
    log("default/other", "side", "logs/run-1-other-side.log"),
)


def with_logs(*logs: KeptLog, missing: tuple[str, ...] = ()) -> Result:
    result = sample_result()
    run = result.runs[0].model_copy(update={"logs": logs, "logs_missing": missing})
    return result.model_copy(update={"runs": (run,)})


def test_the_page_links_each_log_at_its_disruption_and_all_at_the_run() -> None:
    page = html.render(with_logs(*LOGS, missing=("web-9: is gone, and its logs with it",)))
    assert page.count('href="./logs/run-1-web-7d9-x1-web.log"') == 2, "at the crash that hit it, and at the run"
    assert page.count('href="./logs/run-1-other-side.log"') == 1
    assert "web-7d9-x1 web, the attempt before, as it was at 9.50 s" in page
    assert "no log of web-9: is gone, and its logs with it" in page


@pytest.mark.parametrize("file", ["/etc/passwd", "../../secret.log", "logs/../../x.log"])
def test_a_link_leads_nowhere_but_into_the_run_s_folder(file: str) -> None:
    page = html.render(with_logs(log("default/other", "side", file)))
    assert file not in page


def test_nothing_of_a_log_s_name_is_markup() -> None:
    page = html.render(with_logs(log(HOSTILE, HOSTILE, f"logs/{HOSTILE}"), missing=(HOSTILE,)))
    assert "<script>alert(1)" not in page and "onerror=alert(2)>" not in page


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_the_summary_says_whose_logs_there_are_and_whose_not(form: str) -> None:
    text = FORMS[form](with_logs(*LOGS, missing=("web-9: is gone",))).replace("\\", "")
    assert "logs of what was disrupted: 3 in logs/run-1-*.log, of web-7d9-x1, other" in text
    assert "no log of web-9: is gone" in text
    assert "logs of what" not in FORMS[form](sample_result())


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_pods_without_a_log_for_the_same_reason_share_a_line(form: str) -> None:
    missing = ("web-1: it had logged nothing", "web-2: is gone", "web-3: it had logged nothing")
    text = FORMS[form](with_logs(missing=missing)).replace("\\", "")
    assert text.count("no log of") == 2
    assert "no log of web-1, web-3: it had logged nothing" in text and "no log of web-2: is gone" in text


def test_logs_of_a_disruption_are_those_of_the_pods_that_it_hit() -> None:
    (run,) = with_logs(*LOGS).runs
    assert [item.file for item in logs_of(run.disruptions[0], run)] == [LOGS[0].file, LOGS[1].file]
    assert logs_of(run.disruptions[2], run) == [], "a node has none"
    assert said(LOGS[2], run) == "other side" and log_lines(run)[0].startswith("logs of what was disrupted: 3")


def test_events_stand_in_the_page_with_their_reasons_and_warnings_stand_out() -> None:
    result = sample_result()
    events = (TimelineEvent(at_s=6.2, kind="BackOff", object="pod default/web-1", message="back-off 20 s",
                            level="warning"),
              TimelineEvent(at_s=6.3, kind="Started", object="pod default/web-1"))
    page = html.render(result.model_copy(update={"runs": (result.runs[0].model_copy(update={"events": events}),)}))
    assert '<td class="unknown">BackOff</td>' in page and "back-off 20 s" in page and "<td>Started</td>" in page


def test_a_study_s_tables_have_the_same_columns() -> None:
    shown = study()
    assert titles(shown)[-1] == "failed"
    first = shown.variants[0].model_copy(update={"result": paged(4.0, runs=3)})
    assert titles(shown.model_copy(update={"variants": (first, *shown.variants[1:])}))[-1] == "paged"
