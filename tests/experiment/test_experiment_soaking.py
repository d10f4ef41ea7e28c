"""Soaks: what is drawn, and one in the simulated cluster, which is whole afterwards and carries nothing of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.kinds import FREEZE_CHAOS, POD_CHAOS
from testbed.api.resources import DEPLOYMENTS, SECRETS, SERVICES
from testbed.experiment.inject import Whom, fault_object
from testbed.experiment.soaking import SOAK, Soak, draw, whole_within
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.workloads import SECRET, deployment, service
from testbed.simulation.world import World, open_world


@given(st.integers(0, 10_000), st.floats(0.5, 50), st.floats(0, 500))
def test_moments_lie_within_the_span_and_are_the_seeds(seed: int, mean_s: float, span_s: float) -> None:
    dues = draw({"a": mean_s, "b": 2 * mean_s}, span_s, 4, random.Random(seed))
    assert list(dues) == sorted(dues, key=lambda due: (due.at_s, due.name))
    assert all(0 <= due.at_s < span_s and 2 <= due.hold_s <= 6 for due in dues)
    assert dues == draw({"b": 2 * mean_s, "a": mean_s}, span_s, 4, random.Random(seed))


def test_the_mean_time_between_two_is_what_was_asked_for() -> None:
    counts = Counter(due.name for due in draw({"often": 1, "seldom": 10}, 10_000, 1, random.Random(1)))
    assert counts["often"] == pytest.approx(10_000, rel=0.05)
    assert counts["seldom"] == pytest.approx(1000, rel=0.15)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_soak_leaves_a_whole_cluster_and_nothing_of_itself(interrupted: bool) -> None:
    async def body(world: World) -> None:
        whom = Whom("default", {"app": "web"})
        dues = draw({"freeze": 8, "pod-kill": 20}, 60, 3, random.Random(5))
        soak = Soak(world.client, dues, lambda short, hold_s: fault_object(short, whom, duration=f"{hold_s:.2f}s"),
                    soak_id="1", namespace="default", say=lambda line: None)
        task = asyncio.create_task(soak.run(60))
        await asyncio.sleep(30 if interrupted else 0)
        if interrupted:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made = {item["metadata"]["name"] for kind in (FREEZE_CHAOS, POD_CHAOS) for item in world.objects(kind)
                if SOAK in (item["metadata"].get("labels") or {})}
        assert made == set()
        assert await whole_within(world.client, "default", {"app": "web"}, 60) == ""
        counted = sum(tally.injected + sum(tally.problems.values()) for tally in soak.tallies.values())
        assert counted == sum(tally.drawn for tally in soak.tallies.values()) > 3
        assert all(tally.injected for tally in soak.tallies.values())

    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, 1, nodes=3) as world:
            await world.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"},
                                         "stringData": {"word": SECRET}})
            await world.create(SERVICES, service("web"))
            await world.create(DEPLOYMENTS, deployment("web", 4))
            await world.until_settled()
            await body(world)

    run_virtual(main)
