"""The API's process, as the machine room and the kernel see it. Needs no API: that is what breaks."""

from __future__ import annotations

from faults.protocol import TargetGone, Tools
from testbed.machines.protocol import ProcessState

PROCESS = "api"


def cgroup_of_api(tools: Tools) -> str:
    """What the machine room starts it in (testbed.api.instance: control_plane_cgroup)."""
    return f"{tools.site.cgroup}/_api"


async def api_process(tools: Tools) -> ProcessState:
    """Raises: TargetGone when the machine room keeps none."""
    for process in (await tools.room.status()).processes:
        if process.name == PROCESS:
            return process
    raise TargetGone("the machine room keeps no API")
