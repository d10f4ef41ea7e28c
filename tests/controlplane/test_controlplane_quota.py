"""The life of a quota, and marks of disruptions that did not happen. SC-09."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from controlplane_world import World, condition_of, container, virtual, world

from testbed.api.meta import format_time
from testbed.api.resources import PODS, RESOURCE_QUOTAS
from testbed.errors import Forbidden

Json = dict[str, Any]


def pod_json(name: str, **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"containers": [container()], **spec}}


async def make_quota(w: World, hard: Json, name: str = "q", **spec: Any) -> None:
    await w.client.create(RESOURCE_QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}, "default")
    await w.until(lambda: used(w, name), within_s=2)


async def used(w: World, name: str = "q") -> Json:
    quota = await w.client.get(RESOURCE_QUOTAS, name, "default")
    return (quota.get("status") or {}).get("used") or {}


def reaches(w: World, wanted: Json, name: str = "q") -> Any:
    async def reached() -> bool:
        found = await used(w, name)
        return wanted.items() <= found.items()

    return reached


@virtual
async def test_sc_09_a_quota_captures_the_life_of_a_pod() -> None:
    async with world(["n1"]) as w:
        await make_quota(w, {"pods": "2", "requests.cpu": "250m", "memory": "1Gi"})
        assert await used(w) == {"pods": "0", "requests.cpu": "0", "memory": "0"}
        await w.client.create(PODS, pod_json("a"), "default")
        assert await used(w) == {"pods": "1", "requests.cpu": "100m", "memory": "64Mi"}
        await w.client.create(PODS, pod_json("b"), "default")
        with pytest.raises(Forbidden, match="exceeded quota: q, requested: pods=1,requests.cpu=100m, "
                                            "used: pods=2,requests.cpu=200m, limited: pods=2,requests.cpu=250m"):
            await w.client.create(PODS, pod_json("c"), "default")
        await w.client.delete(PODS, "a", "default")
        await w.until(reaches(w, {"pods": "1", "requests.cpu": "100m"}))
        await w.client.patch(PODS, "b", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
        await w.until(reaches(w, {"pods": "0", "requests.cpu": "0"}))


@virtual
async def test_a_deployment_fills_its_quota_and_goes_on_when_there_is_room() -> None:
    async with world() as w:
        await make_quota(w, {"pods": "2"})
        await w.apply_deployment(replicas=3)

        async def two() -> bool:
            return len(await w.ready_pods()) == 2

        await w.until(two)
        [replica_set] = await w.replica_sets()
        assert "exceeded quota" in condition_of(replica_set, "ReplicaFailure")["message"]
        await w.client.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"pods": "3"}}}, "default")
        await w.until(w.complete, within_s=90)
        assert await used(w) == {"pods": "3"}


@virtual
async def test_stale_marks_of_disruption_are_taken_back_after_two_minutes() -> None:
    async with world(["n1"]) as w:
        await w.client.create(PODS, pod_json("a"), "default")
        pod = await w.client.get(PODS, "a", "default")
        mark = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "lastTransitionTime": format_time(w.clock.now())}
        conditions = [*(pod["status"].get("conditions") or ()), mark]
        await w.client.patch(PODS, "a", {"status": {"conditions": conditions}}, "default", subresource="status")

        async def taken_back() -> bool:
            now = await w.client.get(PODS, "a", "default")
            return bool(condition_of(now, "DisruptionTarget")["status"] == "False")

        assert 118 <= await w.until(taken_back, within_s=180) <= 122


@virtual
async def test_whatever_comes_and_goes_there_is_never_more_than_the_quota() -> None:
    async with world(["n1"], start_s=0.01, stop_s=0.01) as w:
        await make_quota(w, {"pods": "3"})
        dice, most, refused = random.Random(7), 0, 0
        for number in range(150):
            pods = [pod["metadata"]["name"] for pod in await w.pods(active=True)]
            if pods and dice.random() < 0.4:
                await w.client.delete(PODS, dice.choice(pods), "default", grace_period_s=dice.choice((0, None)))
            try:
                await w.client.create(PODS, pod_json(f"p{number}"), "default")
            except Forbidden:
                refused += 1
            most = max(most, len(await w.pods(active=True)))
            for _ in range(dice.choice((0, 1, 5, 20))):
                await asyncio.sleep(0)
            if dice.random() < 0.3:
                await asyncio.sleep(0.02)
        assert most == 3 and refused > 10

        async def exact() -> bool:
            return (await used(w))["pods"] == str(len(await w.pods()))

        await w.until(exact)
