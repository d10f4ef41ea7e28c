"""Where pods lie beside each other: affinity, spread, room being made. SC-02, SC-03, SC-07, and what is left open."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import node, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Node, Pod
from testbed.api.meta import LabelSelector
from testbed.core import scheduling
from testbed.core.scheduling_state import ClusterState

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NODES = [node("n1", labels={ZONE: "a"}), node("n2", labels={ZONE: "a"}), node("n3", labels={ZONE: "b"})]


def term(app: str = "web", key: str = HOST, **more: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {"podAffinity": {REQUIRED: list(terms)}}}


def far(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {"podAntiAffinity": {REQUIRED: list(terms)}}}


def preferred(kind: str, weight: int, app: str, key: str = HOST) -> dict[str, Any]:
    return {"affinity": {kind: {PREFERRED: [{"weight": weight, "podAffinityTerm": term(app, key)}]}}}


def spread(key: str = HOST, skew: int = 1, when: str = "DoNotSchedule", **more: Any) -> dict[str, Any]:
    return {"topologySpreadConstraints": [{
        "maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}, **more}]}


def candidates(spec: dict[str, Any], placed: list[Pod], nodes: list[Node] | None = None, **more: Any) -> set[str]:
    cluster = ClusterState(nodes or NODES, placed)
    cluster.namespaces = {"team": {"kind": "team"}, "default": {}}
    return set(scheduling.plan(pod("new", node="", spec=spec, **more), cluster).candidates)


WEB_ON_1 = [pod("a", node="n1")]
DB = [pod("db", node="n1", labels={"app": "db"})]


@pytest.mark.parametrize(("spec", "placed", "where"), [
    (far(term()), WEB_ON_1, {"n2", "n3"}),  # SC-07
    (far(term(key=ZONE)), WEB_ON_1, {"n3"}),
    (far(term(), term("db", ZONE)), [*WEB_ON_1, pod("db", node="n3", labels={"app": "db"})], {"n2"}),
    (near(term("db")), DB, {"n1"}),
    (near(term("db", ZONE)), [*DB, pod("x", node="n1")], {"n2"}),  # of n1 and n2, the emptier one
    (near(term("db"), term("web")), [*DB, *WEB_ON_1], set()),  # one pod must match all terms
    (near(term("web")), [], {"n1", "n2", "n3"}),  # the first of a group that wants to be together
    (near(term("db", namespaces=["team"])), DB, set()),
    (near(term("db", namespaceSelector={})), DB, {"n1"}),
    (near(term("db", namespaceSelector={"matchLabels": {"kind": "team"}})), DB, set()),
    (near({"topologyKey": HOST}), DB, set()),  # no selector matches no pod
    (near(term("db", "rack")), DB, set()),
    (far(term("web", matchLabelKeys=["color"])), WEB_ON_1, {"n2", "n3"}),
    (preferred("podAffinity", 50, "db"), DB, {"n1"}),
    (preferred("podAntiAffinity", 50, "db", ZONE), DB, {"n3"}),
    (spread(), [*WEB_ON_1, pod("b", node="n2")], {"n3"}),  # SC-03
    (spread(ZONE), [*WEB_ON_1, pod("b", node="n2")], {"n3"}),
    (spread(ZONE, 3), [*WEB_ON_1, pod("b", node="n2")], {"n3"}),
    (spread(ZONE, 1, minDomains=3), WEB_ON_1, {"n3"}),
    (spread(ZONE, 1, minDomains=3), [*WEB_ON_1, pod("b", node="n3")], set()),
    (spread("rack"), [], set()),
    (spread(HOST, 1, "ScheduleAnyway"), [*WEB_ON_1, pod("b", node="n2"), pod("c", node="n3", deleting=True)], {"n3"}),
    ({"affinity": {"nodeAffinity": {PREFERRED: [
        {"weight": 10, "preference": {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["b"]}]}},
        {"weight": 1, "preference": {}}]}}}, [], {"n3"}),  # SC-02; an empty preference selects nothing
])
def test_where_a_pod_goes(spec: dict[str, Any], placed: list[Pod], where: set[str]) -> None:
    assert candidates(spec, placed) == where


@pytest.mark.parametrize(("theirs", "where"), [
    (far(term()), {"n2", "n3"}),  # those who are there keep others away
    (preferred("podAntiAffinity", 100, "web", ZONE), {"n3"}),
    (preferred("podAffinity", 100, "web"), {"n1"}),
    (near(term()), {"n1"}),  # a hard wish of those who are there is a soft one for others
])
def test_wishes_of_pods_that_are_there(theirs: dict[str, Any], where: set[str]) -> None:
    assert candidates({}, [pod("db", node="n1", labels={"app": "db"}, spec=theirs)]) == where


def test_taints_of_a_node_take_its_domain_out_of_the_spread_only_when_asked() -> None:
    taint = {"key": "gone", "effect": "NoSchedule"}
    nodes = [node("n1"), node("n2", taints=[taint])]
    assert candidates(spread(), WEB_ON_1, nodes) == set()
    assert candidates(spread(nodeTaintsPolicy="Honor"), WEB_ON_1, nodes) == {"n1"}


def test_by_default_replicas_spread_over_zones_too() -> None:
    placed = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n3")]
    cluster = ClusterState([*NODES, node("n4", labels={ZONE: "b"})], placed)
    web = LabelSelector(match_labels={"app": "web"})
    assert scheduling.plan(pod("new", node=""), cluster, spread_by=web).candidates == ("n4",)


def test_room_that_is_made_for_one_is_not_taken_by_a_lesser_one() -> None:
    cluster = ClusterState([node("n1", cpu="1")])
    important = pod("important", node="", spec={"priority": 100}, requests={"cpu": "800m"})
    cluster.nominate(important, "n1")
    lesser = pod("lesser", node="", requests={"cpu": "800m"})
    assert scheduling.plan(lesser, cluster).message.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert scheduling.plan(important, cluster).candidates == ("n1",)
    greater = pod("greater", node="", spec={"priority": 200}, requests={"cpu": "800m"})
    assert scheduling.plan(greater, cluster).candidates == ("n1",)


@given(st.lists(st.sampled_from(["n1", "n2", "n3"]), max_size=12), st.integers(1, 3))
def test_a_hard_spread_never_makes_more_than_its_skew(start: list[str], skew: int) -> None:
    """SC-03, for any start: a pod is placed only so that its node is at most ``skew`` above the emptiest."""
    placed = [pod(f"s{index}", node=name) for index, name in enumerate(start)]
    for number in range(6):
        chosen = scheduling.plan(pod(f"p{number}", node="", spec=spread(skew=skew)), ClusterState(NODES, placed))
        assert chosen.candidates, "the emptiest node is always allowed"
        placed.append(pod(f"p{number}", node=chosen.candidates[0]))
        counts = {each.metadata.name: sum(item.spec.node_name == each.metadata.name for item in placed)
                  for each in NODES}
        assert counts[chosen.candidates[0]] - min(counts.values()) <= skew
