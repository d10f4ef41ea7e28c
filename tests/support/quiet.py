"""Whether a settled simulated cluster stays as it is when everything is looked at again."""

from __future__ import annotations

import asyncio

from testbed.simulation.world import World

HEARTBEATS = ("leases.coordination.k8s.io", "nodes", "events")  # these are written all the time
RESTLESS = "flaky"  # the Deployment of scenarios that crashes for ever


async def written_twice(world: World) -> list[str]:
    """What was written although nothing was to be done, after all controllers and agents began anew."""
    before = versions(world)
    world.api.kill()
    await world.api.start()
    await world.until(world.nodes_ready, what="all nodes are Ready")
    await asyncio.sleep(10)
    after = versions(world)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def versions(world: World) -> dict[str, str]:
    """Every object that is not a heartbeat, by kind, namespace and name."""
    assert world.api.registry is not None
    store = world.api.registry.store
    return {f"{kind} {item.namespace}/{item.name}": item.text
            for kind in sorted(store.kinds()) if kind not in HEARTBEATS
            for item in store.list(kind) if not item.name.startswith(RESTLESS)}
