"""CJ: CronJobs (test/e2e/apps/cronjob.go). Schedules are of whole minutes, so nearly all run in virtual time only."""

from __future__ import annotations

from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import CRON_JOBS, JOBS, PODS

from .kube import Kube, is_true, moment
from .manifests import POLITE, app
from .registry import case

Json = dict[str, Any]
STAMP = "batch.kubernetes.io/cronjob-scheduled-timestamp"


async def create(kube: Kube, script: str, *, job: Json | None = None, **spec: Any) -> Json:
    template = {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [
        app(script=script)]}}
    return await kube.create(CRON_JOBS, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"},
                                         "spec": {"schedule": "*/1 * * * *", "concurrencyPolicy": "Allow",
                                                  "jobTemplate": {"spec": {"template": template, **(job or {})}},
                                                  **spec}})


async def active(kube: Kube, at_least: int = 1, within_s: float = 300) -> list[str]:
    """Waits until so many Jobs run by the CronJob's status, and returns their names."""
    async def look() -> list[str] | None:
        found = (await kube.get(CRON_JOBS, "cron")).get("status", {}).get("active") or []
        return [item["name"] for item in found] if len(found) >= at_least else None

    names: list[str] = await kube.until(f"{at_least} Jobs are active", look, within_s)
    return names


async def jobs(kube: Kube) -> list[Json]:
    return await kube.list(JOBS)


@case("CJ-01", real_s=150)
async def jobs_run_at_the_same_time(kube: Kube) -> None:
    await create(kube, POLITE)
    await active(kube, 2)
    assert len([job for job in await jobs(kube) if job["status"].get("active")]) >= 2


@case("CJ-03", real_s=150)
async def replace_ends_the_running_one(kube: Kube) -> None:
    await create(kube, POLITE, concurrencyPolicy="Replace")
    (first,) = await active(kube)

    async def replaced() -> bool:
        names = [job["metadata"]["name"] for job in await jobs(kube)]
        return bool(names) and first not in names

    await kube.until("the Job was replaced", replaced, 300)
    assert len(await active(kube)) == 1


@case("CJ-04", "missed", real_s=80)
async def more_than_a_hundred_missed_times_still_schedule(kube: Kube) -> None:
    made = await create(kube, POLITE, suspend=True, startingDeadlineSeconds=60 * 60 * 60)
    long_ago = format_time(moment(made["metadata"]["creationTimestamp"]).replace(year=2015))
    await kube.patch(CRON_JOBS, "cron", {"status": {"lastScheduleTime": long_ago}}, subresource="status")
    await kube.patch(CRON_JOBS, "cron", {"spec": {"suspend": False}})
    await active(kube, within_s=80)


def history(outcome: str, script: str, condition: str, **limits: int) -> None:
    @case("CJ-04", f"{outcome}-limit", real_s=200)
    async def body(kube: Kube) -> None:
        await create(kube, script, job={"backoffLimit": 0}, **limits)

        async def finished() -> Json | None:
            return next((job for job in await jobs(kube) if is_true(job, condition)), None)

        first = (await kube.until("a Job has finished", finished, 300))["metadata"]["name"]

        async def replaced() -> bool:
            done = [job["metadata"]["name"] for job in await jobs(kube) if is_true(job, condition)]
            assert len(done) <= 2
            return len(done) == 1 and first not in done

        await kube.until("only the newest finished Job is left", replaced, 300)
        assert not (await kube.get(CRON_JOBS, "cron"))["status"].get("active")


history("successful", "exit 0", "Complete", successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
history("failed", "exit 1", "Failed", successfulJobsHistoryLimit=0, failedJobsHistoryLimit=1)


@case("CJ-04", "active-list", real_s=75)
async def a_deleted_job_leaves_the_list(kube: Kube) -> None:
    await create(kube, POLITE, concurrencyPolicy="Forbid")
    (name,) = await active(kube)
    await kube.delete(JOBS, name)

    async def cleaned() -> bool:
        found = (await kube.get(CRON_JOBS, "cron"))["status"].get("active") or []
        return name not in [item["name"] for item in found]

    await kube.until("the deleted Job is off the list", cleaned, 60)


@case("CJ-04", "time-zone", real_s=5)
async def a_time_zone_is_kept_and_an_unknown_one_refused(kube: Kube) -> None:
    made = await create(kube, "exit 0", timeZone="America/New_York", suspend=True)
    assert made["spec"]["timeZone"] == "America/New_York"
    refused = await kube.refused(kube.patch(CRON_JOBS, "cron", {"spec": {"timeZone": "bad/place"}}))
    assert refused.code == 422 and "unknown time zone bad/place" in refused.message


@case("CJ-04", "timestamp", real_s=75)
async def each_job_says_for_when_it_was(kube: Kube) -> None:
    await create(kube, "exit 0")
    await kube.until("a Job is there", lambda: jobs(kube), 80)
    job = (await jobs(kube))[0]
    stamp = moment(job["metadata"]["annotations"][STAMP])
    assert stamp.second == 0 and job["metadata"]["name"] == f"cron-{int(stamp.timestamp()) // 60}"


@case("CJ-04", "suspended", real_s=300)
async def a_suspended_one_starts_nothing(kube: Kube) -> None:
    await create(kube, "exit 0", suspend=True)

    async def nothing() -> bool:
        return not await jobs(kube) and not await kube.list(PODS)

    await kube.holds("nothing is started", nothing, 300, pause_s=5)


@case("CJ-04", "forbid", real_s=300)
async def forbid_starts_no_second(kube: Kube) -> None:
    await create(kube, POLITE, concurrencyPolicy="Forbid")
    (first,) = await active(kube)

    async def alone() -> bool:
        return [job["metadata"]["name"] for job in await jobs(kube)] == [first]

    await kube.holds("it is alone", alone, 130, pause_s=5)


@case("CJ-04", "lifecycle", real_s=10)
async def status_and_collection(kube: Kube) -> None:
    await create(kube, "exit 0", schedule="0 0 1 1 *")
    now = (await kube.get(CRON_JOBS, "cron"))["metadata"]["creationTimestamp"]
    await kube.patch(CRON_JOBS, "cron", {"metadata": {"annotations": {"patched": "true"}},
                                         "status": {"lastScheduleTime": now}}, subresource="status")
    found = await kube.get(CRON_JOBS, "cron")
    assert found["metadata"]["annotations"]["patched"] == "true" and found["status"]["lastScheduleTime"] == now
    await kube.update(CRON_JOBS, "cron", lambda obj: obj["spec"].update(schedule="1 0 1 1 *"))
    assert (await kube.list(CRON_JOBS))[0]["spec"]["schedule"] == "1 0 1 1 *"
    await kube.delete(CRON_JOBS, "cron")
    await kube.gone(CRON_JOBS, "cron", 30)
