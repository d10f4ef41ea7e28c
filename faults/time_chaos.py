"""TimeChaos: the clocks of a container's processes are off; nobody else's are.

A program in the container's pid namespace writes into the vdso of each of its processes. So programs are hit that read
clocks through the C library or Go's runtime; those that make the system call themselves are not (as upstream). Several
TimeChaos objects on one container add up. A restart of the container cures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults import clocks
from faults.containers import locate
from faults.effects import Clock, Effect
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import TIME_CHAOS
from faults.protocol import Aim, Drawing, Json, Tools
from testbed.errors import Mistake


class TimeChaos(HeldFault):
    kind = TIME_CHAOS
    summary = "the clocks of a container's processes are off"
    level = "container"
    first_container = True
    fields = clocks.FIELDS
    required = ("timeOffset",)
    needs = ("memory",)
    after_restart = "container"
    example = {"timeOffset": "-10m100ns"}
    drawn = Drawing("clock off", "#8e44ad")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        return clocks.mistakes(spec)

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        container = (await locate(tools, aim.target))["container_id"]
        hold = Hold(aim.entry_id, self.name, "clocks", clocks.plan_of(aim.spec, {"containers": [container]}), container,
                    aim.deadline_ns, pid=True, cap_add=clocks.CAPABILITIES)
        return {"container_id": container, "hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        return await clocks.measure(tools, Hold.from_json(plan["hold"]), holder)

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Clock(plan["container_id"], clocks.simulated_offset_s(plan["hold"]["plan"])),)
