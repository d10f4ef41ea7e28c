"""When a node is short of memory or disk, and which pod it evicts first.

Decides the conditions, the order and the words; what is free and used was measured by ``node/evictor``. Only nodes
with a limit of their own (``--node-memory``, ``--node-disk``) can be short: the others share the whole machine.
Source: kubernetes pkg/kubelet/eviction/{eviction_manager,helpers}.go (rankMemoryPressure, rankDiskPressureFunc,
evictionMessage, Admit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from testbed.api.core_v1 import PodSpec, Taint
from testbed.core.nodes import PRESSURE_TAINTS
from testbed.core.quantities import quantity_text
from testbed.core.resources import pod_request, qos_class, request
from testbed.core.tolerations import first_intolerable

CRITICAL_PRIORITY = 2_000_000_000  # kubernetes: scheduling.SystemCriticalPriority; such pods are not evicted
_TAINT = Taint(key=PRESSURE_TAINTS["MemoryPressure"], effect="NoSchedule")
DISK = "ephemeral-storage"
_DISK_THRESHOLD = 10  # percent; kubelet: evictionHard nodefs.available


@dataclass(frozen=True)
class PodUse:
    """``used_bytes``: working set of each of its containers."""

    uid: str
    spec: PodSpec
    used_bytes: Mapping[str, int]

    @property
    def total_bytes(self) -> int:
        return sum(self.used_bytes.values())

    @property
    def over_request_bytes(self) -> int:
        return self.total_bytes - int(pod_request(self.spec, "memory"))


@dataclass(frozen=True)
class Pressure:
    """``met``: now; ``holds``: now or a while ago. ``last_met_s``: monotonic seconds, None: never."""

    met: bool = False
    holds: bool = False
    last_met_s: float | None = None


def judged(before: Pressure, available_bytes: int, threshold_bytes: int, hold_s: float, now_s: float) -> Pressure:
    """``hold_s``: how long the condition outlives what caused it (eviction-pressure-transition-period)."""
    met = available_bytes < threshold_bytes
    last_s = now_s if met else before.last_met_s
    return Pressure(met, met or (last_s is not None and now_s - last_s < hold_s), last_s)


def victims(pods: Sequence[PodUse]) -> list[PodUse]:
    """Who goes first: those over their request, then the least important, then the one furthest over its request."""
    return sorted(
        (pod for pod in pods if pod.spec.priority < CRITICAL_PRIORITY and pod.total_bytes > 0),
        key=lambda pod: (pod.over_request_bytes <= 0, pod.spec.priority, -pod.over_request_bytes, pod.uid),
    )


def disk_threshold_bytes(capacity_bytes: int) -> int:
    return capacity_bytes * _DISK_THRESHOLD // 100


def disk_victims(pods: Sequence[tuple[PodSpec, str, int]]) -> list[str]:
    """uids, from (spec, uid, bytes on disk): those over their request first, then the least important, then the one
    furthest over it. One with nothing on disk frees nothing."""
    ranked = [(pod_request(spec, DISK), spec, uid, used) for spec, uid, used in pods
              if spec.priority < CRITICAL_PRIORITY and used > 0]
    ranked.sort(key=lambda item: (item[3] <= item[0], item[1].priority, item[0] - item[3], item[2]))
    return [uid for _, _, uid, _ in ranked]


def disk_message(available_bytes: int, threshold_bytes: int) -> str:
    return (f"The node was low on resource: {DISK}. Threshold quantity: {_text(threshold_bytes)}, "
            f"available: {_kib(max(0, available_bytes))}. ")


def message(pod: PodUse, available_bytes: int, threshold_bytes: int) -> str:
    text = (f"The node was low on resource: memory. Threshold quantity: {_text(threshold_bytes)}, "
            f"available: {_kib(available_bytes)}. ")
    for container in pod.spec.containers:
        used, asked = pod.used_bytes.get(container.name, 0), int(request(container, "memory"))
        if used > asked:
            text += (f"Container {container.name} was using {_kib(used)}, request is {_text(asked)}, "
                     "has larger consumption of memory. ")
    return text


def turned_away(spec: PodSpec, *, disk: bool = False) -> str:
    """Why a node under memory pressure (``disk``: of its disk) does not take this pod; empty when it does."""
    if disk:
        return "" if spec.priority >= CRITICAL_PRIORITY else "The node had condition: [DiskPressure]. "
    tolerated = first_intolerable((_TAINT,), spec.tolerations, (_TAINT.effect,)) is None
    admitted = spec.priority >= CRITICAL_PRIORITY or qos_class(spec) != "BestEffort" or tolerated
    return "" if admitted else "The node had condition: [MemoryPressure]. "


def _kib(value: int) -> str:
    return f"{value // 1024}Ki"


def _text(value: int) -> str:
    return quantity_text("memory", Decimal(value))
