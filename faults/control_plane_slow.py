"""ControlPlaneChaos ``slow``: what the API sends to the nodes is late by ``latency``.

Every node's cable holds back what comes from the API: the agents' answers and watches, and what the API asks of agents
(logs, exec). A new connection takes it several times, for its handshakes, as on a slow network. People, ``kubectl``,
the runner and the chaos daemon talk to the API's own port and are not slowed. The cables heal by themselves at the
deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faults.durations import PATTERN, seconds
from faults.kinds import CONTROL_PLANE_CHAOS
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools
from testbed.errors import EnvironmentProblem, Mistake, NotFound
from testbed.machines.protocol import NodeState

_SPARE_S = 0.5
_MOST_S = 10.0  # agents give a call up after that long
_ROUNDS = 4.0  # of an exchange on a new connection: TCP, TLS and the request, with room to spare


class ControlPlaneSlow(Fault):
    kind = CONTROL_PLANE_CHAOS
    action = "slow"
    summary = "what the API sends to the nodes is late by latency"
    level = "cluster"
    after_restart = "cluster"
    node_kinds = ("slice", "engine")
    drawn = Drawing("API slow", "#f39c12")
    fields = {"latency": {"type": "string", "pattern": PATTERN, "maxLength": 64,
                          "description": "By how much what a slow API sends to the nodes is late; at most 10s."}}
    example = {"latency": "300ms"}

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        if not spec.get("latency"):
            return (Mistake("slow needs a latency, such as 300ms", "spec.latency"),)
        try:
            late_s = seconds(str(spec["latency"]))
        except ValueError as error:
            return (Mistake(str(error), "spec.latency"),)
        return () if 0 < late_s <= _MOST_S else (Mistake("must be more than 0 and at most 10s", "spec.latency"),)

    def verify_within_s(self, plan: Json) -> float:
        return 5.0 + _ROUNDS * float(plan["latency_s"])

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        nodes = (await tools.room.status()).nodes
        if not nodes:
            raise TargetGone("there are no nodes")
        return {"key": aim.entry_id, "latency_s": seconds(str(aim.spec["latency"])),
                "nodes": [node.name for node in nodes]}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await asyncio.gather(*(self._set(tools, plan, node, plan["latency_s"], remaining_s + _SPARE_S)
                               for node in plan["nodes"]))

    @staticmethod
    async def _set(tools: Tools, plan: Json, node: str, delay_s: float, deadline_s: float | None) -> None:
        try:
            await tools.room.set_cable(node, cut=False, direction="from", delay_s=delay_s, key=plan["key"],
                                       deadline_s=deadline_s)
        except NotFound:
            return  # a node that was removed has no cable

    async def verify(self, tools: Tools, plan: Json) -> str:
        held = await self._held(tools, plan)
        if not held:
            raise NotInEffect("no node's cable is late")
        whole = next((node for node in held if not node.cable_cut), None)
        if whole is None:
            return f"the cables of {len(held)} nodes are late, and cut as well"
        try:
            took_s = await tools.room.round_trip_s(whole.name, within_s=2.0 + _ROUNDS * plan["latency_s"])
        except EnvironmentProblem as error:
            raise NotInEffect(str(error)) from error
        if took_s < plan["latency_s"]:
            raise NotInEffect(f"the API answers node {whole.name} within {took_s * 1000:.0f} ms")
        return (f"what the API sends to {len(held)} nodes is late by {plan['latency_s'] * 1000:.0f} ms; an exchange on "
                f"a new connection of {whole.name} took {took_s * 1000:.0f} ms")

    async def undo(self, tools: Tools, plan: Json) -> None:
        held = await self._held(tools, plan)
        await asyncio.gather(*(self._set(tools, plan, node.name, 0.0, None) for node in held))

    async def undone(self, tools: Tools, plan: Json) -> bool:
        return not await self._held(tools, plan)

    @staticmethod
    async def _held(tools: Tools, plan: Json) -> list[NodeState]:
        """Nodes whose cable still has what this injection told it."""
        return [node for node in (await tools.room.status()).nodes
                if any(hold.key == plan["key"] for hold in node.cable)]

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ()
