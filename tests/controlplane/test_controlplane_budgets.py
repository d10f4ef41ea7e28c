"""PodDisruptionBudgets and the evictions they allow."""

from __future__ import annotations

import pytest
from controlplane_world import World, virtual, world

from testbed.api.resources import DISRUPTION_BUDGETS, PODS
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
