"""What ``wait`` waits for: conditions, rollouts, absence. Pure.

Source: kubernetes kubectl pkg/cmd/wait, pkg/polymorphichelpers/rollout_status.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.errors import TestbedError

Json = dict[str, Any]


class RolloutStalled(TestbedError):
    """A Deployment exceeded its progress deadline."""

    exit_code = 1


def condition(name: str, status: str = "True") -> Callable[[Json], bool]:
    """``Available``, ``Ready``: whether the object has that condition."""
    def holds(obj: Json) -> bool:
        return any(str(item.get("type")).lower() == name.lower() and str(item.get("status")).lower() == status.lower()
                   for item in (obj.get("status") or {}).get("conditions") or ())

    return holds


def rolled_out(obj: Json) -> bool:
    """Whether a Deployment runs its newest template only, at full size.

    Raises: RolloutStalled.
    """
    status, spec, metadata = obj.get("status") or {}, obj.get("spec") or {}, obj["metadata"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    for item in status.get("conditions") or ():
        if item.get("type") == "Progressing" and item.get("reason") == "ProgressDeadlineExceeded":
            raise RolloutStalled(f"deployment {metadata['name']!r} exceeded its progress deadline",
                                 hint=f"look at its pods: testbed describe deploy {metadata['name']}")
    updated, wanted = status.get("updatedReplicas", 0), spec.get("replicas", 1)
    return bool(updated == wanted and status.get("replicas", 0) == updated
                and status.get("availableReplicas", 0) == updated)
