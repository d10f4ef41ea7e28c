"""The dashboard Nodes and containers: where things run, what they use, and what probes say of them."""

from __future__ import annotations

from typing import Any

from boards import board
from grafana_foundation_sdk.models import dashboard
from panels import GOOD_WHEN_ZERO, NO_COLOUR, WORTH_A_LOOK, graph, number, states
from queries import CONTAINER, NODE, POD, increase, of, quantile, query, rate
from shared import NO_AGENT, NO_CONTAINER, NO_NODE, node_conditions, ready_nodes

BY_CONTAINER = "by (namespace, pod, container)"
SHOWN = "{{pod}} {{container}}"
CPU, MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"


def nodes() -> dashboard.Dashboard:
    return board(
        "testbed-nodes", "Nodes and containers", "Nodes and their conditions, what containers use of them, and what "
        "probes say.", ("namespace", "node", "pod"),
        (("Now", now()), ("Nodes", of_nodes()), ("CPU and memory", use()), ("Network and deaths", network_and_deaths()),
         ("Probes", probes())))


def now() -> list[Any]:
    return [
        ready_nodes(NODE),
        number("Cordoned nodes", "Nodes that get no new pods.", f"sum({of('kube_node_spec_unschedulable', NODE)})",
               steps=WORTH_A_LOOK, none=NO_NODE),
        number("Running pods", "Pods whose sandbox runs, as the agents count them.",
               f"sum({of('kubelet_running_pods', NODE)})", steps=NO_COLOUR, none=NO_AGENT),
        number("CPU", "Cores that containers use.", f"sum({rate(CPU, CONTAINER)})", steps=NO_COLOUR, none=NO_CONTAINER),
        number("Memory", "Working set of all containers.", f"sum({of(MEMORY, CONTAINER)})",
               unit="bytes", steps=NO_COLOUR, none=NO_CONTAINER),
        number("Out of memory", "Containers killed for want of memory within the time shown.",
               f"sum({increase('container_oom_events_total', CONTAINER)})", steps=GOOD_WHEN_ZERO, whole_range=True),
    ]


def of_nodes() -> list[Any]:
    def share(resource: str) -> str:
        asked = of("kube_pod_container_resource_requests", NODE, resource=resource)
        there = of("kube_node_status_allocatable", NODE, resource=resource)
        return f"sum by (node) ({asked}) / sum by (node) ({there})"

    heard = of("kube_lease_renew_time", 'lease=~"$node"')
    return [
        node_conditions(12, NODE),
        states("Cordoned", "Whether a node gets no new pods.",
               query(f"max by (node) ({of('kube_node_spec_unschedulable', NODE)})", "{{node}}"), texts=("no", "yes"),
               none=NO_NODE, span=12),
        graph("Age of heartbeats", "Seconds since each node renewed its lease. A node whose age passes the grace of "
              "the profile becomes unknown.", query(f"time() - max by (lease) ({heard})", "{{lease}}"), unit="s",
              span=8, none=NO_NODE),
        graph("Pods by node", "Pods bound to each node.", query(f"sum by (node) ({of('kube_pod_info', NODE)})",
                                                                "{{node}}"), span=8, stacked=True, none="no pod"),
        graph("Requested share", "Part of each node's CPU and memory that its pods ask for.",
              query(share("cpu"), "{{node}} CPU"), query(share("memory"), "{{node}} memory"), unit="percentunit",
              span=8, none="no pod asks for CPU or memory"),
    ]


def use() -> list[Any]:
    memory = f"max {BY_CONTAINER} ({of(MEMORY, CONTAINER)})"
    limit = f"max {BY_CONTAINER} ({of('container_spec_memory_limit_bytes', CONTAINER)})"
    return [
        graph("CPU by node", "Cores that the containers of each node use.",
              query(f"sum by (node) ({rate(CPU, CONTAINER)})", "{{node}}"), stacked=True, span=8,
              none=NO_CONTAINER),
        graph("CPU by container", "Cores that each container uses.",
              query(f"sum {BY_CONTAINER} ({rate(CPU, CONTAINER)})", SHOWN), stacked=True, span=8, none=NO_CONTAINER),
        graph("Throttled", "Seconds per second that each container waited because it had used up its CPU limit.",
              query(f"sum {BY_CONTAINER} ({rate('container_cpu_cfs_throttled_seconds_total', CONTAINER)})", SHOWN),
              unit="percentunit", span=8, none=NO_CONTAINER),
        graph("Memory by node", "Working set of each node's containers.",
              query(f"sum by (node) ({of('node_memory_working_set_bytes', NODE)})", "{{node}}"), unit="bytes",
              stacked=True, span=8, none=NO_AGENT),
        graph("Memory by container", "Working set of each container.", query(memory, SHOWN), unit="bytes",
              stacked=True, span=8, none=NO_CONTAINER),
        graph("Memory, as part of the limit", "Working set of each container that has a limit; at 100 % it is killed.",
              query(f"{memory} / ({limit} > 0)", SHOWN), unit="percentunit", span=8,
              none="no container has a memory limit", limit=1),
    ]


def network_and_deaths() -> list[Any]:
    def flow(what: str, way: str) -> str:
        return f"sum by (namespace, pod) ({rate(f'container_network_{way}_{what}_total', POD)})"

    started = of("container_start_time_seconds", CONTAINER)
    return [
        graph("Network", "Bytes per second that each pod receives and sends.",
              query(flow("bytes", "receive"), "{{pod}} received"), query(flow("bytes", "transmit"), "{{pod}} sent"),
              unit="Bps", none=NO_CONTAINER),
        graph("Packets lost", "Packets per second that were dropped at each pod's interface.",
              query(flow("packets_dropped", "receive"), "{{pod}} received"),
              query(flow("packets_dropped", "transmit"), "{{pod}} sent"), unit="pps", none=NO_CONTAINER),
        graph("Restarts by node", "Containers per second that each agent started again.",
              query(f"sum by (node) ({rate('testbed_container_restarts_total', NODE)})", "{{node}}"), unit="ops",
              none=NO_AGENT),
        graph("Age of containers", "Seconds since each container's start: a fall to zero is a restart.",
              query(f"time() - max {BY_CONTAINER} ({started})", SHOWN), unit="s", none=NO_CONTAINER),
    ]


def probes() -> list[Any]:
    duration, none = "testbed_probe_duration_seconds", "no probe has run"
    return [
        graph("Probe time", "Quantile 0.95 of what a probe takes, by kind and result.",
              query(quantile(0.95, duration, NODE, by="probe, result"), "{{probe}} {{result}}"), unit="s", span=8,
              none=none, states=("success", "failure")),
        graph("Probes by result", "Probes per second, by result.",
              query(f"sum by (result) ({rate(f'{duration}_count', NODE)})", "{{result}}"), unit="ops", span=8,
              stacked=True, none=none, states=("success", "failure")),
        graph("Failed probes by node", "Probe failures per second, by node and kind.",
              query(f"sum by (node, probe) ({rate('testbed_probe_failures_total', NODE)})", "{{node}} {{probe}}"),
              unit="ops", span=8, none=NO_AGENT),
    ]
