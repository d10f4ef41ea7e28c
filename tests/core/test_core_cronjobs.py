"""Cron schedules, and when a CronJob starts a Job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, ZoneInfo

import pytest
from core_objects import NOON
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.api import cron
from testbed.api.batch_v1 import CronJob, Job
from testbed.api.meta import format_time
from testbed.core import cronjobs
from testbed.core.cronjobs import Child

Json = dict[str, Any]
needs_zones = pytest.mark.skipif(not any((Path(each) / "Europe/Berlin").is_file() for each in TZPATH),
                                 reason="this machine has no time zones: apt install tzdata")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("schedule", "after", "expected"), [
    ("* * * * *", "2026-11-29T12:00:00", "2026-11-29T12:01"),
    ("*/15 * * * *", "2026-11-29T12:14:59", "2026-11-29T12:15"),
    ("5/20 * * * *", "2026-11-29T12:26", "2026-11-29T12:45"),
    ("0 3 * * *", "2026-11-29T12:00", "2026-11-30T03:00"),
    ("30 8-10/2 * * *", "2026-11-29T08:31", "2026-11-29T10:30"),
    ("0 0 1 jan *", "2026-11-29T12:00", "2027-01-01T00:00"),
    ("0 0 * * MON-fri", "2026-11-29T12:00", "2026-11-30T00:00"),  # the 29th is a Sunday
    ("0 0 * * 0", "2026-11-29T12:00", "2026-12-06T00:00"),
    ("0 0 13 * fri", "2026-11-29T12:00", "2026-12-04T00:00"),  # either day is enough
    ("0 0 29 2 *", "2026-11-29T12:00", "2028-02-29T00:00"),
    ("@hourly", "2026-11-29T12:30", "2026-11-29T13:00"),
    ("@every 90s", "2026-11-29T12:00", "2026-11-29T12:01:30"),
    ("@every 1h30m", "2026-11-29T12:00", "2026-11-29T13:30"),
])
def test_the_next_time(schedule: str, after: str, expected: str) -> None:
    assert cron.parse(schedule).next_after(at(after)) == at(expected)


def test_a_date_that_never_comes() -> None:
    assert cron.parse("0 0 30 2 *").next_after(NOON) is None


@pytest.mark.parametrize("text", [
    "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "a * * * *",
    "*/0 * * * *", "9-5 * * * *", "@never", "@every soon", "@every 10ms", "-1 * * * *",
])
def test_a_wrong_schedule_is_told(text: str) -> None:
    with pytest.raises(ValueError):
        cron.parse(text)


@needs_zones
def test_time_zones_and_the_hour_that_does_not_exist() -> None:
    """On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00."""
    berlin, daily = ZoneInfo("Europe/Berlin"), cron.parse("30 2 * * *")
    assert daily.next_after(at("2026-03-28T00:00"), berlin) == at("2026-03-28T01:30")
    assert daily.next_after(at("2026-03-28T02:00"), berlin) == at("2026-03-30T00:30")


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/7", "10-50/20", "5,35"]), st.sampled_from(["*", "3", "*/6", "9-17"]),
    st.sampled_from(["*", "1", "*/10"]), st.sampled_from(["*", "2", "1-6"]), st.sampled_from(["*", "1-5", "0"]),
)


@settings(max_examples=80)
@given(FIELDS, st.integers(0, 60 * 24 * 30), st.integers(1, 60 * 24 * 3))
def test_the_latest_missed_time_is_the_last_of_all_next_times(
    fields: tuple[str, ...], start_min: int, span_min: int
) -> None:
    schedule, start = cron.parse(" ".join(fields)), NOON + timedelta(minutes=start_min)
    now, expected, moment = start + timedelta(minutes=span_min), None, start
    while (following := schedule.next_after(moment)) is not None and following <= now:
        expected = moment = following
    assert schedule.last_before(now, start)[0] == expected


# --- what happens at a look


def cron_job(last: datetime | None = None, created: datetime = NOON, **spec: Any) -> CronJob:
    status = {"lastScheduleTime": format_time(last)} if last else {}
    return CronJob.of({"metadata": {"name": "cj", "uid": "cj", "creationTimestamp": format_time(created)},
                       "spec": {"schedule": "*/5 * * * *", **spec}, "status": status})


def child(name: str, outcome: str = "", age_s: float = 60) -> Child:
    created = format_time(NOON - timedelta(seconds=age_s))
    status: Json = {"conditions": [{"type": outcome, "status": "True"}]} if outcome else {}
    if outcome == "Complete":
        status["completionTime"] = created
    return Child(Job.of({"metadata": {"name": name, "uid": name, "namespace": "default",
                                      "creationTimestamp": created}}), status)


def look(subject: CronJob, now: datetime, children: list[Child] | None = None, status: Json | None = None) -> Any:
    return cronjobs.plan(subject, status or {}, children or [], cron.parse(subject.spec.schedule), UTC, now)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("subject", "minutes", "running", "start", "reasons"), [
    (cron_job(), 4, False, None, []),
    (cron_job(), 5, False, 5, []),
    (cron_job(), 7, False, 5, []),
    (cron_job(), 23, False, 20, []),  # only the latest of those that were missed
    (cron_job(last=NOON + 5 * MINUTE), 7, False, None, []),
    (cron_job(suspend=True), 7, False, None, []),
    (cron_job(startingDeadlineSeconds=60), 7, False, None, []),
    (cron_job(startingDeadlineSeconds=180), 7, False, 5, []),
    (cron_job(), 5, True, 5, []),
    (cron_job(concurrencyPolicy="Forbid"), 5, True, None, ["JobAlreadyActive"]),
    (cron_job(concurrencyPolicy="Replace"), 5, True, 5, []),
    (cron_job(), 5 * 200, False, 5 * 200, ["TooManyMissedTimes"]),
    (cron_job(startingDeadlineSeconds=600), 5 * 200, False, 5 * 200, []),
])
def test_when_a_job_starts(
    subject: CronJob, minutes: int, running: bool, start: int | None, reasons: list[str]
) -> None:
    plan = look(subject, NOON + minutes * MINUTE, [child("old")] if running else [])
    assert plan.start == (NOON + start * MINUTE if start is not None else None)
    assert [note.reason for note in plan.notes] == reasons
    assert plan.replace == (("old",) if subject.spec.concurrency_policy == "Replace" and running else ())


def test_it_comes_back_just_after_the_next_time() -> None:
    assert look(cron_job(), NOON + timedelta(seconds=30)).requeue_after_s == pytest.approx(270.1)
    assert look(cron_job(suspend=True), NOON).requeue_after_s is None


def test_a_name_per_minute() -> None:
    assert cronjobs.job_name("cj", at("2026-11-29T12:05")) == f"cj-{int(at('2026-11-29T12:05').timestamp()) // 60}"


def test_history_keeps_the_newest() -> None:
    children = [child(f"ok{i}", "Complete", age_s=100 - i) for i in range(5)] + [
        child(f"bad{i}", "Failed", age_s=100 - i) for i in range(3)] + [child("running")]
    assert look(cron_job(), NOON, children).expired == ("ok0", "ok1", "bad0", "bad1")


def test_the_status_follows_its_jobs() -> None:
    before = {"active": [{"name": "done", "uid": "done"}, {"name": "lost", "uid": "lost"}]}
    plan = look(cron_job(), NOON, [child("done", "Complete", age_s=30), child("runs")], before)
    assert [item["name"] for item in plan.status["active"]] == ["runs"]
    assert plan.status["lastSuccessfulTime"] == format_time(NOON - timedelta(seconds=30))
    assert sorted(note.reason for note in plan.notes) == ["MissingJob", "SawCompletedJob"]
