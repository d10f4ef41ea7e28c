"""What a repetition waits for before it begins: the nodes that were Ready when the command began.

An earlier repetition's fault may have taken one, and a node comes back later than its workload is whole elsewhere.
Losing the next one then would be another experiment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from testbed.api.resources import NODES
from testbed.client.protocol import Client
from testbed.errors import ApiError, Forbidden
from testbed.experiment.patience import until_answered
from testbed.experiment.sightings import node_seen

BACK_WITHIN_S = 90.0
AWAY_S = 10.0  # an API that is away for a moment has nodes all the same
NOT_LISTED = "nodes may not be listed here: no run waited until those of before were Ready again"
_LOOK_S = 0.5


async def ready_nodes(client: Client) -> frozenset[str] | None:
    """Names; None where they may not be listed. Raises: ApiUnavailable when the API stays away; ApiError."""
    try:
        return await until_answered(lambda: _ready(client), asyncio.get_running_loop().time() + AWAY_S)
    except Forbidden:
        return None


async def wait_for_nodes(client: Client, names: Collection[str], within_s: float = BACK_WITHIN_S) -> tuple[str, ...]:
    """Returns those that are not Ready in time, or at all any more, or of which nobody can say it."""
    until = asyncio.get_running_loop().time() + within_s
    missing = set(names)
    while missing:
        with contextlib.suppress(ApiError):
            missing = set(names) - await _ready(client)
        if not missing or asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(_LOOK_S)
    return tuple(sorted(missing))


async def _ready(client: Client) -> frozenset[str]:
    found = await client.list(NODES)
    return frozenset(seen.name for item in found.items if (seen := node_seen(0.0, item)).ready)
