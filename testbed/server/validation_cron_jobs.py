"""Which CronJobs are valid.

Source: kubernetes pkg/apis/batch/validation/validation.go (ValidateCronJobCreate).
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from testbed.api import cron
from testbed.server.causes import Causes
from testbed.server.validation_containers import not_negative
from testbed.server.validation_jobs import check_job_spec

Json = dict[str, Any]

_LONGEST_CRON_NAME = 52  # a Job's name is 11 characters longer


def check_cron_job(obj: Json, causes: Causes) -> None:
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name", "")
    if len(name) > _LONGEST_CRON_NAME:
        causes.invalid("metadata.name", name, f"must be no more than {_LONGEST_CRON_NAME} characters")
    schedule = spec.get("schedule") or ""
    if not schedule:
        causes.required("spec.schedule")
    elif "TZ" in schedule:
        causes.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    else:
        try:
            cron.parse(schedule)
        except ValueError as error:
            causes.invalid("spec.schedule", schedule, str(error))
    zone = spec.get("timeZone")
    if zone == "":
        causes.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone is not None and zone.lower() == "local":
        causes.invalid("spec.timeZone", zone,
                       "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
    elif zone is not None and not _is_zone(zone):
        causes.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
    if spec.get("concurrencyPolicy") not in ("Allow", "Forbid", "Replace"):
        causes.not_supported("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        not_negative(spec.get(key), f"spec.{key}", causes)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    if job.get("selector") is not None:
        causes.invalid("spec.jobTemplate.spec.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        causes.not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    check_job_spec(job, "spec.jobTemplate.spec", causes)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True
