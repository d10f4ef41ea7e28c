"""FreezeChaos: the processes of a container stop, by the freezer of its cgroup; sockets stay open and nothing
answers.

From outside the engine, which therefore still says "running". A container that the healer has replaced meanwhile is
gone together with its cgroup: then nothing is left to thaw.
"""

from __future__ import annotations

from faults.containers import locate, process_of
from faults.freezing import Freezing
from faults.kinds import FREEZE_CHAOS
from faults.protocol import Act, Aim, Drawing, Json, NotInEffect, TargetGone, Tools


class Freeze(Freezing):
    kind = FREEZE_CHAOS
    summary = "the processes of the pod's containers stop, by the freezer of their cgroup"
    level = "container"
    node_kinds = ("slice", "engine")
    elsewhere = True
    after_restart = "container"
    drawn = Drawing("frozen", "#2980b9")

    def verify_within_s(self, plan: Json) -> float:
        return 2.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        return await locate(tools, aim.target)

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        if not await tools.host.alive(process_of(plan)):
            raise TargetGone(f"container {plan['container_id'][:12]} has ended")
        await super().inject(tools, plan, remaining_s)

    async def verify(self, tools: Tools, plan: Json) -> str:
        if not await tools.host.frozen(plan["cgroup"]):
            raise NotInEffect("the container's cgroup is not frozen")
        return "the container's cgroup is frozen"

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ({"do": "thaw", "cgroup": plan["cgroup"]},)  # read from the process: it is the machine's own name
