"""How a fault object is read: which kinds are faults, what one is called, and what it did to each target. Pure.

Fault kinds come as CustomResourceDefinitions; their status has the form of Chaos Mesh's (chaos-mesh
api/v1alpha1/status.go). What the records mean is left to those who ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.api.resources import CHAOS_MESH_GROUP, EXPERIMENTS, TESTBED_GROUP, ResourceType

_NO_FAULTS = ("Schedule", "Workflow", EXPERIMENTS.kind)  # of the groups that have faults; they make faults


def is_fault(resource: ResourceType) -> bool:
    return resource.group in (CHAOS_MESH_GROUP, TESTBED_GROUP) and resource.kind not in _NO_FAULTS


def fault_title(kind: str, action: str | None) -> str:
    """``PodChaos/pod-kill``; the kind alone where it has no actions, as ``StressChaos``."""
    return f"{kind}/{action}" if action else kind


def records_of(fault: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One of each target that was chosen."""
    return list(((fault.get("status") or {}).get("experiment") or {}).get("containerRecords") or ())
