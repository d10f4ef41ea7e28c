"""ShamChaos: the whole path of an injection without the damage, holder container and all. It must yield no disruption;
what an experiment measures under it is the measuring itself."""

from __future__ import annotations

from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import SHAM_CHAOS
from faults.protocol import Aim, Drawing, Json, Tools
from faults.sandboxes import sandbox_of


class Sham(HeldFault):
    kind = SHAM_CHAOS
    summary = "nothing: the whole path of an injection without the damage"
    level = "pod"
    after_restart = "pod"
    drawn = Drawing("sham", "#95a5a6")

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        sandbox = await sandbox_of(tools, aim.target)
        hold = Hold(aim.entry_id, self.name, "sham", {}, sandbox.id, aim.deadline_ns, network=True)
        return {"hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        return "its holder runs and does nothing"
