"""A node's cgroup as holders see it, and the end of a holder that lives in it."""

from __future__ import annotations

from dataclasses import replace

from faults import holder_container
from faults.holder_container import Hold
from faults.nodes import node_state
from faults.protocol import Json, TargetGone, Tools
from testbed.runtime.cgroup_names import host_path


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
    """What clears is outside the node's cgroup, where nobody freezes or kills it. It clears without power too: that
    took the holder and all else that ran on the node, but the group outlives it with the limits that it was given, and
    the node would come back with them. A group that is gone is nothing to clear."""
    await holder_container.end(tools, replace(Hold.from_json(plan["hold"]), cgroup_parent=""))
