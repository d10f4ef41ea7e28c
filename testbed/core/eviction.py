"""When a pod must leave a node with NoExecute taints.

The time runs from the moment at which we saw the taint on the pod's node; it is cancelled when the taint goes.
Leaves to its loop: keeping those moments, waiting, deleting.

Source: kubernetes pkg/controller/tainteviction/taint_eviction.go processPodOnNode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.api.core_v1 import Pod, Taint
from testbed.core.tolerations import patience


@dataclass(frozen=True)
class EvictionPlan:
    """``since_s``: the moment to keep, None: forget it. ``due_s``: when to evict, None: not at all."""

    since_s: float | None
    due_s: float | None
    reason: str


def plan(pod: Pod, taints: Sequence[Taint], since_s: float | None, now_s: float) -> EvictionPlan:
    """
    Args:
        since_s: when the taints were seen first, on a monotonic clock; None when they were not yet.
    """
    executing = [taint for taint in taints if taint.effect == "NoExecute"]
    if not executing or pod.metadata.deleting or pod.terminal:
        return EvictionPlan(None, None, "nothing drives it out")
    start_s = now_s if since_s is None else since_s
    stay = patience(executing, pod.spec.tolerations)
    if stay.seconds is None:
        return EvictionPlan(start_s, None, stay.reason)
    return EvictionPlan(start_s, start_s + stay.seconds, stay.reason)
