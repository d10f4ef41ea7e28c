"""From a pod's container to its main process and cgroup on this machine: identities that no later process can be
mistaken for. On a node with an engine of its own as well: its engine is asked, and what it calls the process is looked
up among the processes of the node's cgroup.
"""

from __future__ import annotations

from faults import selection
from faults.protocol import Json, Target, TargetGone, Tools
from testbed.api import labels
from testbed.api.resources import PODS
from testbed.errors import HostError, NoSuchContainer, NotFound
from testbed.runtime.containers import ContainerState
from testbed.runtime.host_protocol import ProcessIdentity
from testbed.runtime.protocol import Engine


async def locate(tools: Tools, target: Target) -> Json:
    """``container_id``, ``pid``, ``start_ticks`` and ``cgroup`` of the running container.

    The process must live in a cgroup that is named after the container: between the engine's answer and the look at the
    process its number may have gone to another one.

    Raises: TargetGone when it does not run.
    """
    own = tools.node_engines.of(target.node) if target.node else None
    state = await _running(tools, own or tools.engine, target)
    try:
        pid = state.pid if own is None else await _seen_from_here(tools, target, state)
        process = await tools.host.identify(pid)
        cgroup = await tools.host.cgroup_of(process)
    except HostError as error:
        raise TargetGone(f"container {target.id} ended meanwhile") from error
    if state.id not in cgroup:
        raise TargetGone(f"process {pid} is not container {target.id}'s any more")
    return {"container_id": state.id, "pid": process.pid, "start_ticks": process.start_ticks, "cgroup": cgroup}


async def _running(tools: Tools, engine: Engine, target: Target) -> ContainerState:
    """The newest of those with the target's labels; else what the pod's status names: not every platform can label a
    container with its pod. Raises: TargetGone."""
    found = await engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_CONTAINER,
        labels.POD_UID: target.uid, labels.CONTAINER_NAME: target.container,
    })
    running = [state for state in found or await _told(tools, engine, target) if state.running and state.pid > 1]
    if not running:
        raise TargetGone(f"container {target.id} is not running")
    newest = max(running, key=lambda item: int(item.labels.get(labels.ATTEMPT) or 0))
    try:
        # Where an engine itself restarts a container, a list may still tell of its last life.
        now = await engine.inspect(newest.id)
    except NoSuchContainer:
        now = newest
    if not now.running or now.pid <= 1:
        raise TargetGone(f"container {target.id} is not running")
    return now


async def _told(tools: Tools, engine: Engine, target: Target) -> list[ContainerState]:
    try:
        pod = await tools.client.get(PODS, target.pod, target.namespace)
        if pod["metadata"].get("uid") != target.uid or not (named := selection.container_id(pod, target.container)):
            return []
        state = await engine.inspect(named)
    except (NotFound, NoSuchContainer):
        return []
    return [state] if state.labels.get(labels.INSTANCE) == tools.site.instance_id else []


async def _seen_from_here(tools: Tools, target: Target, state: ContainerState) -> int:
    """The number on this machine of the process that the node's engine calls ``state.pid``. Raises: TargetGone."""
    for pid in await tools.host.pids_in(tools.site.node_cgroup(target.node)):
        try:
            if (await tools.host.numbers_of(pid))[1:2] != (state.pid,):
                continue
            if state.id in await tools.host.cgroup_of(await tools.host.identify(pid)):
                return pid
        except HostError:
            continue  # it has ended meanwhile
    raise TargetGone(f"no process of node {target.node} is container {target.id}'s")


def process_of(plan: Json) -> ProcessIdentity:
    return ProcessIdentity(int(plan["pid"]), int(plan["start_ticks"]))
