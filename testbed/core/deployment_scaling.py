"""Scaling a Deployment in the middle of a rollout: every active ReplicaSet gets its share.

Source: kubernetes pkg/controller/deployment/sync.go scale, util/deployment_util.go GetReplicaSetProportion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from testbed.core.deployment_state import DeploymentState, ReplicaSetState


def is_saturated(deployment: DeploymentState, new: ReplicaSetState) -> bool:
    """The new ReplicaSet alone is all that is wanted, and available."""
    return new.desired == deployment.replicas == new.replicas == new.status_available


def proportional_sizes(
    deployment: DeploymentState, active: Sequence[ReplicaSetState]
) -> list[tuple[ReplicaSetState, int]]:
    """New sizes of ``active`` (all with replicas): shares by size; the largest takes what rounding left."""
    allowed = deployment.maximum if deployment.replicas > 0 else 0
    to_add = allowed - sum(item.replicas for item in active)
    if to_add > 0:  # of equal size: the newer first when growing, the older first when shrinking
        order = sorted(active, key=lambda item: item.name)
        order.sort(key=lambda item: (item.replicas, item.created), reverse=True)
    else:
        order = sorted(active, key=lambda item: (-item.replicas, item.created, item.name))
    sizes, added = [], 0
    for item in order:
        share = 0
        if to_add and to_add != added:
            fraction, rest = _fraction(deployment, item), to_add - added
            share = min(fraction, rest) if to_add > 0 else max(fraction, rest)
        sizes.append(item.replicas + share)
        added += share
    if sizes and to_add:
        sizes[0] = max(sizes[0] + to_add - added, 0)
    return list(zip(order, sizes, strict=True))


def _fraction(deployment: DeploymentState, item: ReplicaSetState) -> int:
    """By how much this one changes when it keeps its part of the whole."""
    if deployment.replicas == 0:
        return -item.replicas
    before = item.maximum or deployment.status.get("replicas") or 0
    if before <= 0:
        return 0
    return math.floor(item.replicas * deployment.maximum / before + 0.5) - item.replicas
