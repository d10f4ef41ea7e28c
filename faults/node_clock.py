"""NodeChaos ``clock``: the clocks of everything on a node are off: of all containers of its pods, those that start
meanwhile too, and of its agent.

As TimeChaos, by one holder that sees the machine's processes and changes those in the node's cgroup. Whatever the node
runs later is reached a moment after its start. Only wall clocks: no machine's monotonic clock jumps, and an agent whose
timers were set by one that did would wait for them as long as it was off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults import clocks
from faults.effects import Clock, Effect
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import NODE_CHAOS
from faults.nodes import node_state
from faults.protocol import Aim, Drawing, Json, TargetGone, Tools
from testbed.api import labels
from testbed.errors import Mistake
from testbed.runtime.cgroup_names import host_path


class NodeClock(HeldFault):
    kind = NODE_CHAOS
    action = "clock"
    summary = "the clocks of all processes on the node are off, its agent's too"
    level = "node"
    fields = {**clocks.FIELDS, "clockIds": {
        **clocks.FIELDS["clockIds"],
        "items": {"type": "string", "enum": [name for name in clocks.CLOCKS if "REALTIME" in name]}}}
    required = ("timeOffset",)
    needs = ("memory",)
    after_restart = "node"
    example = {"timeOffset": "-1h"}
    drawn = Drawing("clock off", "#8e44ad")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        if "timeOffset" not in spec:
            return (Mistake("action clock needs it", "spec.timeOffset"),)
        return clocks.mistakes(spec)

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node = aim.target.node
        if not (await node_state(tools, node)).powered:
            raise TargetGone(f"node {node} has no power")
        found = await tools.engine.list({labels.INSTANCE: tools.site.instance_id, labels.NODE: node}, running_only=True)
        whose = {"cgroups": _beginnings(tools.site.node_cgroup(node))}
        hold = Hold(aim.entry_id, self.name, "clocks", clocks.plan_of(aim.spec, whose), "", aim.deadline_ns, pid=True,
                    cap_add=clocks.CAPABILITIES, security_opt=("no-new-privileges", "apparmor=unconfined"))
        containers = [state.id for state in found if state.labels.get(labels.ROLE) == labels.ROLE_CONTAINER]
        return {"node": node, "containers": containers, "hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        return await clocks.measure(tools, Hold.from_json(plan["hold"]), holder)

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        offset_s = clocks.simulated_offset_s(plan["hold"]["plan"])
        return tuple(Clock(container, offset_s) for container in plan["containers"])


def _beginnings(cgroup: str) -> list[str]:
    """How the names of cgroups begin in it, as a holder reads them: whole, or (cgroup_namespaces(7)) from its own
    cgroup, which is beside the node's."""
    whole = [host_path(cgroup, driver) for driver in ("cgroupfs", "systemd")]
    return [f"{name}/" for name in (*whole, *(f"/../../{name.rpartition('/')[2]}" for name in whole))]
