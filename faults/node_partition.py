"""NodeChaos ``partition``: the cable between the node's agent and the API is cut; its containers go on.

The cable heals itself at the deadline it is given, whoever has died meanwhile, so it is its own holder.
"""

from __future__ import annotations

from faults.kinds import NODE_CHAOS
from faults.nodes import node_state
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools

_SPARE_S = 0.5  # the daemon's own undo comes first, so that the moment it records is the true one


class NodePartition(Fault):
    kind = NODE_CHAOS
    action = "partition"
    summary = "the cable between agent and API is cut; containers go on"
    level = "node"
    after_restart = "node"
    drawn = Drawing("cut off", "#8e44ad")

    def verify_within_s(self, plan: Json) -> float:
        return 3.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        state = await node_state(tools, aim.target.node)
        if state.cable_cut:
            raise TargetGone(f"the cable of node {aim.target.node} is cut already")
        return {"node": aim.target.node}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.room.set_cable(plan["node"], cut=True, deadline_s=remaining_s + _SPARE_S)

    async def verify(self, tools: Tools, plan: Json) -> str:
        if not (await node_state(tools, plan["node"])).cable_cut:
            raise NotInEffect(f"the cable of node {plan['node']} is not cut")
        return "the node's cable is cut"

    async def undo(self, tools: Tools, plan: Json) -> None:
        try:
            state = await node_state(tools, plan["node"])
        except TargetGone:
            return
        if state.cable_cut:
            await tools.room.set_cable(plan["node"], cut=False)

    async def undone(self, tools: Tools, plan: Json) -> bool:
        try:
            return not (await node_state(tools, plan["node"])).cable_cut
        except TargetGone:
            return True

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ()
