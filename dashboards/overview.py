"""The dashboard Overview: is anything broken now, which workload and Service is hurt, and does it heal.

What a run measured is the dashboard Experiment's, and the report's: a look a second is too coarse for a verdict.
"""

from __future__ import annotations

from typing import Any

from boards import board, to_board
from grafana_foundation_sdk.models import dashboard
from panels import (
    GOOD_WHEN_FULL,
    GOOD_WHEN_ZERO,
    NO_COLOUR,
    RUNBOOKS,
    WORTH_A_LOOK,
    alerted,
    graph,
    listing,
    number,
    states,
)
from queries import (
    ASKED_FOR,
    NAMESPACE,
    READY,
    UPDATED,
    by_service,
    firing,
    increase,
    of,
    query,
    restarts_by_workload,
    workloads,
)
from shared import endpoints_by_state, failed_probes, node_conditions, ready_nodes, requests_by_outcome, restarts

NO_WORKLOAD = "no workload asks for replicas"


def overview() -> dashboard.Dashboard:
    return board(
        "testbed-overview", "Overview", "Health of every workload, Service and node at a glance, what is being broken "
        "now, and how the cluster heals.", ("namespace",),
        (("Now", now()), ("Workloads", of_workloads()), ("Services", services()), ("Healing", healing()),
         ("Nodes and alerts", nodes_and_alerts())))


def now() -> list[Any]:
    experiment = to_board("testbed-experiment", "Experiment")
    return [
        number("Experiments running", "Runs that are under way.", f"sum({of('testbed_experiment_running')})",
               steps=NO_COLOUR, link=experiment),
        number("Faults in force", "Injections that hold at this moment.", f"sum({of('testbed_fault_active')})",
               steps=WORTH_A_LOOK, link=experiment),
        number("Alerts firing", f"Alerts of the testbed's rules; what to do then is in {RUNBOOKS}.",
               f"sum({firing()})", steps=GOOD_WHEN_ZERO),
        number("Ready replicas", "Ready replicas of all workloads, as part of those asked for.",
               f"sum({of(READY, NAMESPACE)}) / sum({of(ASKED_FOR, NAMESPACE)})", unit="percentunit",
               steps=GOOD_WHEN_FULL, none=NO_WORKLOAD,
               link=to_board("testbed-rollouts", "Rollouts", "${namespace:queryparam}")),
        ready_nodes(link=to_board("testbed-nodes", "Nodes and containers")),
        number("Restarts", "Container restarts within the time shown.",
               f"sum({increase('kube_pod_container_status_restarts_total', NAMESPACE)})",
               steps=WORTH_A_LOOK, whole_range=True),
    ]


def of_workloads() -> list[Any]:
    ready, asked_for = workloads(READY), f"({workloads(ASKED_FOR)} > 0)"
    return [
        states("Health of workloads", alerted(
            "Whether all, some or none of the replicas asked for are ready. Workloads scaled to zero are left out.",
            "DeploymentDown", "KubeDeploymentReplicasMismatch", "KubeStatefulSetReplicasMismatch"),
               query(f"({ready} >= bool {asked_for}) + ({ready} > bool 0)", "{{namespace}} {{workload}}"),
               texts=("none ready", "some ready", "all ready"), none=NO_WORKLOAD, height=8),
        listing("All workloads", "Deployments, StatefulSets and DaemonSets. Restarts are those of the time shown, of "
                "pods that are there now.", {
                    "Asked for": (workloads(ASKED_FOR), "short", None),
                    "Ready": (ready, "short", None),
                    "Updated": (workloads(UPDATED), "short", None),
                    "Ready share": (f"{ready} / {asked_for}", "percentunit", GOOD_WHEN_FULL),
                    "Restarts": (restarts_by_workload(), "short", WORTH_A_LOOK),
                }, {"namespace": "Namespace", "workload": "Workload"}, none="no workload"),
    ]


def services() -> list[Any]:
    answering, known = by_service("kube_endpointslice_endpoints", ready="true"), by_service("kube_endpointslice_info")
    return [
        states("Services that can answer", alerted("Whether a Service has at least one ready endpoint.",
                                                   "ServiceWithoutEndpoints"),
               query(f"({answering} or 0 * {known}) > bool 0", "{{namespace}} {{service}}"),
               texts=("no ready endpoint", "answers"), none="no Service"),
        endpoints_by_state(8), requests_by_outcome(8), failed_probes(8),
    ]


def healing() -> list[Any]:
    return [
        restarts(8),
        graph("Waiting containers", alerted(
            "Containers that do not run, by reason: CrashLoopBackOff, ContainerCreating, ...", "KubePodCrashLooping"),
              query(f"sum by (reason) ({of('kube_pod_container_status_waiting_reason', NAMESPACE)})", "{{reason}}"),
              span=8, none="no container waits"),
        graph("Pods by phase", "All pods, by phase.",
              query(f"sum by (phase) ({of('kube_pod_status_phase', NAMESPACE)})", "{{phase}}"), stacked=True, span=8,
              none="no pod", states=("Running", "Pending", "Succeeded", "Failed", "Unknown")),
    ]


def nodes_and_alerts() -> list[Any]:
    return [
        node_conditions(12),
        states("Alerts", "Each alert for as long as it fires. Needs the testbed's alerting rules.",
               query(f"max by (alertname, namespace, deployment, node) ({firing()})",
                     "{{alertname}} {{namespace}} {{deployment}}{{node}}"),
               texts=("off", "firing"), none="no alert has fired", span=12),
    ]
