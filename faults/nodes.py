"""A node as the machine room sees it."""

from __future__ import annotations

from faults.protocol import TargetGone, Tools
from testbed.machines.protocol import NodeState


async def node_state(tools: Tools, name: str) -> NodeState:
    """Raises: TargetGone when the cluster has no such node."""
    for node in (await tools.room.status()).nodes:
        if node.name == name:
            return node
    raise TargetGone(f"there is no node {name}")
