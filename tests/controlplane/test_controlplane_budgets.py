"""PodDisruptionBudgets and the evictions they allow."""

from __future__ import annotations

import pytest
from controlplane_world import World, condition_of, virtual, workload_json, world

from testbed.api.resources import DAEMON_SETS, DISRUPTION_BUDGETS, PODS
from testbed.errors import TooManyRequests


async def evict(w: World, name: str) -> None:
    await w.client.create_subresource(PODS, name, "eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"},
    }, "default")


async def allowed(w: World) -> int:
    budget = await w.client.get(DISRUPTION_BUDGETS, "web", "default")
    return int((budget.get("status") or {}).get("disruptionsAllowed", -1))


@virtual
async def test_one_eviction_at_a_time_and_the_next_when_the_replacement_is_ready() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=3)
        await w.until(w.complete)
        await w.client.create(DISRUPTION_BUDGETS, {
            "metadata": {"name": "web"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        }, "default")

        async def one_may_go() -> bool:
            return await allowed(w) == 1

        await w.until(one_may_go)
        first, second, _ = [pod["metadata"]["name"] for pod in await w.pods()]
        await evict(w, first)
        with pytest.raises(TooManyRequests):
            await evict(w, second)
        assert await w.until(one_may_go) > 0
        await evict(w, second)
        await w.until(lambda: w.settled(3))


@virtual
async def test_pods_of_a_controller_that_says_no_number_may_not_go() -> None:
    async with world() as w:
        await w.client.create(DAEMON_SETS, workload_json("DaemonSet", "web"), "default")

        async def running() -> bool:
            return len(await w.ready_pods()) == 3

        await w.until(running)
        await w.client.create(DISRUPTION_BUDGETS, {"metadata": {"name": "web"}, "spec": {
            "maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}, "default")

        async def failed() -> bool:
            budget = await w.client.get(DISRUPTION_BUDGETS, "web", "default")
            return bool(condition_of(budget, "DisruptionAllowed").get("reason") == "SyncFailed")

        await w.until(failed)
        assert await allowed(w) == 0 and "CalculateExpectedPodCountFailed" in await w.event_reasons("web")
        with pytest.raises(TooManyRequests) as refused:
            await evict(w, (await w.pods())[0]["metadata"]["name"])
        assert "because it failed sync: DaemonSet web does not implement the scale subresource" in str(
            refused.value.details["causes"])
        await w.client.patch(DISRUPTION_BUDGETS, "web", {"spec": {"maxUnavailable": None, "minAvailable": 1}},
                             "default")

        async def two_may_go() -> bool:
            return await allowed(w) == 2

        await w.until(two_may_go)
