"""Jobs over the real registry in virtual time. Named by the conformance cases."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from controlplane_world import World, condition_of, name_of, phase, template, virtual, world

from testbed.api.batch_v1 import COMPLETION_INDEX, TRACKING
from testbed.api.resources import JOBS, PODS
from testbed.errors import NotFound

Json = dict[str, Any]


def job_json(name: str = "job", restart: str = "Never", **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"template": template("job", restartPolicy=restart), **spec}}


async def create(cluster: World, **spec: Any) -> Json:
    return await cluster.client.create(JOBS, job_json(**spec), "default")


async def change(cluster: World, spec: Json) -> Json:
    return await cluster.client.patch(JOBS, "job", {"spec": spec}, "default")


async def status(cluster: World) -> Json:
    found: Json = (await cluster.client.get(JOBS, "job", "default")).get("status") or {}
    return found


async def condition(cluster: World, kind: str) -> Json:
    return condition_of(await cluster.client.get(JOBS, "job", "default"), kind)


async def holds(cluster: World, kind: str) -> bool:
    return (await condition(cluster, kind)).get("status") == "True"


async def shows(cluster: World, **wanted: int) -> bool:
    now = await status(cluster)
    return all(now.get(key, 0) == value for key, value in wanted.items())


def phases(pods: list[Json]) -> Counter[str]:
    return Counter(phase(pod) for pod in pods)


def index_of(pod: Json) -> int:
    return int(pod["metadata"]["annotations"][COMPLETION_INDEX])


async def nothing_is_held(cluster: World) -> bool:
    return not any(TRACKING in (pod["metadata"].get("finalizers") or ()) for pod in await cluster.pods())


@virtual
async def test_jb_01_runs_to_completion() -> None:
    async with world(result=lambda pod: 0) as cluster:
        await create(cluster, parallelism=2, completions=4)
        most = 0

        async def done() -> bool:
            nonlocal most
            most = max(most, len(await cluster.pods(active=True)))
            return await holds(cluster, "Complete")

        await cluster.until(done)
        assert most == 2 and phases(await cluster.pods()) == {"Succeeded": 4}
        assert (await condition(cluster, "Complete"))["reason"] == "CompletionsReached"
        assert (await condition(cluster, "SuccessCriteriaMet"))["reason"] == "CompletionsReached"
        now = await status(cluster)
        assert (now["succeeded"], now["failed"], now["active"]) == (4, 0, 0) and now["completionTime"]
        assert await nothing_is_held(cluster)


@virtual
async def test_jb_03_fails_beyond_its_backoff_limit() -> None:
    async with world(result=lambda pod: 1) as cluster:
        await create(cluster, backoffLimit=1)
        assert await cluster.until(lambda: holds(cluster, "Failed")) > 10  # the second try waits 10 s
        for kind in ("FailureTarget", "Failed"):
            assert (await condition(cluster, kind))["reason"] == "BackoffLimitExceeded"
        assert phases(await cluster.pods()) == {"Failed": 2} and (await status(cluster))["failed"] == 2
        assert await nothing_is_held(cluster)


@virtual
async def test_jb_04_fails_when_its_deadline_is_over() -> None:
    async with world() as cluster:
        await create(cluster, activeDeadlineSeconds=1, parallelism=2, completions=4)
        await cluster.until(lambda: holds(cluster, "Failed"))
        for kind in ("FailureTarget", "Failed"):
            assert (await condition(cluster, kind))["reason"] == "DeadlineExceeded"
        assert (await status(cluster))["active"] == 0 and not await cluster.pods(active=True)


@virtual
async def test_jb_05_a_failure_policy_ends_it_at_once() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    async with world(result=lambda pod: 1) as cluster:
        await create(cluster, backoffLimit=6, podFailurePolicy={"rules": [rule]})
        await cluster.until(lambda: holds(cluster, "Failed"), within_s=9)
        failed = await condition(cluster, "Failed")
        assert failed["reason"] == "PodFailurePolicy" and "with exit code 1 matching FailJob rule at index 0" in \
            failed["message"]
        assert phases(await cluster.pods()) == {"Failed": 1}


@virtual
async def test_ignored_failures_are_not_counted() -> None:
    codes = iter([7, 7, 0])
    results: dict[str, int] = {}

    def result(pod: Json) -> int:
        uid = pod["metadata"]["uid"]
        if uid not in results:
            results[uid] = next(codes)
        return results[uid]

    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}
    async with world(result=result) as cluster:
        await create(cluster, backoffLimit=0, podFailurePolicy={"rules": [rule]})
        await cluster.until(lambda: holds(cluster, "Complete"))
        assert (await status(cluster))["failed"] == 0 and phases(await cluster.pods()) == {"Failed": 2, "Succeeded": 1}


@virtual
async def test_jb_07_suspended_jobs_have_no_pods() -> None:
    finish = [False]
    async with world(result=lambda pod: 0 if finish[0] else None) as cluster:
        await create(cluster, suspend=True, parallelism=2, completions=2)
        await cluster.until(lambda: holds(cluster, "Suspended"))
        await asyncio.sleep(5)
        assert not await cluster.pods() and not (await status(cluster)).get("startTime")
        await change(cluster, {"suspend": False})
        await cluster.until(lambda: shows(cluster, ready=2))
        assert (await condition(cluster, "Suspended"))["reason"] == "JobResumed"
        await change(cluster, {"suspend": True})
        await cluster.until(lambda: cluster.settled(0))
        assert await holds(cluster, "Suspended") and await shows(cluster, active=0, failed=0)
        finish[0] = True
        await change(cluster, {"suspend": False})
        await cluster.until(lambda: holds(cluster, "Complete"))


@virtual
async def test_jb_08_policy_failed_replaces_only_what_has_ended() -> None:
    async with world(stop_s=30.0) as cluster:
        await create(cluster, podReplacementPolicy="Failed")
        await cluster.until(lambda: shows(cluster, ready=1))
        victim = (await cluster.pods())[0]
        await cluster.client.delete(PODS, name_of(victim), "default")
        await cluster.until(lambda: shows(cluster, active=0, failed=0, terminating=1))
        await asyncio.sleep(25)
        assert await shows(cluster, active=0, failed=0, terminating=1)
        await cluster.until(lambda: shows(cluster, active=1, failed=1, terminating=0))


@virtual
async def test_a_deleted_pod_is_a_failure_at_once_by_default_and_replaced_after_10_s() -> None:
    async with world(stop_s=60.0) as cluster:
        await create(cluster)
        await cluster.until(lambda: shows(cluster, ready=1))
        await cluster.client.delete(PODS, name_of((await cluster.pods())[0]), "default")
        assert 9 <= await cluster.until(lambda: shows(cluster, active=1, failed=1)) < 12


@virtual
async def test_jb_09_every_index_once_with_its_hostname() -> None:
    async with world(result=lambda pod: 0) as cluster:
        await create(cluster, parallelism=2, completions=4, completionMode="Indexed")
        await cluster.until(lambda: holds(cluster, "Complete"))
        pods = sorted(await cluster.pods(), key=index_of)
        assert [index_of(pod) for pod in pods] == [0, 1, 2, 3]
        for number, pod in enumerate(pods):
            assert pod["spec"]["hostname"] == f"job-{number}" and name_of(pod).startswith(f"job-{number}-")
            assert pod["metadata"]["labels"][COMPLETION_INDEX] == str(number)
            env = {item["name"]: item for item in pod["spec"]["containers"][0]["env"]}
            assert "JOB_COMPLETION_INDEX" in env
        assert (await status(cluster))["completedIndexes"] == "0-3"


def odd_fail(pod: Json) -> int:
    return index_of(pod) % 2


@virtual
async def test_jb_11_a_limit_per_index_runs_all_indexes() -> None:
    async with world(result=odd_fail) as cluster:
        await create(cluster, parallelism=2, completions=4, completionMode="Indexed", backoffLimitPerIndex=1)
        await cluster.until(lambda: holds(cluster, "Failed"), within_s=120)
        now = await status(cluster)
        assert (now["failedIndexes"], now["completedIndexes"], now["failed"], now["succeeded"]) == ("1,3", "0,2", 4, 2)
        assert (await condition(cluster, "Failed"))["reason"] == "FailedIndexes"


@virtual
async def test_jb_11_too_many_failed_indexes_end_it() -> None:
    async with world(result=lambda pod: 1) as cluster:
        await create(cluster, parallelism=1, completions=4, completionMode="Indexed", backoffLimitPerIndex=0,
                     maxFailedIndexes=0)
        await cluster.until(lambda: holds(cluster, "Failed"))
        now = await status(cluster)
        assert now["failedIndexes"] == "0" and len(await cluster.pods()) == 1
        assert (await condition(cluster, "Failed"))["reason"] == "MaxFailedIndexesExceeded"


@virtual
async def test_jb_11_fail_index_is_not_tried_again() -> None:
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}
    async with world(result=odd_fail) as cluster:
        await create(cluster, parallelism=2, completions=4, completionMode="Indexed", backoffLimitPerIndex=3,
                     podFailurePolicy={"rules": [rule]})
        await cluster.until(lambda: holds(cluster, "Failed"))
        now = await status(cluster)
        assert (now["failedIndexes"], now["completedIndexes"], now["failed"]) == ("1,3", "0,2", 2)


@virtual
async def test_jb_12_pods_go_with_their_job_and_change_hands() -> None:
    async with world() as cluster:
        await create(cluster, parallelism=2, completions=2)
        await cluster.until(lambda: shows(cluster, ready=2))
        name = name_of((await cluster.pods())[0])

        async def owned() -> bool:
            return bool((await cluster.client.get(PODS, name, "default"))["metadata"].get("ownerReferences"))

        async def free() -> bool:
            meta = (await cluster.client.get(PODS, name, "default"))["metadata"]
            return not meta.get("ownerReferences") and not meta.get("finalizers")

        await cluster.client.patch(PODS, name, {"metadata": {"ownerReferences": None}}, "default")
        await cluster.until(owned)
        await cluster.client.patch(PODS, name, {"metadata": {"labels": None}}, "default")
        await cluster.until(free)
        await cluster.client.delete(JOBS, "job", "default")

        async def only_the_stranger() -> bool:
            return [name_of(pod) for pod in await cluster.pods()] == [name]

        await cluster.until(only_the_stranger)


@virtual
async def test_a_job_deleted_without_a_word_about_its_pods_leaves_them() -> None:
    """As upstream's API does by default; clients say Background."""
    async with world() as cluster:
        await create(cluster, parallelism=2, completions=2)
        await cluster.until(lambda: shows(cluster, ready=2))
        cluster.registry.delete(JOBS, "job", "default")

        async def alone() -> bool:
            pods = await cluster.ready_pods()
            return not await cluster.items(JOBS) and len(pods) == 2 and not any(
                pod["metadata"].get("ownerReferences") or pod["metadata"].get("finalizers") for pod in pods)

        await cluster.until(alone)


