"""Which node: filters, scores, and the words of a refusal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from core_objects import node, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Node, Pod
from testbed.api.meta import LabelSelector
from testbed.core import scheduling
from testbed.core.quantities import pod_requests
from testbed.core.scheduling_state import ClusterState

NODES = [node("n1"), node("n2"), node("n3")]
WEB = LabelSelector(match_labels={"app": "web"})
NO_VICTIMS = "preemption: 0/{0} nodes are available: {0} No preemption victims found for incoming pod."
NOT_HELPFUL = "preemption: 0/{0} nodes are available: {0} Preemption is not helpful for scheduling."


def plan(new: Pod, nodes: list[Node], placed: list[Pod], **more: Any) -> scheduling.SchedulePlan:
    cluster = ClusterState(nodes, placed)
    cluster.namespaces["team"] = {"kind": "team"}
    return scheduling.plan(new, cluster, spread_by=WEB, **more)


def affinity(*requirements: dict[str, Any]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{"matchExpressions": list(requirements)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize(("spec", "nodes", "message"), [
    ({}, [], "no nodes available to schedule pods"),
    ({}, [node("n1", unschedulable=True)],
     f"0/1 nodes are available: 1 node(s) were unschedulable. {NOT_HELPFUL.format(1)}"),
    ({}, [node("n1", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])],
     "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}. " + NOT_HELPFUL.format(1)),
    ({"nodeSelector": {"disk": "ssd"}}, NODES,
     f"0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. {NOT_HELPFUL.format(3)}"),
    (affinity({"key": "disk", "operator": "In", "values": ["ssd"]}), NODES[:1],
     f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {NOT_HELPFUL.format(1)}"),
    ({"containers": [{"name": "a", "resources": {"requests": {"cpu": "3", "memory": "8Gi"}}}]}, NODES[:2],
     f"0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. {NOT_HELPFUL.format(2)}"),
    ({}, [node("n1", pods="0")], f"0/1 nodes are available: 1 Too many pods. {NO_VICTIMS.format(1)}"),
    ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]},
     NODES[:1], "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required "
                f"label). {NOT_HELPFUL.format(1)}"),
    ({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}]}}}, NODES[:1],
     f"0/1 nodes are available: 1 node(s) didn't match pod affinity rules. {NOT_HELPFUL.format(1)}"),
    ({"preemptionPolicy": "Never"}, [node("n1", pods="0")],
     "0/1 nodes are available: 1 Too many pods. preemption: not eligible due to preemptionPolicy=Never."),
])
def test_refusals(spec: dict[str, Any], nodes: list[Node], message: str) -> None:
    found = plan(pod("new", node="", spec=spec), nodes, [])
    assert (found.candidates, found.message, found.preemption) == ((), message, None)


@pytest.mark.parametrize("spec", [
    {"nodeSelector": {"disk": "ssd"}},
    affinity({"key": "disk", "operator": "Exists"}, {"key": "size", "operator": "Gt", "values": ["10"]}),
    {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}}},
])
def test_the_one_that_matches(spec: dict[str, Any]) -> None:
    nodes = [node("n1"), node("n2", labels={"disk": "ssd", "size": "20"})]
    assert plan(pod("new", node="", spec=spec), nodes, []).candidates == ("n2",)


def test_replicas_spread_and_terminating_ones_do_not_count() -> None:
    placed = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n3", deleting=True)]
    assert plan(pod("new", node=""), NODES, placed).candidates == ("n3",)


def test_equally_good_nodes_are_all_candidates() -> None:
    assert plan(pod("new", node=""), NODES, []).candidates == ("n1", "n2", "n3")


def test_a_host_port_is_taken_once_per_node() -> None:
    ports: dict[str, Any] = {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
    placed = [pod("a", node="n1", spec=ports)]
    assert set(plan(pod("new", node="", spec=ports), NODES, placed).candidates) <= {"n2", "n3"}


@given(st.integers(1, 12))
def test_any_number_of_replicas_is_spread_evenly(replicas: int) -> None:
    placed = []
    for number in range(replicas):
        new = pod(f"p{number}", node="", requests={"cpu": "100m"})
        [chosen, *_] = plan(new, NODES, placed).candidates
        placed.append(pod(f"p{number}", node=chosen, requests={"cpu": "100m"}))
    counts = [sum(item.spec.node_name == each.metadata.name for item in placed) for each in NODES]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.integers(0, 2500), min_size=1, max_size=30))
def test_a_node_is_never_given_more_than_it_has(requests: list[int]) -> None:
    placed = []
    for number, milli in enumerate(requests):
        new = pod(f"p{number}", node="", owner=f"o{number}", requests={"cpu": f"{milli}m"})
        candidates = plan(new, NODES, placed).candidates
        if candidates:
            placed.append(pod(f"p{number}", node=candidates[0], requests={"cpu": f"{milli}m"}))
    for each in NODES:
        used = sum((pod_requests(item).get("cpu", Decimal(0)) for item in placed
                    if item.spec.node_name == each.metadata.name), Decimal(0))
        assert used <= 2


def test_requests_of_init_containers_and_sidecars() -> None:
    """kubernetes: PodRequests."""
    def needs(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": cpu, "resources": {"requests": {"cpu": cpu}}, **more}

    busy = pod(spec={"containers": [needs("1"), needs("2")],
                     "initContainers": [needs("500m", restartPolicy="Always"), needs("5")]})
    assert pod_requests(busy)["cpu"] == Decimal("5.5")
    limited = pod(spec={"containers": [{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}]})
    assert pod_requests(limited)["memory"] == 1024**3
