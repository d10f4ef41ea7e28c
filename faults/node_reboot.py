"""NodeChaos ``reboot``: the node's power goes off and comes on again after ``offFor``, by whoever is alive.

The machine room owns the power. The daemon asks it to switch on, ``offFor`` after the power was seen to be off; with
the daemon dead the holder does, a little later. Undone means booted: the agent is there with another boot id than
before, and nothing of what ran before is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults.durations import PATTERN, seconds
from faults.node_kill import NodeKill
from faults.nodes import node_state
from faults.protocol import Aim, Drawing, Json, TargetGone, Tools
from testbed.api import labels
from testbed.api.resources import NODES
from testbed.errors import ApiUnavailable, Mistake, NotFound

DEFAULT_OFF_S = 1.0
MOST_OFF_S = 3600.0
_SWITCHING_S = 3.0  # what switching off may take


class NodeReboot(NodeKill):
    action = "reboot"
    summary = "the node's power goes off, and comes on again after offFor (1s)"
    after_restart = "never"
    node_kinds = ("slice", "engine")
    drawn = Drawing("reboot", "#d35400")
    fields = {"offFor": {"type": "string", "pattern": PATTERN, "maxLength": 64,
                         "description": "How long a rebooted node is without power; default 1s."}}
    example = {"offFor": "1s"}

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        try:
            if 0 < off_s(spec) <= MOST_OFF_S:
                return ()
        except ValueError as error:
            return (Mistake(str(error), "spec.offFor"),)
        return (Mistake("must be more than 0 and at most 1h", "spec.offFor"),)

    def held_s(self, spec: Mapping[str, Any]) -> float | None:
        return off_s(spec) + _SWITCHING_S

    def in_effect_s(self, plan: Json) -> float | None:
        return float(plan["off_s"])

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        plan = await super().prepare(tools, aim)
        node = plan["node"]
        return {**plan, "off_s": off_s(aim.spec), "boot_id": await _boot_id(tools, node),
                "before": await _containers(tools, node)}

    async def undone(self, tools: Tools, plan: Json) -> bool:
        try:
            state = await node_state(tools, plan["node"])
        except TargetGone:
            return True
        if not state.powered or set(await _containers(tools, plan["node"])) & set(plan["before"]):
            return False
        try:
            return not plan["boot_id"] or await _boot_id(tools, plan["node"]) != plan["boot_id"]
        except ApiUnavailable:
            return True  # it cannot be asked; the room says that the power is on


def off_s(spec: Mapping[str, Any]) -> float:
    """Raises: ValueError."""
    return seconds(str(spec["offFor"])) if spec.get("offFor") else DEFAULT_OFF_S


async def _boot_id(tools: Tools, node: str) -> str:
    """As the node's agent told it; empty when it never did. Raises: ApiUnavailable."""
    try:
        found = await tools.client.get(NODES, node)
    except NotFound:
        return ""
    return str(((found.get("status") or {}).get("nodeInfo") or {}).get("bootID") or "")


async def _containers(tools: Tools, node: str) -> list[str]:
    """Ids of all containers of the node's pods, running or not."""
    found = await tools.engine.list({labels.INSTANCE: tools.site.instance_id, labels.NODE: node})
    return sorted(state.id for state in found
                  if state.labels.get(labels.ROLE) in (labels.ROLE_SANDBOX, labels.ROLE_CONTAINER))
