"""Jobs over the real registry in virtual time: what the conformance cases JB do not ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from controlplane_world import World, condition_of, name_of, phase, template, virtual, world

from testbed.api.batch_v1 import TRACKING
from testbed.api.resources import JOBS, PODS
from testbed.core.profile import KUBERNETES

Json = dict[str, Any]


def job_json(name: str = "job", restart: str = "Never", **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"template": template("job", restartPolicy=restart), **spec}}


async def create(cluster: World, **spec: Any) -> Json:
    return await cluster.client.create(JOBS, job_json(**spec), "default")


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


async def nothing_is_held(cluster: World) -> bool:
    return not any(TRACKING in (pod["metadata"].get("finalizers") or ()) for pod in await cluster.pods())


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
async def test_a_deleted_pod_is_a_failure_at_once_by_default_and_replaced_after_10_s() -> None:
    async with world(stop_s=60.0, profile=KUBERNETES) as cluster:
        await create(cluster)
        await cluster.until(lambda: shows(cluster, ready=1))
        await cluster.client.delete(PODS, name_of((await cluster.pods())[0]), "default")
        assert 9 <= await cluster.until(lambda: shows(cluster, active=1, failed=1)) < 12


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
