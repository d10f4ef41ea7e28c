"""ControlPlaneChaos ``kill``: SIGKILL of the API's process (API server, store, controllers and scheduler are one).

The machine room starts it again at once. With ``duration`` it is held down: the room is asked to, keeps the deadline
itself and knows it when it is started anew, so no holder is needed.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from faults.control_plane import PROCESS, api_process
from faults.kinds import CONTROL_PLANE_CHAOS
from faults.protocol import Act, Aim, Drawing, Fault, Json, NotInEffect, TargetGone, Tools
from testbed.errors import HostError
from testbed.runtime.host_protocol import ProcessIdentity

_SPARE_S = 0.5  # the daemon's own undo comes first


class ControlPlaneKill(Fault):
    kind = CONTROL_PLANE_CHAOS
    action = "kill"
    summary = "SIGKILL of the API's process; with duration it is held down, without it comes back at once"
    level = "cluster"
    after_restart = "cluster"
    drawn = Drawing("API down", "#7f0000")

    def held_s(self, spec: Mapping[str, Any]) -> float | None:
        return None if spec.get("duration") else 0.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        process = await api_process(tools)
        hold = {"key": aim.entry_id} if aim.deadline_ns else {}
        try:
            identity = await tools.host.identify(process.pid)
        except HostError as error:
            if hold:  # it is down already, and is to stay so
                return {**hold, "pid": 0, "start_ticks": 0}
            raise TargetGone("the API's process does not run") from error
        return {**hold, "pid": identity.pid, "start_ticks": identity.start_ticks}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        if "key" in plan:
            await tools.room.hold_down(PROCESS, plan["key"], deadline_s=remaining_s + _SPARE_S)
        else:
            await tools.host.signal(_identity(plan), signal.SIGKILL)

    async def verify(self, tools: Tools, plan: Json) -> str:
        if plan["pid"] and await tools.host.alive(_identity(plan)):
            raise NotInEffect(f"the API's process {plan['pid']} still runs")
        if "key" not in plan:
            return f"the API's process {plan['pid']} has ended"
        process = await api_process(tools)
        if plan["key"] not in process.held_down or process.running:
            raise NotInEffect("the API is not held down")
        return "no process of the API runs, and the machine room holds it down"

    async def undo(self, tools: Tools, plan: Json) -> None:
        if "key" in plan:
            await tools.room.let_up(PROCESS, plan["key"])

    async def undone(self, tools: Tools, plan: Json) -> bool:
        process = await api_process(tools)
        return plan.get("key") not in process.held_down and (process.running or bool(process.held_down))

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        return ()


def _identity(plan: Json) -> ProcessIdentity:
    return ProcessIdentity(int(plan["pid"]), int(plan["start_ticks"]))
