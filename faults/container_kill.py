"""PodChaos ``container-kill``: a real crash. The main process gets SIGKILL from the host; the engine is not asked.

An engine's own kill would tell it that a person wanted the container to end (moby#28396), which is another fault.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from faults.containers import locate, process_of
from faults.kinds import POD_CHAOS
from faults.one_shot import OneShot
from faults.protocol import Aim, Drawing, Json, NotInEffect, Tools
from testbed.errors import Mistake


class ContainerKill(OneShot):
    kind = POD_CHAOS
    action = "container-kill"
    summary = "SIGKILL to the container's main process from the host: a crash, not a person's docker kill"
    level = "container"
    node_kinds = ("slice", "engine")
    elsewhere = True
    drawn = Drawing("crashed", "#c0392b")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        if spec.get("containerNames"):
            return ()
        return (Mistake("container-kill needs the names of the containers", "spec.containerNames"),)

    def verify_within_s(self, plan: Json) -> float:
        return 2.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        return await locate(tools, aim.target)

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        await tools.host.signal(process_of(plan), signal.SIGKILL)

    async def verify(self, tools: Tools, plan: Json) -> str:
        process = process_of(plan)
        try:
            await asyncio.wait_for(tools.host.wait_exit(process), 1.0)
        except TimeoutError:
            if await tools.host.alive(process):
                raise NotInEffect(f"process {process.pid} still runs") from None
        return f"process {process.pid} has ended"
