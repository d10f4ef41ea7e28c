"""NodeChaos ``freeze``: everything on the node stops, its agent too, by the freezer of the node's cgroup."""

from __future__ import annotations

from faults.freezing import Freezing
from faults.kinds import NODE_CHAOS
from faults.nodes import node_state
from faults.protocol import Aim, Drawing, Json, NotInEffect, TargetGone, Tools


class NodeFreeze(Freezing):
    kind = NODE_CHAOS
    action = "freeze"
    summary = "everything on the node stops, its agent too"
    level = "node"
    node_kinds = ("slice", "engine")
    elsewhere = True
    after_restart = "node"
    drawn = Drawing("frozen", "#2980b9")

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        state = await node_state(tools, aim.target.node)
        if not state.powered:
            raise TargetGone(f"node {aim.target.node} has no power")
        return {"node": aim.target.node, "cgroup": tools.site.node_cgroup(aim.target.node)}

    async def verify(self, tools: Tools, plan: Json) -> str:
        if not await tools.host.frozen(plan["cgroup"]):
            raise NotInEffect(f"the cgroup of node {plan['node']} is not frozen")
        return "the node's cgroup is frozen"
