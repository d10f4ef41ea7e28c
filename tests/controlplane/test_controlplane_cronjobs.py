"""CronJobs over the real registry in virtual time: what the conformance cases CJ do not ask, or less exactly."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH

import pytest
from controlplane_world import World, name_of, template, virtual, world

from testbed.api.resources import CRON_JOBS, JOBS

Json = dict[str, Any]
needs_zones = pytest.mark.skipif(not any((Path(each) / "Europe/Berlin").is_file() for each in TZPATH),
                                 reason="this machine has no time zones: apt install tzdata")


async def create(cluster: World, **spec: Any) -> Json:
    job = {"spec": {"template": template("cron", restartPolicy="Never")}}
    return await cluster.client.create(CRON_JOBS, {"metadata": {"name": "cj"}, "spec": {
        "schedule": "* * * * *", "jobTemplate": job, **spec}}, "default")


async def status(cluster: World) -> Json:
    found: Json = (await cluster.client.get(CRON_JOBS, "cj", "default")).get("status") or {}
    return found


async def active(cluster: World) -> list[str]:
    return [item["name"] for item in (await status(cluster)).get("active") or ()]


async def jobs(cluster: World) -> list[str]:
    return sorted(name_of(item) for item in await cluster.items(JOBS))


@virtual
async def test_forbid_waits_for_the_running_one() -> None:
    finish = [False]
    async with world(result=lambda pod: 0 if finish[0] else None) as cluster:
        await create(cluster, concurrencyPolicy="Forbid")
        await asyncio.sleep(200)
        first = await jobs(cluster)
        assert len(first) == 1 and "JobAlreadyActive" in await cluster.event_reasons("cj")
        finish[0] = True

        async def another() -> bool:
            return len(await jobs(cluster)) > 1

        assert await cluster.until(another) < 30  # the time that was missed is run at once


@virtual
async def test_cj_04_more_than_100_missed_times_still_schedule() -> None:
    async with world() as cluster:
        await create(cluster, suspend=True)
        cluster.clock.offset += timedelta(hours=20)
        await cluster.client.patch(CRON_JOBS, "cj", {"spec": {"suspend": False}}, "default")

        async def started() -> bool:
            return len(await jobs(cluster)) == 1

        await cluster.until(started)
        assert "TooManyMissedTimes" in await cluster.event_reasons("cj")


@virtual
async def test_cj_04_history_is_kept_within_its_limits_and_the_list_is_cleaned() -> None:
    codes = {"ok": 0, "bad": 1}
    for outcome, code in codes.items():
        async with world(result=lambda pod, code=code: code) as cluster:
            await create(cluster, successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1, jobTemplate={
                "spec": {"backoffLimit": 0, "template": template("cron", restartPolicy="Never")}})
            await asyncio.sleep(250)
            left = await jobs(cluster)
            assert len(left) <= 2 and not await active(cluster), outcome
            last = (await status(cluster)).get("lastSuccessfulTime")
            assert (last is not None) == (code == 0)


@needs_zones
@virtual
async def test_cj_04_time_zones() -> None:
    """13:02 in Berlin is 12:02 in UTC in November."""
    async with world() as cluster:
        await create(cluster, schedule="2 13 * * *", timeZone="Europe/Berlin")
        await asyncio.sleep(118)
        assert not await jobs(cluster)
        await asyncio.sleep(4)
        (made,) = await cluster.items(JOBS)
        stamp = made["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        assert stamp == "2026-11-29T13:02:00+01:00"


@virtual
async def test_killed_control_planes_run_no_time_twice() -> None:
    async with world(result=lambda pod: 0) as cluster:
        await create(cluster, successfulJobsHistoryLimit=50)
        for turn in range(30):
            await asyncio.sleep(10.1 + 0.01 * turn)
            await cluster.kill_control_plane()
            await cluster.start_control_plane()
        await asyncio.sleep(2)
        made = await jobs(cluster)
        assert len(made) == len(set(made)) == 5
