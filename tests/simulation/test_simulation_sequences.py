"""Random sequences of what people and fate do, shrunk by Hypothesis when one fails: apply, scale, kill, nodes, clock.

The invariants of every scenario are watched all the time: never more pods than desired and surge, never fewer
available than allowed of those that were, and so on; beside them an identity workload is never twice. When the acts
are over everything converges, and looking at everything again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.quiet import written_twice

from testbed.api import labels
from testbed.api.resources import STATEFUL_SETS
from testbed.simulation.invariants import Watch
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.scenarios import Act, Scenario
from testbed.simulation.workloads import deployment
from testbed.simulation.world import World, is_true, open_world

QUIET_S = 40.0  # crash back-offs run out, statuses are told
NAMES = ("scale", "ship", "recreate", "crash", "pod-kill", "hang", "node-kill", "partition", "node-freeze",
         "api-restart", "agent-crash")
SEQUENCES = st.lists(
    st.builds(Act, st.floats(0, 40).map(lambda at: round(at, 2)), st.sampled_from(NAMES),
              st.floats(0.5, 12).map(lambda lasts: round(lasts, 2))),
    min_size=1, max_size=8,
).map(lambda acts: sorted(acts, key=lambda act: act.at_s))


class IdentityIsOnce(Watch):
    """I2: of one name of a StatefulSet never two pods run."""

    name = "I2"

    def step(self, world: World) -> Iterator[str]:
        pods = {(item.spec.labels[labels.POD_NAME], item.spec.labels[labels.POD_UID])
                for item in world.machine.containers.values()
                if item.running and item.spec.labels.get(labels.POD_NAME, "").startswith("db-")}
        for name, count in Counter(name for name, _ in pods).items():
            if count > 1:
                yield f"{name} runs {count} times"


def stateful_set() -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": deployment("db", 1)["spec"]["template"]}}


def played(acts: list[Act], seed: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, seed, nodes=4) as world:
            scenario = Scenario(world, acts=0, wall_jumps=True)
            scenario.acts = acts
            scenario.invariants.add(IdentityIsOnce())
            await world.create(STATEFUL_SETS, stateful_set())
            await scenario.run()

            def converged() -> bool:
                return sum(is_true(pod, "Ready") for pod in world.pods(app="db")) == 3

            await world.until(converged, within_s=120, what="the StatefulSet is whole again")
            await asyncio.sleep(QUIET_S)
            assert await written_twice(world) == []

    run_virtual(main)


@given(SEQUENCES, st.integers(0, 1000))
@settings(max_examples=12, derandomize=True)
def test_sequences_keep_the_bounds_and_converge(acts: list[Act], seed: int) -> None:
    """The same ones in every run."""
    played(acts, seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@given(SEQUENCES, st.integers(0, 1000))
@settings(max_examples=100)
def test_any_sequence_keeps_the_bounds_and_converges(acts: list[Act], seed: int) -> None:
    played(acts, seed)
