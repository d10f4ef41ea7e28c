"""Requests and limits of pods: quality of service, cgroup values, OOM score, what fits.

Source: kubernetes pkg/apis/core/v1/helper/qos/qos.go, pkg/kubelet/qos/policy.go, pkg/kubelet/cm/helpers_linux.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from testbed.api.core_v1 import Container, PodSpec
from testbed.api.meta import quantity

_COMPUTE = ("cpu", "memory")


def limit(container: Container, name: str) -> Decimal:
    """0 when there is none."""
    return quantity(container.resources.limits.get(name, 0))


def request(container: Container, name: str) -> Decimal:
    """The request, else the limit (kubernetes: defaults.go SetDefaults_Pod)."""
    resources = container.resources
    return quantity(resources.requests.get(name, resources.limits.get(name, 0)))


def qos_class(spec: PodSpec) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    containers = [*spec.init_containers, *spec.containers]
    requests = {(item.name, name): request(item, name) for item in containers for name in _COMPUTE}
    limits = {(item.name, name): limit(item, name) for item in containers for name in _COMPUTE}
    if not any(requests.values()) and not any(limits.values()):
        return "BestEffort"
    if all(limits.values()) and requests == limits:
        return "Guaranteed"
    return "Burstable"


def pod_request(spec: PodSpec, name: str) -> Decimal:
    """What the pod needs at once: its containers and sidecars together, or the largest init step."""
    return _of_pod(spec, name, request)


def pod_limit(spec: PodSpec, name: str) -> Decimal:
    """As ``pod_request``, of limits."""
    return _of_pod(spec, name, limit)


def _of_pod(spec: PodSpec, name: str, of: Callable[[Container, str], Decimal]) -> Decimal:
    sidecars = Decimal(0)
    largest = Decimal(0)
    for container in spec.init_containers:
        if container.restart_policy == "Always":
            sidecars += of(container, name)
        else:
            largest = max(largest, sidecars + of(container, name))
    return max(largest, sidecars + sum((of(item, name) for item in spec.containers), Decimal(0)))


def cpu_shares(container: Container) -> int:
    return max(2, int(request(container, "cpu") * 1024))


def cpu_quota_us(container: Container, most_cpu: Decimal) -> int:
    """Microseconds per 100 ms, at least 1 ms, clamped to the node's ``most_cpu`` (0: no clamp). 0 means none."""
    cpu = limit(container, "cpu")
    if most_cpu:
        cpu = min(cpu, most_cpu) if cpu else most_cpu
    return max(1000, int(cpu * 100_000)) if cpu else 0


def memory_limit_bytes(container: Container, most_bytes: int) -> int:
    """The hard limit, clamped to the node's memory; a container without one gets the node's."""
    own = int(limit(container, "memory"))
    return min(own, most_bytes) if own and most_bytes else own or most_bytes


def oom_score_adj(spec: PodSpec, container: Container, memory_capacity_bytes: int) -> int:
    kind = qos_class(spec)
    if kind == "Guaranteed":
        return -997
    if kind == "BestEffort":
        return 1000
    wanted = int(request(container, "memory"))
    if container.restart_policy == "Always":
        wanted = max(wanted, _smallest(spec.containers))
    score = 1000 - 1000 * wanted // max(memory_capacity_bytes, 1)
    return min(max(score, 3), 999)


def _smallest(containers: Iterable[Container]) -> int:
    return min((int(request(item, "memory")) for item in containers), default=0)
