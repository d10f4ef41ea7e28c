"""What a repetition waits for before it begins: the nodes that were Ready when the command began.

An earlier repetition's fault may have taken one, and a node comes back later than its workload is whole elsewhere.
Losing the next one then would be another experiment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from testbed.api.resources import NODES
from testbed.client.protocol import Client
from testbed.errors import ApiError
from testbed.experiment.observations import node_seen

BACK_WITHIN_S = 90.0
_LOOK_S = 0.5


async def ready_nodes(client: Client) -> frozenset[str]:
    """Names; none where they may not be listed."""
    try:
        found = await client.list(NODES)
    except ApiError:
        return frozenset()
    return frozenset(seen.name for item in found.items if (seen := node_seen(0.0, item)).ready)


async def wait_for_nodes(client: Client, names: Collection[str], within_s: float = BACK_WITHIN_S) -> tuple[str, ...]:
    """Returns those that are not Ready in time, or at all any more."""
    until = asyncio.get_running_loop().time() + within_s
    while missing := set(names) - await ready_nodes(client):
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(_LOOK_S)
    return tuple(sorted(missing))
