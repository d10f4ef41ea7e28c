"""When a node is short of memory, and which pod it evicts first.

Decides the condition, the order and the words; what is free and used was measured by ``node/evictor``. Only nodes
with a limit of their own (``--node-memory``) can be short: the others share the whole machine. Of disk there is no
limit per node, so DiskPressure never holds.
Source: kubernetes pkg/kubelet/eviction/{eviction_manager,helpers}.go (rankMemoryPressure, evictionMessage, Admit).
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


def message(pod: PodUse, available_bytes: int, threshold_bytes: int) -> str:
    text = (f"The node was low on resource: memory. Threshold quantity: {_text(threshold_bytes)}, "
            f"available: {_kib(available_bytes)}. ")
    for container in pod.spec.containers:
        used, asked = pod.used_bytes.get(container.name, 0), int(request(container, "memory"))
        if used > asked:
            text += (f"Container {container.name} was using {_kib(used)}, request is {_text(asked)}, "
                     "has larger consumption of memory. ")
    return text


def turned_away(spec: PodSpec) -> str:
    """Why a node under memory pressure does not take this pod; empty when it does."""
    tolerated = first_intolerable((_TAINT,), spec.tolerations, (_TAINT.effect,)) is None
    admitted = spec.priority >= CRITICAL_PRIORITY or qos_class(spec) != "BestEffort" or tolerated
    return "" if admitted else "The node had condition: [MemoryPressure]. "


def _kib(value: int) -> str:
    return f"{value // 1024}Ki"


def _text(value: int) -> str:
    return quantity_text("memory", Decimal(value))
