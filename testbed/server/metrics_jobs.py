"""Jobs and CronJobs under kube-state-metrics' names.

Source: kubernetes/kube-state-metrics docs/metrics/workload/{job,cronjob}-metrics.md, internal/store/*.go.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from testbed.api import cron
from testbed.api.meta import parse_time
from testbed.api.resources import CRON_JOBS, JOBS
from testbed.server.metrics_pieces import (
    CREATED,
    NAMELESS,
    OWNER,
    Json,
    Kind,
    Row,
    Values,
    condition,
    created,
    fact,
    given,
    key_of,
    number,
    owners,
    spec_of,
    status_moment,
    status_of,
    text_of,
)

FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")


def _failures(job: Json) -> Values:
    """By reason: one that is known is 1 and the others 0; without one, the number of failed pods."""
    count = float(status_of(job).get("failed", 0))
    failed = next((item for item in status_of(job).get("conditions") or () if item.get("type") == "Failed"), None)
    if not count or failed is None or failed.get("reason") not in FAILURES:
        return [(("",), count)]
    return [((reason,), float(failed["reason"] == reason)) for reason in FAILURES]


JOBS_SHOWN = Kind(JOBS, ("namespace", "job_name"), key_of, (
    Row("kube_job_info", "Information about job.", fact(lambda job: ())),
    Row("kube_job_created", CREATED, created),
    Row("kube_job_owner", "Information about the Job's owner.", owners, OWNER),
    Row("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time.",
        given("spec", "parallelism")),
    Row("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with.",
        given("spec", "completions")),
    Row("kube_job_spec_active_deadline_seconds", "The duration in seconds relative to the startTime that the job may "
        "be active before the system tries to terminate it.", given("spec", "activeDeadlineSeconds")),
    Row("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded.",
        number("status", "succeeded")),
    Row("kube_job_status_active", "The number of actively running pods.", number("status", "active")),
    Row("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.",
        _failures, ("reason",)),
    Row("kube_job_complete", "The job has completed its execution.", condition("Complete"), ("condition",)),
    Row("kube_job_failed", "The job has failed its execution.", condition("Failed"), ("condition",)),
    Row("kube_job_status_suspended", "The number of pods which reached Phase Suspended.", condition("Suspended"),
        ("condition",)),
    Row("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager.",
        status_moment("startTime")),
    Row("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.",
        status_moment("completionTime")),
))


def _next(job: Json) -> Values:
    """Not of a suspended one."""
    if spec_of(job).get("suspend"):
        return []
    since = parse_time(status_of(job).get("lastScheduleTime") or job["metadata"]["creationTimestamp"])
    try:
        zone = ZoneInfo(spec_of(job).get("timeZone") or "UTC")
        found = cron.parse(spec_of(job).get("schedule", "")).next_after(since, zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return []
    return [] if found is None else [(NAMELESS, found.timestamp())]


def _about(job: Json) -> tuple[str, ...]:
    return (*text_of(spec_of(job), "schedule", "concurrencyPolicy"), spec_of(job).get("timeZone") or "local")


CRON_JOBS_SHOWN = Kind(CRON_JOBS, ("namespace", "cronjob"), key_of, (
    Row("kube_cronjob_info", "Info about cronjob.", fact(_about), ("schedule", "concurrency_policy", "timezone")),
    Row("kube_cronjob_created", CREATED, created),
    Row("kube_cronjob_metadata_resource_version", "Resource version representing a specific version of the cronjob.",
        lambda job: [(NAMELESS, float(job["metadata"]["resourceVersion"]))]),
    Row("kube_cronjob_spec_suspend", "Suspend flag tells the controller to suspend subsequent executions.",
        number("spec", "suspend")),
    Row("kube_cronjob_spec_starting_deadline_seconds", "Deadline in seconds for starting the job if it misses "
        "scheduled time for any reason.", given("spec", "startingDeadlineSeconds")),
    Row("kube_cronjob_spec_successful_job_history_limit", "Successful job history limit tells the controller how many "
        "completed jobs should be preserved.", given("spec", "successfulJobsHistoryLimit")),
    Row("kube_cronjob_spec_failed_job_history_limit", "Failed job history limit tells the controller how many failed "
        "jobs should be preserved.", given("spec", "failedJobsHistoryLimit")),
    Row("kube_cronjob_status_active", "Active holds pointers to currently running jobs.",
        lambda job: [(NAMELESS, float(len(status_of(job).get("active") or ())))]),
    Row("kube_cronjob_status_last_schedule_time", "LastScheduleTime keeps information of when was the last time the "
        "job was successfully scheduled.", status_moment("lastScheduleTime")),
    Row("kube_cronjob_status_last_successful_time", "LastSuccessfulTime keeps information of when was the last time "
        "the job was completed successfully.", status_moment("lastSuccessfulTime")),
    Row("kube_cronjob_next_schedule_time", "Next time the cronjob should be scheduled. The time after "
        "lastScheduleTime, or after the cron job's creation time if it's never been scheduled.", _next),
))
