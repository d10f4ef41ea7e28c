"""On which nodes a DaemonSet has a pod, and what such a pod tolerates and is bound by.

Source: kubernetes pkg/controller/daemon/daemon_controller.go NodeShouldRunDaemonPod, util/daemonset_util.go
AddOrUpdateDaemonPodTolerations, ReplaceDaemonSetPodNodeNameNodeAffinity.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.api.core_v1 import Node, Pod, PodSpec, Toleration
from testbed.api.labels import TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE
from testbed.core.node_affinity import selects
from testbed.core.tolerations import first_intolerable

_NODE = "node.kubernetes.io/"
_TOLERATED = (
    (TAINT_NOT_READY, "NoExecute"), (TAINT_UNREACHABLE, "NoExecute"), (f"{_NODE}disk-pressure", "NoSchedule"),
    (f"{_NODE}memory-pressure", "NoSchedule"), (f"{_NODE}pid-pressure", "NoSchedule"),
    (TAINT_UNSCHEDULABLE, "NoSchedule"),
)
_OF_HOST_NETWORK = (f"{_NODE}network-unavailable", "NoSchedule")


@dataclass(frozen=True)
class Eligibility:
    """``run``: a new pod belongs there. ``stay``: one that is there already may go on."""

    run: bool
    stay: bool


def tolerations(host_network: bool) -> tuple[tuple[str, str], ...]:
    """(key, effect) of the taints that every daemon pod tolerates for ever."""
    return (*_TOLERATED, _OF_HOST_NETWORK) if host_network else _TOLERATED


def eligibility(template: PodSpec, node: Node) -> Eligibility:
    """A pod that a new NoSchedule taint would keep out stays; one that no longer matches, or NoExecute, goes."""
    if template.node_name not in ("", node.metadata.name) or not selects(template, node):
        return Eligibility(False, False)
    own = (*template.tolerations, *(
        Toleration(key=key, operator="Exists", effect=effect) for key, effect in tolerations(template.host_network)
    ))
    if first_intolerable(node.spec.taints, own, ("NoSchedule", "NoExecute")) is None:
        return Eligibility(True, True)
    return Eligibility(False, first_intolerable(node.spec.taints, own, ("NoExecute",)) is None)


def target_node(pod: Pod) -> str:
    """The node a daemon pod is on or is meant for, empty when it says none."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    for term in required.node_selector_terms if required is not None else ():
        for item in term.match_fields:
            if item.key == "metadata.name" and item.operator == "In" and len(item.values) == 1:
                return item.values[0]
    return ""
