"""NodeChaos ``freeze``: everything on the node stops, its agent too, by the freezer of the node's cgroup."""

from __future__ import annotations

from faults.kinds import NODE_CHAOS
from faults.nodes import node_state
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools
from testbed.runtime.cgroup_names import host_path


class NodeFreeze(Fault):
    kind = NODE_CHAOS
    action = "freeze"
    summary = "everything on the node stops, its agent too"
    level = "node"
    node_kinds = ("slice", "engine")
    after_restart = "node"
    drawn = Drawing("frozen", "#2980b9")

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        state = await node_state(tools, aim.target.node)
        if not state.powered:
            raise TargetGone(f"node {aim.target.node} has no power")
        return {"node": aim.target.node, "cgroup": tools.site.node_cgroup(aim.target.node)}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.host.freeze(plan["cgroup"])

    async def verify(self, tools: Tools, plan: Json) -> str:
        if not await tools.host.frozen(plan["cgroup"]):
            raise NotInEffect(f"the cgroup of node {plan['node']} is not frozen")
        return "the node's cgroup is frozen"

    async def undo(self, tools: Tools, plan: Json) -> None:
        await tools.host.thaw(plan["cgroup"])

    async def undone(self, tools: Tools, plan: Json) -> bool:
        return not await tools.host.frozen(plan["cgroup"])

    def shares(self, plan: Json) -> str:
        return str(plan["cgroup"])

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        names = {plan["cgroup"], host_path(plan["cgroup"], "systemd")}  # whichever driver the engine has
        return tuple({"do": "thaw", "cgroup": name} for name in sorted(names))
