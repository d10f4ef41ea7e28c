"""The dashboard Overview: is anything broken now, can Services answer, does it heal, and is the testbed itself well.

Everything in it comes from ``/metrics`` of the API and of the agents. What users met is measured by the pulse and told
in the report of a run: a scrape a second is too coarse for it.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from panels import GOOD_WHEN_FULL, GOOD_WHEN_ZERO, NEUTRAL, graph, number, query, skeleton, states

NS = 'namespace=~"$namespace"'


def overview() -> builders.Dashboard:
    board = skeleton("Testbed / Overview", "testbed-overview",
                     "Faults in force, what they do to Services and workloads, and how the cluster heals.")
    for title, panels in (("Now", now()), ("Faults and Services", services()), ("Workloads", workloads()),
                          ("Nodes", nodes()), ("The testbed itself", ourselves())):
        board = board.with_row(builders.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def now() -> list:
    return [
        number("Faults in force", "Injections that hold at this moment.", "sum(testbed_fault_active{})",
               steps=((None, "green"), (1.0, "orange"))),
        number("Ready replicas", "Ready replicas, as part of those that Deployments ask for.",
               f"sum(kube_deployment_status_replicas_ready{{{NS}}}) / sum(kube_deployment_spec_replicas{{{NS}}})",
               unit="percentunit", steps=GOOD_WHEN_FULL, none="no Deployment"),
        number("Endpoints out of rotation", "Addresses behind Services that get no new request.",
               'sum(testbed_endpoints{state!="ready"})', steps=GOOD_WHEN_ZERO),
        number("Restarts", "Container restarts in the range shown.",
               f"sum(increase(kube_pod_container_status_restarts_total{{{NS}}}[$__range]))", steps=NEUTRAL),
        number("Ready nodes", "Nodes whose condition Ready is true, as part of all nodes.",
               'sum(kube_node_status_condition{condition="Ready", status="true"}) / count(kube_node_info{})',
               unit="percentunit", steps=GOOD_WHEN_FULL, none="no node"),
        number("Injections", "Injections in the range shown.", "sum(increase(testbed_faults_total{}[$__range]))",
               steps=NEUTRAL),
    ]


def services() -> list:
    return [
        states("Fault windows", "Each injection for as long as it holds.", query("testbed_fault_active{}",
               "{{fault}} {{target}}"), texts={"0": ("off", "transparent"), "1": ("in force", "red")}),
        graph("Endpoints by state", "Addresses behind Services: only ready ones get new requests.",
              query("sum by (state) (testbed_endpoints{})", "{{state}}"), stacked=True),
        graph("Failed probes", "Probe failures per second, by kind, as the agents saw them.",
              query("sum by (probe) (rate(testbed_probe_failures_total{}[$__rate_interval]))", "{{probe}}"),
              unit="ops"),
    ]


def workloads() -> list:
    return [
        graph("Replicas ready and asked for", "Lost redundancy is the gap between the two.",
              query(f"sum by (deployment) (kube_deployment_status_replicas_ready{{{NS}}})", "{{deployment}} ready"),
              query(f"sum by (deployment) (kube_deployment_spec_replicas{{{NS}}})", "{{deployment}} asked for")),
        graph("Pods by phase", "All pods, by phase.",
              query(f"sum by (phase) (kube_pod_status_phase{{{NS}}})", "{{phase}}"), stacked=True),
        graph("Restarts over time", "Container restarts per second, by pod.",
              query("sum by (pod, container) "
                    f"(rate(kube_pod_container_status_restarts_total{{{NS}}}[$__rate_interval])) > 0",
                    "{{pod}} {{container}}"), unit="ops"),
        graph("Waiting containers", "Containers that do not run, by reason (CrashLoopBackOff, ContainerCreating, ...).",
              query(f"sum by (reason) (kube_pod_container_status_waiting_reason{{{NS}}})", "{{reason}}")),
    ]


def nodes() -> list:
    return [
        states("Nodes ready", "Condition Ready of each node.",
               query('max by (node) (kube_node_status_condition{condition="Ready", status="true"})', "{{node}}"),
               texts={"0": ("not ready", "red"), "1": ("ready", "green")}),
        graph("CPU by pod", "Cores that containers use.",
              query(f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{NS}}}[$__rate_interval]))", "{{pod}}"),
              unit="short", stacked=True),
        graph("Memory by pod", "Working set of containers.",
              query(f"sum by (pod) (container_memory_working_set_bytes{{{NS}}})", "{{pod}}"),
              unit="bytes", stacked=True),
    ]


def ourselves() -> list:
    reconcile = "sum by (le, controller) (rate(testbed_reconcile_duration_seconds_bucket{}[$__rate_interval]))"
    return [
        graph("Work queues", "Objects that wait for their controller.",
              query("sum by (controller) (testbed_workqueue_depth{})", "{{controller}}")),
        graph("Reconcile time", "Quantile 0.95 of one pass, by controller.",
              query(f"histogram_quantile(0.95, {reconcile})", "{{controller}}"), unit="s"),
    ]