@virtual
async def test_jb_13_ready_follows_and_others_may_manage() -> None:
    async with world() as cluster:
        await create(cluster, parallelism=2, completions=2)
        await cluster.until(lambda: shows(cluster, ready=2))
        await change(cluster, {"suspend": True})
        await cluster.until(lambda: shows(cluster, ready=0, active=0))
        await change(cluster, {"suspend": False})
        await cluster.until(lambda: shows(cluster, ready=2))
        await cluster.client.create(JOBS, job_json("other", managedBy="example.com/mine"), "default")
        await asyncio.sleep(5)
        assert not (await cluster.client.get(JOBS, "other", "default")).get("status")


@virtual
async def test_jb_14_goes_after_its_time_to_live() -> None:
    async with world(result=lambda pod: 0) as cluster:
        await create(cluster, ttlSecondsAfterFinished=10)
        await cluster.until(lambda: holds(cluster, "Complete"))

        async def gone() -> bool:
            try:
                await cluster.client.get(JOBS, "job", "default")
            except NotFound:
                return not await cluster.pods()
            return False

        assert 9 <= await cluster.until(gone) < 12


@virtual
async def test_killed_control_planes_count_every_pod_once() -> None:
    async with world(result=lambda pod: 0, run_s=0.3) as cluster:
        await create(cluster, parallelism=3, completions=12)
        for turn in range(20):
            await asyncio.sleep(0.05 + 0.031 * turn % 0.2)
            await cluster.kill_control_plane()
            await cluster.start_control_plane()
        await cluster.until(lambda: holds(cluster, "Complete"))
        assert (await status(cluster))["succeeded"] == 12 == phases(await cluster.pods())["Succeeded"]
        assert await nothing_is_held(cluster)
