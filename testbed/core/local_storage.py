"""Whether a pod uses more of its node's disk than it may, and what is then said.

Pure: what is used was measured by ``node/disk_use``. A pod over a limit is evicted by its node.
Source: kubernetes pkg/kubelet/eviction/eviction_manager.go localStorageEviction, helpers.go (messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.api.core_v1 import PodSpec
from testbed.api.meta import quantity
from testbed.core.quantities import quantity_text
from testbed.core.resources import pod_limit

RESOURCE = "ephemeral-storage"


@dataclass(frozen=True)
class DiskUse:
    """Bytes: ``volumes``: of each emptyDir; ``containers``: what each has written into its own file system."""

    volumes: Mapping[str, int]
    containers: Mapping[str, int]


def limited_volumes(spec: PodSpec) -> tuple[str, ...]:
    """emptyDirs to be measured, of any medium."""
    counted = limited_containers(spec)
    return tuple(
        volume.name for volume in spec.volumes if volume.empty_dir is not None
        and (volume.empty_dir.size_limit is not None or (counted and volume.empty_dir.medium != "Memory"))
    )


def limited_containers(spec: PodSpec) -> bool:
    """Whether what containers write counts against a limit."""
    return any(RESOURCE in item.resources.limits for item in (*spec.init_containers, *spec.containers))


def over_limit(spec: PodSpec, use: DiskUse) -> str:
    """Why the pod must go, in upstream's words; empty when it may stay."""
    for volume in spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if limit is not None and quantity(limit) > 0 and use.volumes.get(volume.name, 0) > quantity(limit):
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    if not limited_containers(spec):
        return ""
    disk = {volume.name for volume in spec.volumes
            if volume.empty_dir is not None and volume.empty_dir.medium != "Memory"}
    used = sum(use.containers.values()) + sum(size for name, size in use.volumes.items() if name in disk)
    total = pod_limit(spec, RESOURCE)
    if used > total:
        text = quantity_text(RESOURCE, total)
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {text}. "
    for container in (*spec.init_containers, *spec.containers):
        most = container.resources.limits.get(RESOURCE)
        if most is not None and use.containers.get(container.name, 0) > quantity(most):
            return f'Container {container.name} exceeded its local ephemeral storage limit "{most}". '
    return ""
