"""Worlds for tests: a body written as a coroutine runs in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from testbed.api.resources import DEPLOYMENTS, SECRETS, SERVICES
from testbed.core.profile import FAST, Profile
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.workloads import SECRET, deployment, service
from testbed.simulation.world import World, open_world

Body = Callable[[World], Awaitable[Any]]


@pytest.fixture
def in_world() -> Callable[..., Any]:
    """Runs a body in a world with a settled Deployment ``web``."""

    def run(body: Body, *, seed: int = 1, nodes: int = 3, replicas: int = 4, profile: Profile = FAST) -> Any:
        async def main(loop: VirtualLoop) -> Any:
            async with open_world(loop, seed, nodes=nodes, profile=profile) as world:
                await world.create(SECRETS, {
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"},
                    "stringData": {"word": SECRET},
                })
                await world.create(SERVICES, service("web"))
                await world.create(DEPLOYMENTS, deployment("web", replicas))
                await world.until_settled()
                return await body(world)

        return run_virtual(main)

    return run
