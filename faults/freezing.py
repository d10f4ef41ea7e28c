"""Base of the faults that stop everything in a cgroup by its freezer. The plan has ``cgroup``."""

from __future__ import annotations

from faults.protocol import Act, Fault, Json, Tools
from testbed.runtime.cgroup_names import host_path


class Freezing(Fault):
    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.host.freeze(plan["cgroup"])

    async def undo(self, tools: Tools, plan: Json) -> None:
        await tools.host.thaw(plan["cgroup"])

    async def undone(self, tools: Tools, plan: Json) -> bool:
        return not await tools.host.frozen(plan["cgroup"])

    def shares(self, plan: Json) -> str:
        return str(plan["cgroup"])

    def holder_acts(self, tools: Tools, plan: Json) -> tuple[Act, ...]:
        names = {plan["cgroup"], host_path(plan["cgroup"], "systemd")}  # whichever driver the engine has
        return tuple({"do": "thaw", "cgroup": name} for name in sorted(names))
