"""``/metrics`` of the control plane: kube-state-metrics' names for what the store holds, ``testbed_*`` for the rest.

Everything is computed at the scrape from the store, so the numbers cannot drift from what the API says. prometheus-
client is loaded at the first scrape: a control plane that nobody scrapes does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import testbed
from testbed.api.resources import (
    CHAOS_MESH_GROUP,
    ENDPOINT_SLICES,
    EXPERIMENTS,
    NODES,
    PODS,
    TESTBED_GROUP,
    ResourceType,
)
from testbed.controlplane.manager import ControlPlane
from testbed.server.registry import Registry

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Json = dict[str, Any]


def exposition(registry: Registry, control_plane: ControlPlane) -> Callable[[], tuple[bytes, str]]:
    """What makes the body of ``/metrics`` and its content type."""
    made: list[Any] = []

    def expose() -> tuple[bytes, str]:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        if not made:
            made.append(CollectorRegistry(auto_describe=False))
            made[0].register(StateCollector(registry, control_plane))
        return generate_latest(made[0]), CONTENT_TYPE_LATEST

    return expose


class StateCollector:
    """A prometheus-client collector."""

    def __init__(self, registry: Registry, control_plane: ControlPlane) -> None:
        self._registry, self._control_plane = registry, control_plane
        # By fault object's UID: a counter must not fall when objects are deleted.
        self._injected: dict[str, tuple[str, int]] = {}

    def collect(self) -> Iterator[Metric]:
        from testbed.server.metrics_state import state_metrics
        from testbed.server.metrics_storage import storage_metrics

        yield from state_metrics(self._items)
        yield from storage_metrics(self._items)
        yield from self._own()

    def _items(self, resource: ResourceType) -> list[Json]:
        return [stored.value for stored in self._registry.list(resource).items]

    def _own(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        build = GaugeMetricFamily("testbed_build_info", "The testbed that answers; always 1.", labels=["version"])
        build.add_metric([testbed.__version__], 1)
        yield build
        yield from self._faults()
        endpoints = GaugeMetricFamily("testbed_endpoints", "Endpoints of all Services, by state.", labels=["state"])
        counts = {"ready": 0, "unready": 0, "terminating": 0}
        for item in self._items(ENDPOINT_SLICES):
            for endpoint in item.get("endpoints") or ():
                counts[_endpoint_state(endpoint.get("conditions") or {})] += 1
        for state, count in counts.items():
            endpoints.add_metric([state], count)
        yield endpoints
        depth = GaugeMetricFamily("testbed_workqueue_depth", "Keys that wait for a controller.", labels=["controller"])
        failures = CounterMetricFamily(
            "testbed_reconcile_failures", "Looks of a controller that failed and were retried.", labels=["controller"]
        )
        for controller in self._control_plane.controllers:
            depth.add_metric([controller.name], controller.queue.depth)
            failures.add_metric([controller.name], controller.failures)
        yield depth
        yield failures
        yield self._reconcile_durations()

    def _reconcile_durations(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        durations = HistogramMetricFamily(
            "testbed_reconcile_duration_seconds", "How long one look of a controller takes.", labels=["controller"]
        )
        for controller in self._control_plane.controllers:
            buckets = [(bound, float(count)) for bound, count in controller.looks.cumulative()]
            durations.add_metric([controller.name], buckets, controller.looks.sum)
        return durations

    def _faults(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        active = GaugeMetricFamily(
            "testbed_fault_active", "1 while an injection is in effect, 0 while its fault object is still there.",
            labels=["fault", "target", "node"],
        )
        total = CounterMetricFamily("testbed_faults", "Injections since this API server was first scraped.",
                                    labels=["fault"])
        holding: dict[tuple[str, str, str], int] = {}
        nodes = {item["metadata"]["name"] for item in self._items(NODES)}
        places = {_key(pod): str(pod["spec"].get("nodeName") or "") for pod in self._items(PODS)}
        for fault in self._fault_objects():
            name = _fault_name(fault)
            count = 0
            for record in (fault.get("status") or {}).get("experiment", {}).get("containerRecords") or ():
                count += int(record.get("injectedCount") or 0)
                target = str(record.get("id", ""))
                node = target if target in nodes else places.get("/".join(target.split("/")[:2]), "")
                key = (name, target, node)
                holding[key] = max(holding.get(key, 0), int(record.get("phase") == "Injected"))
            self._injected[fault["metadata"]["uid"]] = (name, count)
        for key, holds in sorted(holding.items()):
            active.add_metric(list(key), holds)
        sums: dict[str, int] = {}
        for name, count in self._injected.values():
            sums[name] = sums.get(name, 0) + count
        for name, count in sorted(sums.items()):
            total.add_metric([name], count)
        yield active
        yield total

    def _fault_objects(self) -> Iterable[Json]:
        """Objects of every kind that the chaos daemon registered, whatever it is called."""
        for served in self._registry.catalog:
            resource = served.resource
            if resource.group in (CHAOS_MESH_GROUP, TESTBED_GROUP) and resource.kind != EXPERIMENTS.kind:
                yield from self._items(resource)


def _fault_name(fault: Json) -> str:
    """``PodChaos/pod-kill``: kind and action."""
    action = (fault.get("spec") or {}).get("action")
    return f"{fault.get('kind', '')}/{action}" if action else str(fault.get("kind", ""))


def _endpoint_state(conditions: Json) -> str:
    if conditions.get("terminating"):
        return "terminating"
    return "ready" if conditions.get("ready") else "unready"


def _key(obj: Json) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
