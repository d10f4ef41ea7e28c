"""CronJobs: makes a Job when its time has come (core: ``cronjobs``). The time is the wall clock's, looked at every
minute at least, so that a clock that is set is noticed."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from testbed.api import cron
from testbed.api.batch_v1 import CronJob
from testbed.api.meta import format_time
from testbed.api.resources import CRON_JOBS, JOBS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools, deep_copy
from testbed.controlplane.owners import controlled_by, controller_uid
from testbed.core import cronjobs
from testbed.core.cronjobs import Child, CronJobPlan
from testbed.core.reasons import Note
from testbed.errors import AlreadyExists, ApiError, NotFound

Json = dict[str, Any]
LONGEST_WAIT_S = 60.0
SCHEDULED_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController(Controller):
    name = "cronjob-controller"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._cron_jobs, self._jobs = tools.caches.cron_jobs, tools.caches.jobs
        self._cron_jobs.on_change(lambda old, new: self.queue.add(key_of(new or old or {})))
        self._jobs.on_change(self._job_changed)

    def _job_changed(self, old: Json | None, new: Json | None) -> None:
        for uid in {controller_uid(old): None, controller_uid(new): None}:
            for key in self._cron_jobs.keys_by("uid", uid):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        view, json = self._cron_jobs.get(key), self._cron_jobs.json(key)
        if view is None or json is None:
            return None
        try:
            schedule, zone = cron.parse(view.spec.schedule), zone_of(view)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:  # only what was stored by an older server
            text = f"unparseable schedule: {view.spec.schedule!r}: {error}"
            self.tell(json, Note("UnparseableSchedule", text, "Warning"))
            return None
        plan = cronjobs.plan(view, json.get("status") or {}, self._children(view), schedule, zone, self.clock.now())
        for note in plan.notes:
            self.tell(json, note)
        for name in (*plan.replace, *plan.expired):
            await self._delete(json, name)
        status = plan.status
        if plan.start is not None:
            status = await self._start(json, plan, plan.start, zone)
        if status != (json.get("status") or {}):
            await self.tools.update(CRON_JOBS, {**json, "status": status}, subresource="status")
        return min(plan.requeue_after_s, LONGEST_WAIT_S) if plan.requeue_after_s is not None else None

    def _children(self, view: CronJob) -> list[Child]:
        return [Child(job, (self._jobs.json(job.key) or {}).get("status") or {})
                for job in self._jobs.by("controller", view.metadata.uid)]

    async def _start(self, json: Json, plan: CronJobPlan, scheduled: datetime, zone: tzinfo) -> Json:
        """Makes the Job, or finds it made already. Returns the status with it."""
        job = job_of(json, scheduled, zone)
        meta = job["metadata"]
        try:
            made = await self.tools.create(JOBS, job, meta["namespace"])
        except AlreadyExists:
            made = await self.client.get(JOBS, meta["name"], meta["namespace"])
            if controller_uid(made) != json["metadata"]["uid"]:
                raise
        except ApiError as error:
            self.tell(json, Note("FailedCreate", f"Error creating job: {error}", "Warning"))
            raise
        else:
            self.tell(json, Note("SuccessfulCreate", f"Created job {meta['name']}"))
        active = [item for item in plan.status.get("active") or () if item["name"] not in plan.replace]
        if all(item["uid"] != made["metadata"]["uid"] for item in active):
            active.append(cronjobs.reference(made))
        return {**plan.status, "active": active, "lastScheduleTime": format_time(scheduled)}

    async def _delete(self, json: Json, name: str) -> None:
        try:
            await self.client.delete(JOBS, name, json["metadata"]["namespace"])
        except NotFound:
            return
        self.tell(json, Note("SuccessfulDelete", f"Deleted job {name}"))


def zone_of(view: CronJob) -> tzinfo:
    """UTC unless the CronJob names a zone. Raises: ValueError, OSError, ZoneInfoNotFoundError (a KeyError)
    when there is none of that name."""
    return ZoneInfo(view.spec.time_zone) if view.spec.time_zone else UTC


def job_of(cron_job: Json, scheduled: datetime, zone: tzinfo) -> Json:
    template = deep_copy(cron_job["spec"]["jobTemplate"])
    metadata = template.get("metadata") or {}
    moment = scheduled.astimezone(zone).isoformat().replace("+00:00", "Z")
    annotations = {**(metadata.get("annotations") or {}), SCHEDULED_TIME: moment}
    return {
        "apiVersion": JOBS.api_version, "kind": JOBS.kind, "spec": template["spec"],
        "metadata": {
            "name": cronjobs.job_name(cron_job["metadata"]["name"], scheduled),
            "namespace": cron_job["metadata"]["namespace"], "labels": dict(metadata.get("labels") or {}),
            "annotations": annotations, "ownerReferences": [controlled_by(CRON_JOBS, cron_job)],
        },
    }
