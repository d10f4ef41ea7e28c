"""Which pods are a controller's: what it owns, which orphans to take in, which of its own to let go.

Source: kubernetes pkg/controller/controller_ref_manager.go ClaimObject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from testbed.api.core_v1 import Pod
from testbed.api.meta import LabelSelector, ObjectMeta


@dataclass(frozen=True)
class ClaimPlan:
    """Which pods are ours, which orphans to adopt, which of ours to let go."""

    owned: tuple[Pod, ...]
    adopt: tuple[Pod, ...]
    release: tuple[Pod, ...]


def claim(
    owner: ObjectMeta, selector: LabelSelector, pods: Iterable[Pod], *,
    member: Callable[[Pod], bool] = lambda pod: True,
) -> ClaimPlan:
    """Owned is what names us as its controller. Orphans that match are adopted, ours that no longer match released.

    An owner that is being deleted claims nothing new; ended or deleted pods are not adopted.

    Args:
        member: a further condition, beside the selector.
    """
    owned, adopt, release = [], [], []
    for pod in pods:
        if pod.metadata.namespace != owner.namespace:
            continue
        matches = not selector.empty and selector.matches(pod.metadata.labels) and member(pod)
        reference = pod.metadata.controller
        if reference is not None:
            if reference.uid != owner.uid:
                continue
            if matches or owner.deleting:
                owned.append(pod)
            elif not pod.metadata.deleting:
                release.append(pod)
        elif matches and not owner.deleting and pod.active:
            adopt.append(pod)
    return ClaimPlan(tuple(owned), tuple(adopt), tuple(release))
