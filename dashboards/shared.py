"""Panels that more than one dashboard has."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from panels import GOOD_WHEN_FULL, alerted, graph, number, states
from queries import ASKED_FOR, NAMESPACE, READY, of, query, rate, workloads

OUTCOMES = ("ok", "late", "failed", "unsent")
NO_LOAD = "no experiment with a pulse has run yet: testbed run"
NO_AGENT = "no agent is scraped"
NO_NODE = "no node"
NO_CONTAINER = "no container runs"


def endpoints_by_state(span: int) -> timeseries.Panel:
    return graph("Endpoints by state", "Addresses behind all Services: only ready ones get new requests.",
                 query(f"sum by (state) ({of('testbed_endpoints')})", "{{state}}"), stacked=True, span=span,
                 none="no Service", states=("ready", "unready", "terminating"))


def requests_by_outcome(span: int, *matchers: str) -> timeseries.Panel:
    return graph("Requests by outcome", "Requests of experiments per second: answered well, late, failed, or not sent "
                 "because too many were open.",
                 query(f"sum by (outcome) ({rate('testbed_requests_total', *matchers)})", "{{outcome}}"), unit="reqps",
                 stacked=True, span=span, none=NO_LOAD, states=OUTCOMES)


def failed_probes(span: int) -> timeseries.Panel:
    return graph("Failed probes", "Probe failures per second, by kind, as the agents saw them.",
                 query(f"sum by (probe) ({rate('testbed_probe_failures_total')})", "{{probe}}"), unit="ops", span=span,
                 none=NO_AGENT)


def restarts(span: int) -> timeseries.Panel:
    return graph("Restarts by pod", "Container restarts per second.",
                 query("sum by (namespace, pod) "
                       f"({rate('kube_pod_container_status_restarts_total', NAMESPACE)})", "{{namespace}} {{pod}}"),
                 unit="ops", span=span, none="no container")


def replicas(span: int) -> timeseries.Panel:
    return graph("Replicas ready and asked for", "Of every workload; lost redundancy is the gap between the two.",
                 query(workloads(READY), "{{namespace}} {{workload}} ready"),
                 query(workloads(ASKED_FOR), "{{namespace}} {{workload}} asked for"), span=span,
                 none="no workload", states=("asked for",))


def ready_nodes(*matchers: str, link: builders.DashboardLink | None = None) -> stat.Panel:
    ready = of("kube_node_status_condition", *matchers, condition="Ready", status="true")
    return number("Ready nodes", "Nodes whose condition Ready is true, as part of all nodes.",
                  f"sum({ready}) / count({of('kube_node_info', *matchers)})", unit="percentunit", steps=GOOD_WHEN_FULL,
                  none=NO_NODE, link=link)


def node_conditions(span: int, *matchers: str) -> statetimeline.Panel:
    def condition(status: str) -> str:
        selector = of("kube_node_status_condition", *matchers, condition="Ready", status=status)
        return f"max by (node) ({selector})"

    return states("Condition of nodes", alerted("Ready of each node: unknown means that nothing is heard of it.",
                                               "KubeNodeNotReady"),
                  query(f"{condition('true')} + 2 * {condition('unknown')}", "{{node}}"),
                  texts=("not ready", "ready", "unknown"), none=NO_NODE, span=span)
