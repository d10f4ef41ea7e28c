"""What one look at a CronJob does: whether a Job starts now, which ones go, and what the status says.

Only the latest time that was missed is run. Leaves to its loop: time zones, creation, deletion.

Source: kubernetes pkg/controller/cronjob/{cronjob_controllerv2,utils}.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from testbed.api.batch_v1 import CronJob, Job
from testbed.api.cron import Schedule
from testbed.api.meta import format_time, parse_time
from testbed.core import jobs
from testbed.core.reasons import Note

Json = dict[str, Any]
MANY_MISSED = 100
AFTER_S = 0.1  # later than the scheduled time, so that the clock has surely passed it (nextScheduleDelta)


@dataclass(frozen=True)
class Child:
    """A Job of the CronJob."""

    view: Job
    status: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.view.metadata.name

    @property
    def outcome(self) -> str:
        """Complete, Failed, or empty while it runs."""
        done = jobs.finished(self.status)
        return str(done["type"]) if done is not None else ""


@dataclass(frozen=True)
class CronJobPlan:
    """``start``: the scheduled time of a Job to make now; ``replace``: running Jobs that go first; ``expired``: ended
    ones beyond the limits. ``status``: as JSON, without the Job that starts."""

    status: Json
    start: datetime | None = None
    replace: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    requeue_after_s: float | None = None
    notes: tuple[Note, ...] = ()


def job_name(cron_job: str, scheduled: datetime) -> str:
    """One name per scheduled minute: no time is run twice (kubernetes: getJobName)."""
    return f"{cron_job}-{int(scheduled.timestamp()) // 60}"


def reference(job: Mapping[str, Any]) -> Json:
    meta = job["metadata"]
    return {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "namespace": meta["namespace"],
            "uid": meta["uid"], "resourceVersion": meta.get("resourceVersion", "")}


def plan(
    cron_job: CronJob, status: Mapping[str, Any], children: Sequence[Child], schedule: Schedule, zone: tzinfo,
    now: datetime,
) -> CronJobPlan:
    """
    Args:
        status: the present status as JSON.
        children: all Jobs that the CronJob controls.
    """
    fresh, notes = _follow(status, children)
    spec = cron_job.spec
    expired = (*_beyond(children, "Complete", spec.successful_jobs_history_limit),
               *_beyond(children, "Failed", spec.failed_jobs_history_limit))
    if cron_job.metadata.deleting or spec.suspend:
        return CronJobPlan(fresh, expired=() if cron_job.metadata.deleting else expired, notes=tuple(notes))
    following = schedule.next_after(now, zone)
    wait_s = (following - now).total_seconds() + AFTER_S if following is not None else None
    scheduled, missed = schedule.last_before(now, _earliest(cron_job, now), zone)
    if missed > MANY_MISSED:
        notes.append(Note("TooManyMissedTimes", "too many missed start times. Set or decrease "
                          ".spec.startingDeadlineSeconds or check clock skew", "Warning"))
    running = [child for child in children if not child.outcome]
    start = scheduled
    replace: tuple[str, ...] = ()
    if scheduled is not None and scheduled == cron_job.status.last_schedule_time:
        start = None
    elif scheduled is not None and _too_late(cron_job, scheduled, now):
        notes.append(Note("MissSchedule", f"Missed scheduled time to start a job: {format_time(scheduled)}", "Warning"))
        start = None
    elif scheduled is not None and running and spec.concurrency_policy == "Forbid":
        notes.append(Note("JobAlreadyActive", "Not starting job because prior execution is running and concurrency "
                                              "policy is Forbid"))
        start = None
    if start is not None and spec.concurrency_policy == "Replace":
        replace = tuple(child.name for child in running if not child.view.metadata.deleting)
    return CronJobPlan(fresh, start, replace, expired, wait_s, tuple(notes))


def _earliest(cron_job: CronJob, now: datetime) -> datetime:
    """From when on missed times count."""
    earliest = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp or now
    deadline_s = cron_job.spec.starting_deadline_seconds
    if deadline_s is not None:
        earliest = max(earliest, now - timedelta(seconds=deadline_s))
    return earliest


def _too_late(cron_job: CronJob, scheduled: datetime, now: datetime) -> bool:
    deadline_s = cron_job.spec.starting_deadline_seconds
    return deadline_s is not None and scheduled + timedelta(seconds=deadline_s) < now


def _follow(status: Mapping[str, Any], children: Sequence[Child]) -> tuple[Json, list[Note]]:
    """The status after what the Jobs have done: who runs, and when one last went well."""
    fresh, notes = dict(status), []
    by_uid = {child.view.metadata.uid: child for child in children}
    for item in fresh.get("active") or ():
        known = by_uid.get(item.get("uid", ""))
        if known is None:
            notes.append(Note("MissingJob", f"Active job went missing: {item.get('name')}"))
        elif known.outcome:
            notes.append(Note("SawCompletedJob", f"Saw completed job: {known.name}, condition: {known.outcome}"))
    active = [
        reference({"metadata": {"name": child.name, "namespace": child.view.metadata.namespace,
                                "uid": child.view.metadata.uid,
                                "resourceVersion": child.view.metadata.resource_version}})
        for child in sorted(children, key=lambda child: child.name) if not child.outcome
    ]
    known_active = {item.get("uid"): item for item in fresh.get("active") or ()}
    fresh.pop("active", None)
    if active:  # a reference stays as it was made: its version would change with every look
        fresh["active"] = [known_active.get(item["uid"], item) for item in active]
    ends = [parse_time(str(child.status["completionTime"])) for child in children
            if child.outcome == "Complete" and child.status.get("completionTime")]
    if ends:
        before = fresh.get("lastSuccessfulTime")
        latest = max(ends + ([parse_time(before)] if before else []))
        fresh["lastSuccessfulTime"] = format_time(latest)
    return fresh, notes


def _beyond(children: Sequence[Child], outcome: str, limit: int) -> tuple[str, ...]:
    """The oldest finished ones beyond ``limit``."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    ended = sorted((child for child in children if child.outcome == outcome and not child.view.metadata.deleting),
                   key=lambda child: (child.view.metadata.creation_timestamp or epoch, child.name))
    return tuple(child.name for child in ended[: max(len(ended) - limit, 0)])
