"""A node's cgroup as holders see it, and the end of a holder that lives in it."""

from __future__ import annotations

from dataclasses import replace

from faults import holder_container
from faults.holder_container import Hold
from faults.nodes import node_state
from faults.protocol import Json, TargetGone, Tools
from testbed.runtime.cgroup_names import host_path


async def powered(tools: Tools, node: str) -> bool:
    try:
        return (await node_state(tools, node)).powered
    except TargetGone:
        return False


async def check_powered(tools: Tools, node: str) -> None:
    """Raises: TargetGone."""
    if not (await node_state(tools, node)).powered:
        raise TargetGone(f"node {node} has no power")


async def group_seen(tools: Tools, node: str, controller: str) -> tuple[tuple[str, str], str]:
    """A mount that shows a holder the cluster's own cgroup at ``/instance``, and where the node's lies in it."""
    engine = await tools.engine.version()
    tree = "/sys/fs/cgroup" if engine.cgroup_version == 2 else f"/sys/fs/cgroup/{controller}"
    whole = host_path(tools.site.cgroup, engine.cgroup_driver)
    group = host_path(tools.site.node_cgroup(node), engine.cgroup_driver)
    return (tree + whole, "/instance"), group.removeprefix(whole).strip("/")


async def end_on(tools: Tools, plan: Json) -> None:
    """A node without power has lost all that ran on it, and its cgroup with it: there is nothing to clear."""
    hold = Hold.from_json(plan["hold"])
    if await powered(tools, plan["node"]):
        await holder_container.end(tools, replace(hold, cgroup_parent=""))  # what clears may not be frozen
    elif (holder := await holder_container.find(tools, hold)) is not None:
        await tools.engine.remove(holder.id)
