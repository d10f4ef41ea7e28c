"""ControlPlaneChaos ``freeze``: the API's process stops by the freezer of its cgroup. It answers nothing.

The chaos daemon is cut off from the API as everyone is. It undoes by its ledger, which needs no API; a holder thaws
where even the daemon has died. A process that is killed meanwhile comes back frozen.
"""

from __future__ import annotations

from faults.control_plane import api_process, cgroup_of_api
from faults.freezing import Freezing
from faults.kinds import CONTROL_PLANE_CHAOS
from faults.protocol import Aim, Drawing, Json, NotInEffect, TargetGone, Tools


class ControlPlaneFreeze(Freezing):
    kind = CONTROL_PLANE_CHAOS
    action = "freeze"
    summary = "the API's process stops: connections stay, nothing answers"
    level = "cluster"
    after_restart = "cluster"
    drawn = Drawing("API frozen", "#2980b9")

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        if not (await api_process(tools)).running:
            raise TargetGone("the API's process does not run")
        return {"cgroup": cgroup_of_api(tools)}

    async def verify(self, tools: Tools, plan: Json) -> str:
        pid = (await api_process(tools)).pid
        if not await tools.host.frozen(plan["cgroup"]) or pid not in await tools.host.pids_in(plan["cgroup"]):
            raise NotInEffect(f"the API's process {pid} is not frozen")
        return f"the API's process {pid} is in a frozen cgroup"
