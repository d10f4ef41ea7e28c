"""``/metrics`` of an agent: its containers under cAdvisor's names, itself under kubelet's, probes under ours.

Sources of names: ``metrics_containers``; kubernetes pkg/kubelet/metrics/metrics.go, pkg/kubelet/metrics/collectors/
resource_metrics.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from testbed.api.exposition import CONTENT_TYPE, COUNTER, HISTOGRAM, UNTYPED, Family, histogram_metric, metric
from testbed.api.meta import quantity
from testbed.api.scrape import Page
from testbed.node.agent import Agent
from testbed.node.container_specs import container_limits
from testbed.node.metrics_containers import ContainerText
from testbed.node.record import Record
from testbed.node.usage import NodeUsage
from testbed.runtime.containers import Limits

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CORES = Family("machine_cpu_cores", "Number of logical CPU cores.")
MEMORY = Family("machine_memory_bytes", "Amount of memory installed on the machine.")
NODE_CPU = Family("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", (),
                  COUNTER)
NODE_MEMORY = Family("node_memory_working_set_bytes", "Current working set of the node in bytes")
NODE_NAME = Family("kubelet_node_name", "The node's name. The count is always 1.", ("node",))
PODS = Family("kubelet_running_pods", "Number of pods that have a running pod sandbox")
CONTAINERS = Family("kubelet_running_containers", "Number of containers, by their state", ("container_state",))
LISTS = Family("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.", (), HISTOGRAM)
LIST_GAPS = Family("kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG.", (),
                   HISTOGRAM)
WORKERS = Family("kubelet_pod_worker_duration_seconds", "Duration in seconds to sync a single pod.",
                 ("operation_type",), HISTOGRAM)
EVICTIONS = Family("kubelet_evictions", "Cumulative number of pod evictions by eviction signal", ("eviction_signal",),
                   UNTYPED)
PROBES = Family("testbed_probe_duration_seconds", "How long probes took.", ("probe", "result"), HISTOGRAM)
PROBE_FAILURES = Family("testbed_probe_failures_total", "Probes that failed.", ("probe",), COUNTER)
RESTARTS = Family("testbed_container_restarts_total", "Containers started again by this agent.", (), COUNTER)

FAMILIES = (CORES, MEMORY, NODE_CPU, NODE_MEMORY, NODE_NAME, PODS, CONTAINERS, LISTS, LIST_GAPS, WORKERS, EVICTIONS,
            PROBES, PROBE_FAILURES, RESTARTS)

_STATES = {"created": "created", "running": "running", "paused": "running"}  # any other has ended


class AgentExposition:
    """Keeps what is written of a container for as long as it lives."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._containers = ContainerText(partial(_limits_of, agent))
        self._usage = NodeUsage()
        self.page = Page(f"agent/{agent.facts.name}", {
            "node": lambda: _node(agent, self._usage), "kubelet": lambda: _kubelet(agent),
            "probes": lambda: _probes(agent),
        })

    def text(self, usage: NodeUsage) -> tuple[bytes, str]:
        """The body of ``/metrics`` and its content type."""
        self._usage = usage
        now = self._agent.shared.clock.now().timestamp()
        records = self._agent.view.records
        shown = self.page.whole("containers", lambda: self._containers.text(usage, records, now))
        return self.page.text() + "".join(shown).encode(), CONTENT_TYPE

    async def close(self) -> None:
        await self.page.close()


def _limits_of(agent: Agent, record: Record) -> Limits | None:
    worker = agent.workers.get(record.uid)
    if worker is None:
        return None
    spec = worker.pod.spec
    found = next((item for item in (*spec.containers, *spec.init_containers) if item.name == record.name), None)
    return None if found is None else container_limits(agent.facts, found)


def _node(agent: Agent, usage: NodeUsage) -> Iterator[Metric]:
    yield metric(CORES, [((), float(quantity(agent.facts.cpu)))])
    yield metric(MEMORY, [((), float(quantity(agent.facts.memory)))])
    if usage.whole is not None:
        yield metric(NODE_CPU, [((), usage.whole.cpu_seconds)])
    yield metric(NODE_MEMORY, [((), sum(item.group.working_set_bytes for item in usage.containers))])


def _kubelet(agent: Agent) -> Iterator[Metric]:
    records, measures = agent.view.records.values(), agent.measures
    yield metric(NODE_NAME, [((agent.facts.name,), 1)])
    yield metric(PODS, [((), sum(item.sandbox and item.running for item in records))])
    states = dict.fromkeys(("created", "exited", "running"), 0)
    for item in records:
        if not item.sandbox:
            states["exited" if item.died_ns is not None else _STATES.get(item.state.status, "exited")] += 1
    yield metric(CONTAINERS, [((state,), count) for state, count in states.items()])
    yield histogram_metric(LISTS, [((), agent.view.lists)])
    yield histogram_metric(LIST_GAPS, [((), agent.view.list_gaps)])
    yield histogram_metric(WORKERS, [(("sync",), measures.looks)])
    yield metric(EVICTIONS, [((signal,), count) for signal, count in sorted(measures.evictions.items())])


def _probes(agent: Agent) -> Iterator[Metric]:
    measures = agent.measures
    yield histogram_metric(PROBES, [(key, measures.durations[key]) for key in sorted(measures.durations)])
    yield metric(PROBE_FAILURES, [((kind,), measures.failures[kind]) for kind in ("liveness", "readiness", "startup")])
    yield metric(RESTARTS, [((), measures.restarts)])
