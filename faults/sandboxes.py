"""From a pod to its sandbox: the container that owns its network, which stays through restarts of its containers."""

from __future__ import annotations

from faults.protocol import Target, TargetGone, Tools
from testbed.api import labels
from testbed.runtime.containers import ContainerState


async def sandbox_of(tools: Tools, target: Target) -> ContainerState:
    """Its ``address`` is the pod's. Raises: TargetGone when none runs."""
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_SANDBOX, labels.POD_UID: target.uid})
    running = [state for state in found if state.running]
    if not running:
        raise TargetGone(f"pod {target.id} has no sandbox that runs")
    return max(running, key=lambda state: int(state.labels.get(labels.ATTEMPT) or 0))


async def gateway_of(tools: Tools) -> ContainerState:
    """The pods' router: another container from which a pod is seen. Raises: TargetGone when it does not run."""
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_GATEWAY}, running_only=True)
    if not found:
        raise TargetGone("the gateway does not run")
    return found[0]
