"""Since when a pod is ready, and whether that is long enough to count as available.

Source: kubernetes pkg/api/v1/pod/util.go IsPodAvailable. Times of conditions are the agents' wall clock in whole
seconds, as upstream; only ``minReadySeconds`` is measured with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from testbed.api.core_v1 import Pod


def ready_since(pod: Pod) -> datetime | None:
    """When the pod last became ready, None when it is not ready or does not say."""
    condition = pod.condition("Ready")
    return condition.last_transition_time if condition is not None and condition.status == "True" else None


def is_available(pod: Pod, min_ready_s: int, now: datetime) -> bool:
    """Ready for ``min_ready_s`` at least."""
    if not pod.ready:
        return False
    if min_ready_s == 0:
        return True
    since = ready_since(pod)
    return since is not None and since + timedelta(seconds=min_ready_s) <= now


def next_availability_s(pods: Iterable[Pod], min_ready_s: int, now: datetime) -> float | None:
    """Seconds until the next of ``pods`` becomes available by time alone, None when none will."""
    waits = [
        (since + timedelta(seconds=min_ready_s) - now).total_seconds()
        for pod in pods
        if (since := ready_since(pod)) is not None and not is_available(pod, min_ready_s, now)
    ]
    return min(waits) if waits else None
