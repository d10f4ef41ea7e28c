"""How a namespace in deletion comes to its end: first its content, then its finalizer.

Source: kubernetes pkg/controller/namespace/deletion/namespaced_resources_deleter.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.core.conditions import with_condition

FINALIZER = "kubernetes"


@dataclass(frozen=True)
class NamespacePlan:
    """``delete``: group resources (``pods``, ``deployments.apps``) that still hold objects.

    ``finalize``: nothing is left. ``conditions``: what the namespace says while it waits.
    """

    delete: tuple[str, ...]
    finalize: bool
    conditions: tuple[dict[str, Any], ...]
    reason: str


def plan(
    deleting: bool, conditions: Sequence[Mapping[str, Any]], content: Mapping[str, int],
    finalizers: Mapping[str, int], now: datetime,
) -> NamespacePlan:
    """
    Args:
        content: number of objects by group resource.
        finalizers: how many of those objects each finalizer holds.
    """
    if not deleting:
        return NamespacePlan((), False, tuple(dict(item) for item in conditions), "active")
    left = {kind: count for kind, count in content.items() if count}
    fresh = with_condition(
        conditions, "NamespaceContentRemaining", "True" if left else "False",
        "SomeResourcesRemain" if left else "ContentRemoved",
        "Some resources are remaining: " + ", ".join(f"{kind} has {count} resource instances"
                                                     for kind, count in sorted(left.items()))
        if left else "All content successfully removed", now,
    )
    held = {name: count for name, count in finalizers.items() if count}
    fresh = with_condition(
        fresh, "NamespaceFinalizersRemaining", "True" if held else "False",
        "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
        "Some content in the namespace has finalizers remaining: "
        + ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
        if held else "All content-preserving finalizers finished", now,
    )
    return NamespacePlan(tuple(sorted(left)), not left, fresh, "content remains" if left else "empty")
