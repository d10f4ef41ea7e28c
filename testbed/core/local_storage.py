"""Whether a pod uses more of its node's disk than it may, and what is then said.

Pure: what is used was measured by ``node/disk_use``. A pod over a limit is evicted by its node.
Source: kubernetes pkg/kubelet/eviction/eviction_manager.go localStorageEviction, helpers.go (messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from testbed.api.core_v1 import Container, PodSpec
from testbed.api.meta import quantity

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
    total = pod_limit(spec)
    if used > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {_text(total)}. "
    for container in (*spec.init_containers, *spec.containers):
        most = container.resources.limits.get(RESOURCE)
        if most is not None and use.containers.get(container.name, 0) > quantity(most):
            return f'Container {container.name} exceeded its local ephemeral storage limit "{most}". '
    return ""


def pod_limit(spec: PodSpec) -> Decimal:
    """Of its containers and sidecars together, or of the largest init step."""
    sidecars = largest = Decimal(0)
    for container in spec.init_containers:
        if container.restart_policy == "Always":
            sidecars += _limit(container)
        else:
            largest = max(largest, sidecars + _limit(container))
    return max(largest, sidecars + sum((_limit(item) for item in spec.containers), Decimal(0)))


def _limit(container: Container) -> Decimal:
    return quantity(container.resources.limits.get(RESOURCE, 0))


def _text(value: Decimal) -> str:
    """As upstream prints binary quantities: the largest unit that leaves a whole number."""
    number = int(value)
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        size = 1024 ** (("Ki", "Mi", "Gi", "Ti").index(unit) + 1)
        if number and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)
