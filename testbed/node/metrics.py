"""What an agent shows of its node: cAdvisor's metric names for containers, ours for probes; and ``/stats/summary``.

The Prometheus client is imported only when somebody asks. Source of names: google/cadvisor docs/storage/prometheus.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from testbed.api import labels
from testbed.api.meta import format_time, quantity
from testbed.errors import TestbedError
from testbed.node.agent import Agent
from testbed.node.engine_view import Record
from testbed.node.facts import now_s
from testbed.node.measures import BUCKETS_S

Json = dict[str, Any]
_AT_ONCE = 4


@dataclass(frozen=True)
class Usage:
    """``cores``: mean use since the sample before, or since the start."""

    record: Record
    cpu_seconds: float
    memory_bytes: int
    cores: float


async def collect_usage(agent: Agent) -> list[Usage]:
    """Of all running containers; one that does not answer is left out."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(record: Record) -> Usage | None:
        try:
            async with places:
                usage = await agent.engine.usage(record.id)
        except TestbedError:
            return None
        moment = now_s()
        before = agent.measures.cpu.get(record.id, (record.started_s or moment, 0.0))
        agent.measures.cpu[record.id] = (moment, usage.cpu_seconds)
        passed_s = max(moment - before[0], 1e-3)
        cores = max(0.0, usage.cpu_seconds - before[1]) / passed_s
        return Usage(record, usage.cpu_seconds, usage.memory_bytes, cores)

    running = [item for item in agent.view.records.values() if item.running and not item.sandbox]
    found = await asyncio.gather(*(one(item) for item in running))
    for forgotten in set(agent.measures.cpu) - {item.id for item in running}:
        del agent.measures.cpu[forgotten]
    return [item for item in found if item is not None]


def summary(agent: Agent, usages: list[Usage]) -> Json:
    """kubernetes: staging kubelet/pkg/apis/stats/v1alpha1."""
    now = format_time(agent.shared.clock.now())
    pods: dict[str, Json] = {}
    for usage in usages:
        tags = usage.record.state.labels
        pod = pods.setdefault(usage.record.uid, {
            "podRef": {"name": tags.get(labels.POD_NAME, ""), "namespace": tags.get(labels.POD_NAMESPACE, ""),
                       "uid": usage.record.uid},
            "containers": [],
        })
        pod["containers"].append({
            "name": usage.record.name,
            "cpu": {"time": now, "usageNanoCores": int(usage.cores * 1e9),
                    "usageCoreNanoSeconds": int(usage.cpu_seconds * 1e9)},
            "memory": {"time": now, "workingSetBytes": usage.memory_bytes, "usageBytes": usage.memory_bytes},
        })
    memory = sum(item.memory_bytes for item in usages)
    node = {
        "nodeName": agent.facts.name,
        "cpu": {"time": now, "usageNanoCores": int(sum(item.cores for item in usages) * 1e9),
                "usageCoreNanoSeconds": int(sum(item.cpu_seconds for item in usages) * 1e9)},
        "memory": {"time": now, "workingSetBytes": memory, "usageBytes": memory,
                   "availableBytes": max(0, int(quantity(agent.facts.memory)) - memory)},
    }
    return {"node": node, "pods": list(pods.values())}


def metrics_text(agent: Agent, usages: list[Usage]) -> tuple[bytes, str]:
    """Body and content type of /metrics."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    class Collector:
        def collect(self) -> Iterator[Any]:
            yield from _containers(agent, usages)
            yield from _probes(agent)

    registry = CollectorRegistry()
    registry.register(Collector())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _containers(agent: Agent, usages: list[Usage]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    names = ("namespace", "pod", "container", "node")
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Cumulative CPU time consumed in seconds.", labels=names)
    used = GaugeMetricFamily("container_memory_working_set_bytes", "Current working set.", labels=names)
    total = GaugeMetricFamily("container_memory_usage_bytes", "Current memory usage.", labels=names)
    started = GaugeMetricFamily("container_start_time_seconds", "Start time since unix epoch.", labels=names)
    seen = GaugeMetricFamily("container_last_seen", "Last time the container was seen.", labels=names)
    now = agent.shared.clock.now().timestamp()
    for usage in usages:
        tags = usage.record.state.labels
        pod = (tags.get(labels.POD_NAMESPACE, ""), tags.get(labels.POD_NAME, ""))
        values = (*pod, usage.record.name, agent.facts.name)
        cpu.add_metric(values, usage.cpu_seconds)
        used.add_metric(values, usage.memory_bytes)
        total.add_metric(values, usage.memory_bytes)
        if usage.record.state.started_at is not None:
            started.add_metric(values, usage.record.state.started_at.timestamp())
        seen.add_metric(values, now)
    yield from (cpu, used, total, started, seen)


def _probes(agent: Agent) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    measures = agent.measures
    durations = HistogramMetricFamily(
        "testbed_probe_duration_seconds", "How long probes took.", labels=("probe", "result")
    )
    for (kind, result), histogram in sorted(measures.durations.items()):
        running, buckets = 0, []
        for bound, count in zip((*(str(item) for item in BUCKETS_S), "+Inf"), histogram.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        durations.add_metric((kind, result), buckets, histogram.total_s)
    failures = CounterMetricFamily("testbed_probe_failures", "Probes that failed.", labels=("probe",))
    for kind in ("liveness", "readiness", "startup"):
        failures.add_metric((kind,), measures.failures[kind])
    restarts = CounterMetricFamily("testbed_container_restarts", "Containers started again by this agent.")
    restarts.add_metric((), measures.restarts)
    pods = GaugeMetricFamily("kubelet_running_pods", "Pods with a running sandbox.")
    pods.add_metric((), sum(1 for item in agent.view.records.values() if item.sandbox and item.running))
    yield from (durations, failures, restarts, pods)
