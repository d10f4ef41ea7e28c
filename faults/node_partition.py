"""NodeChaos ``partition``: the node is cut off from the control plane, from the other nodes, or from both.

From the control plane: the cable between its agent and the API is cut; its containers go on. The cable heals itself at
the deadline it is given, whoever has died meanwhile, so it is its own holder. From the nodes: see ``node_apart``.
``direction`` is seen from the node, as in Chaos Mesh: ``to`` loses what it sends, ``from`` what it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from faults import holder_container
from faults.effects import Effect
from faults.holder_container import Hold
from faults.kinds import NODE_CHAOS
from faults.node_apart import measure_apart, plan_apart, split_of
from faults.nodes import node_state
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools
from testbed.errors import EnvironmentProblem
from testbed.machines.protocol import CableHold

CONTROL_PLANE, NODES, BOTH = "control-plane", "nodes", "both"
_SPARE_S = 0.5  # the daemon's own undo comes first, so that the moment it records is the true one
_SILENCE_S = 0.04  # an API that can be reached has answered by then, on a quiet machine


class NodePartition(Fault):
    kind = NODE_CHAOS
    action = "partition"
    summary = "the node is cut off from the control plane (its containers go on), from the other nodes, or from both"
    level = "node"
    after_restart = "node"
    drawn = Drawing("cut off", "#8e44ad")
    fields = {
        "from": {"type": "string", "enum": [CONTROL_PLANE, NODES, BOTH],
                 "description": "What partition cuts the node off from; default control-plane."},
        "direction": {"type": "string", "enum": ["to", "from", "both"],
                      "description": "What is lost: what the node sends (to), what it is sent (from), or both "
                                     "(default)."},
    }
    example = {"from": BOTH}

    def reaches(self, spec: Mapping[str, Any]) -> tuple[str, ...]:
        return ("slice", "engine") if (spec.get("from") or CONTROL_PLANE) == CONTROL_PLANE else ("slice",)

    def verify_within_s(self, plan: Json) -> float:
        return 5.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node, direction = aim.target.node, str(aim.spec.get("direction") or BOTH)
        parts = aim.spec.get("from") or CONTROL_PLANE
        await node_state(tools, node)
        plan: Json = {"node": node, "key": aim.entry_id, "direction": direction, "cable": parts != NODES}
        return {**plan, **await plan_apart(tools, aim, self.name, direction)} if parts != CONTROL_PLANE else plan

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        acts: list[Awaitable[Any]] = []
        if plan["cable"]:
            acts.append(tools.room.set_cable(plan["node"], cut=True, direction=plan["direction"], key=plan["key"],
                                             deadline_s=remaining_s + _SPARE_S))
        if "hold" in plan:
            acts.append(holder_container.begin(tools, Hold.from_json(plan["hold"])))
        for outcome in await asyncio.gather(*acts, return_exceptions=True):  # both have ended before anything is undone
            if isinstance(outcome, BaseException):
                raise outcome

    async def verify(self, tools: Tools, plan: Json) -> str:
        words = [await self._cable_is_silent(tools, plan)] if plan["cable"] else []
        if "hold" in plan:
            words.append(await measure_apart(tools, plan))
        return "; ".join(words)

    async def _cable_is_silent(self, tools: Tools, plan: Json) -> str:
        if await _hold(tools, plan) is None:
            raise NotInEffect(f"the cable of node {plan['node']} is not cut")
        try:
            took_s = await tools.room.round_trip_s(plan["node"], within_s=_SILENCE_S)
        except EnvironmentProblem:
            way = {"to": "to the API", "from": "from the API", BOTH: "both ways"}[plan["direction"]]
            return f"the node's cable is cut {way}; the API does not answer through it"
        raise NotInEffect(f"the API answers through the cable of node {plan['node']} after {took_s * 1000:.0f} ms")

    async def undo(self, tools: Tools, plan: Json) -> None:
        if "hold" in plan:
            await holder_container.end(tools, Hold.from_json(plan["hold"]))
        if plan["cable"] and await _hold(tools, plan) is not None:
            await tools.room.set_cable(plan["node"], cut=False, key=plan["key"])

    async def undone(self, tools: Tools, plan: Json) -> bool:
        apart = "hold" in plan and await holder_container.find(tools, Hold.from_json(plan["hold"])) is not None
        return not apart and not (plan["cable"] and await _hold(tools, plan) is not None)

    def stands_on(self, plan: Json) -> str:
        return str(plan["hold"]["joined"]) if "hold" in plan else ""

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return super().holder_acts(tools, plan) if "hold" in plan else ()

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (split_of(plan),) if "hold" in plan else ()


async def _hold(tools: Tools, plan: Json) -> CableHold | None:
    """What this injection has told the cable; None also when the node is gone."""
    try:
        state = await node_state(tools, plan["node"])
    except TargetGone:
        return None
    except EnvironmentProblem:  # the machine room is dead; the cable lets go by itself at its deadline
        now_s = asyncio.get_running_loop().time()
        if "hold" in plan and now_s > plan["hold"]["deadline_ns"] / 1e9 + _SPARE_S:
            return None
        raise
    return next((hold for hold in state.cable if hold.cut and hold.key == plan["key"]), None)
