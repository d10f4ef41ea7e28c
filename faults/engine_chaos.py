"""EngineChaos: the container engine of a node of kind engine dies or stands still. Its containers do neither.

``kill``: SIGKILL to the engine's process, which its keeper starts again when the time is over. Pods go on serving
meanwhile; the engine that comes back ends the containers that it finds running, as every Docker engine does without
``live-restore``, and the agent starts them anew. ``freeze``: the process is stopped (SIGSTOP) and goes on afterwards as
if nothing had been. Both times the agent sees an engine that does not answer: what it cannot see it leaves as it is.

The node's process 1 holds the engine so and lets it go at the deadline by itself, whoever has died meanwhile: it is its
own holder. A node whose power goes off takes the fault with it.
"""

from __future__ import annotations

from faults.kinds import ENGINE_CHAOS
from faults.nodes import node_state
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools
from testbed.errors import EnvironmentProblem, InvalidInput

_SPARE_S = 0.5  # the daemon's own undo comes first, so that the moment it records is the true one
_SILENT_S = 0.3  # an engine that is well answers within a few milliseconds
_ANSWER_S = 1.0


class EngineFault(Fault):
    """``process``: the state of the engine's process that shows the effect."""

    kind = ENGINE_CHAOS
    level = "node"
    node_kinds = ("engine",)
    elsewhere = True
    after_restart = "node"
    process: str

    def verify_within_s(self, plan: Json) -> float:
        return 3.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        state = await node_state(tools, aim.target.node)
        if not state.powered:
            raise TargetGone(f"node {aim.target.node} has no power")
        return {"node": aim.target.node, "key": aim.entry_id}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.room.hold_engine(plan["node"], plan["key"], act=self.action, deadline_s=remaining_s + _SPARE_S)

    async def verify(self, tools: Tools, plan: Json) -> str:
        try:
            state = await tools.room.engine_state(plan["node"])
        except (EnvironmentProblem, InvalidInput) as error:
            raise NotInEffect(error.message) from error
        if plan["key"] not in state.held_by:
            raise NotInEffect(f"nobody holds the engine of node {plan['node']}")
        if state.process not in (self.process, ""):  # killed by another injection at the same time
            raise NotInEffect(f"the engine of node {plan['node']} is in state {state.process}")
        if await tools.room.engine_answers(plan["node"], within_s=_SILENT_S):
            raise NotInEffect(f"the engine of node {plan['node']} answers")
        how = "has no process" if not state.process else "is stopped"
        return f"the node's engine {how} and gave no answer within {_SILENT_S:g} s"

    async def undo(self, tools: Tools, plan: Json) -> None:
        if await self._on(tools, plan):
            await tools.room.free_engine(plan["node"], plan["key"])

    async def undone(self, tools: Tools, plan: Json) -> bool:
        if not await self._on(tools, plan):
            return True
        held_by = (await tools.room.engine_state(plan["node"])).held_by
        return plan["key"] not in held_by and (
            bool(held_by) or await tools.room.engine_answers(plan["node"], within_s=_ANSWER_S))

    async def _on(self, tools: Tools, plan: Json) -> bool:
        """False: the node has no power or is gone, and its engine with it."""
        try:
            state = await node_state(tools, plan["node"])
        except TargetGone:
            return False
        return state.powered and state.kind == "engine"

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ()


class EngineKill(EngineFault):
    action = "kill"
    summary = "the node's container engine gets SIGKILL and comes back when the time is over; its containers go on"
    drawn = Drawing("engine dead", "#6c3483")
    process = ""


class EngineFreeze(EngineFault):
    action = "freeze"
    summary = "the node's container engine stands still; its containers go on"
    drawn = Drawing("engine frozen", "#5499c7")
    process = "T"
