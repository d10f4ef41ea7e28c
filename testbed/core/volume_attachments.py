"""Which nodes may use a volume. A volume that only one node may use goes to another only when the first is through.

Unknown is not dead: a node that is not heard keeps what its pods use for as long as those pods are in the API. When
they are gone (a person forced them out, or the node was deleted) and the node cannot say that it let go, its right ends
after ``force_after_s``, as upstream.

Leaves to its loop: since when a node's right is not needed any more (a time we have watched), writing.

Source: kubernetes pkg/controller/volume/attachdetach/{reconciler/reconciler.go,util/util.go}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from testbed.api.core_v1 import Node, Pod
from testbed.api.storage_v1 import DRIVER, READ_MANY, WRITE_MANY, PersistentVolume
from testbed.core.reasons import Note


@dataclass(frozen=True)
class AttachmentPlan:
    """Names of nodes. ``idle``: attached and not needed, but not known to have let go. ``refused``: by key of the pod
    that waits."""

    attach: tuple[str, ...] = ()
    detach: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    refused: Mapping[str, Note] = field(default_factory=dict)
    requeue_after_s: float | None = None


def in_use_name(volume: PersistentVolume) -> str:
    """How a node's ``status.volumesInUse`` names it (kubernetes: GetUniqueVolumeName of CSI)."""
    return f"kubernetes.io/csi/{DRIVER}^{volume.engine_volume}"


def plan(
    volume: PersistentVolume, attached: Iterable[str], users: Iterable[Pod], nodes: Mapping[str, Node],
    idle_since_s: Mapping[str, float], now_s: float, force_after_s: float,
) -> AttachmentPlan:
    """
    Args:
        attached: nodes that have the volume.
        users: pods with a node that use its claim.
        idle_since_s: of ``AttachmentPlan.idle`` of former looks, monotonic.
    """
    active = sorted((pod for pod in users if pod.spec.node_name and not pod.terminal), key=_age)
    wanted = list(dict.fromkeys(pod.spec.node_name for pod in active))
    holding = list(attached)
    detach, idle, again_s = [], [], None
    for name in holding:
        if name in wanted:
            continue
        node = nodes.get(name)
        if node is not None and in_use_name(volume) not in node.status.volumes_in_use:
            detach.append(name)
            continue
        left_s = idle_since_s.get(name, now_s) + force_after_s - now_s
        if left_s <= 0 and (node is None or not node.ready):
            detach.append(name)
        else:
            idle.append(name)
            again_s = max(left_s, 1.0) if again_s is None else min(again_s, max(left_s, 1.0))
    kept = [name for name in holding if name not in detach]
    shared = bool(set(volume.spec.access_modes) & {READ_MANY, WRITE_MANY})
    holders = list(dict.fromkeys(kept + wanted)) if shared else kept or wanted[:1]
    refused = {pod.key: _refusal(volume, active, holders) for pod in active if pod.spec.node_name not in holders
               and not pod.metadata.deleting}
    return AttachmentPlan(tuple(name for name in holders if name not in kept), tuple(detach), tuple(idle), refused,
                          again_s)


def _age(pod: Pod) -> tuple[float, str]:
    created = pod.metadata.creation_timestamp
    return (created.timestamp() if created is not None else 0.0), pod.key


def _refusal(volume: PersistentVolume, active: list[Pod], holders: list[str]) -> Note:
    start = f'Multi-Attach error for volume "{volume.metadata.name}" '
    using = sorted(pod.metadata.name for pod in active if pod.spec.node_name in holders)
    if using:
        return Note("FailedAttachVolume", f"{start}Volume is already used by pod(s) {', '.join(using)}", "Warning")
    text = f"{start}Volume is already exclusively attached to one node and can't be attached to another"
    return Note("FailedAttachVolume", text, "Warning")
