"""From a pod's container to its main process and cgroup: identities that no later process can be mistaken for."""

from __future__ import annotations

from faults.protocol import Json, Target, TargetGone, Tools
from testbed.api import labels
from testbed.errors import HostError
from testbed.runtime.protocol import ProcessIdentity


async def locate(tools: Tools, target: Target) -> Json:
    """``container_id``, ``pid``, ``start_ticks`` and ``cgroup`` of the running container.

    The process must live in a cgroup that is named after the container: between the engine's answer and the look at the
    process its number may have gone to another one.

    Raises: TargetGone when it does not run.
    """
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_CONTAINER,
        labels.POD_UID: target.uid, labels.CONTAINER_NAME: target.container,
    })
    running = [state for state in found if state.running and state.pid > 1]
    if not running:
        raise TargetGone(f"container {target.id} is not running")
    state = max(running, key=lambda item: int(item.labels.get(labels.ATTEMPT) or 0))
    try:
        process = await tools.host.identify(state.pid)
        cgroup = await tools.host.cgroup_of(process)
    except HostError as error:
        raise TargetGone(f"container {target.id} ended meanwhile") from error
    if state.id not in cgroup:
        raise TargetGone(f"process {state.pid} is not container {target.id}'s any more")
    return {"container_id": state.id, "pid": process.pid, "start_ticks": process.start_ticks, "cgroup": cgroup}


def process_of(plan: Json) -> ProcessIdentity:
    return ProcessIdentity(int(plan["pid"]), int(plan["start_ticks"]))
