"""NodeChaos ``kill``: the node's power goes off, by the machine room; the undo switches it on again."""

from __future__ import annotations

from faults.kinds import NODE_CHAOS
from faults.nodes import node_state
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools


class NodeKill(Fault):
    kind = NODE_CHAOS
    action = "kill"
    summary = "the node's power goes off: its links first, then everything on it"
    level = "node"
    node_kinds = ("slice", "engine")
    elsewhere = True
    after_restart = "node"
    drawn = Drawing("off", "#7f0000")

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        state = await node_state(tools, aim.target.node)
        if not state.powered:
            raise TargetGone(f"node {aim.target.node} has no power already")
        return {"node": aim.target.node}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.room.set_power(plan["node"], on=False)

    async def verify(self, tools: Tools, plan: Json) -> str:
        if (await node_state(tools, plan["node"])).powered:
            raise NotInEffect(f"node {plan['node']} still has power")
        return "the node has no power"

    async def undo(self, tools: Tools, plan: Json) -> None:
        try:
            state = await node_state(tools, plan["node"])
        except TargetGone:
            return
        if not state.powered:
            await tools.room.set_power(plan["node"], on=True)

    async def undone(self, tools: Tools, plan: Json) -> bool:
        try:
            return (await node_state(tools, plan["node"])).powered
        except TargetGone:
            return True

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ({"do": "ask-room", "socket": tools.site.room_socket, "method": "PUT",
                 "path": f"/nodes/{plan['node']}/power", "body": {"on": True}},)
