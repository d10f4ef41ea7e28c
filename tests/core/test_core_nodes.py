"""Unknown is not dead: silence, freezing, taints, evictions, and pods of nodes that are gone."""

from __future__ import annotations

from typing import Any

import pytest
from core_objects import NOON, node, pod
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Node, Taint
from testbed.api.labels import TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, ZONE
from testbed.core import eviction, nodes, podgc
from testbed.core.nodes import Sighting

GRACE_S = 40.0
RATES = nodes.EvictionRates(0.1, 0.01)


def look(
    items: list[Node], seen: dict[str, float], watched_s: float, **more: Any
) -> dict[str, nodes.NodePlan]:
    sightings = {name: Sighting("x", at) for name, at in seen.items()}
    raw = {item.metadata.name: [{"type": each.type, "status": each.status} for each in item.status.conditions]
           for item in items}
    plan = nodes.plan(items, raw, sightings, watched_s, GRACE_S, NOON, rates=RATES, **more)
    return {item.name: item for item in plan.nodes}


def test_silence_counts_only_beyond_the_grace_period() -> None:
    items = [node("n1"), node("n2")]
    assert not look(items, {"n1": 100, "n2": 60}, 100)["n2"].silent
    plan = look(items, {"n1": 100, "n2": 59.9}, 100)["n2"]
    assert plan.silent
    assert plan.pods_not_ready
    assert plan.conditions is not None
    assert {item["status"] for item in plan.conditions} == {"Unknown"}
    assert plan.taints == ({"key": TAINT_UNREACHABLE, "effect": "NoSchedule", "timeAdded": "2026-11-29T12:00:00Z"},)
    assert [note.reason for note in plan.notes] == ["NodeNotReady"]
    evicted = look(items, {"n1": 100, "n2": 59.9}, 100, may_evict=["n2"])["n2"]
    assert evicted.taints is not None
    assert [item["effect"] for item in evicted.taints] == ["NoSchedule", "NoExecute"]


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8), st.floats(0, 2000))
def test_when_all_are_silent_nobody_is_touched(seen: list[float], watched_s: float) -> None:
    """I5."""
    names = [f"n{i}" for i in range(len(seen))]
    plans = look([node(name) for name in names], dict(zip(names, seen, strict=True)), watched_s, may_evict=names)
    if all(plan.silent for plan in plans.values()):
        assert all(plan.taints is None and not plan.pods_not_ready for plan in plans.values())
    else:
        for plan in plans.values():
            assert plan.pods_not_ready == plan.silent


@given(st.lists(st.floats(0.001, 500), max_size=40))
def test_time_in_which_we_did_not_watch_hardly_counts(gaps: list[float]) -> None:
    watched = 0.0
    for gap in gaps:
        watched = nodes.watched_after(watched, gap, 5.0)
    assert watched <= sum(gaps) + 1e-6
    assert watched <= 10.0 * len(gaps)


def test_a_first_look_is_a_sign_of_life() -> None:
    assert nodes.sighted(None, "old lease", 7.0) == Sighting("old lease", 7.0)
    assert nodes.sighted(Sighting("a", 1.0), "a", 7.0) == Sighting("a", 1.0)
    assert nodes.sighted(Sighting("a", 1.0), "b", 7.0) == Sighting("b", 7.0)


def zones(**ready_and_lost: tuple[int, int]) -> tuple[list[Node], set[str]]:
    """Nodes of zones: so many that are ready, so many that are not; and the names of those."""
    items: list[Node] = []
    lost: set[str] = set()
    for zone, (ready, down) in ready_and_lost.items():
        for number in range(ready + down):
            name = f"{zone}-{number}"
            items.append(node(name, labels={ZONE: zone}))
            if number >= ready:
                lost.add(name)
    return items, lost


@pytest.mark.parametrize(("cluster", "rates"), [
    ({"a": (3, 0), "b": (0, 3)}, {"a": 0.1, "b": 0.1}),  # a whole zone is down while another lives
    ({"a": (3, 1), "b": (1, 3)}, {"a": 0.1, "b": 0}),  # most of a small zone
    ({"a": (3, 0), "b": (20, 40)}, {"a": 0.1, "b": 0.01}),  # most of a large one
    ({"a": (3, 0), "b": (1, 2)}, {"a": 0.1, "b": 0.1}),  # two are too few for a disruption
    ({"a": (0, 1), "b": (0, 2)}, {"a": 0, "b": 0}),  # every zone is down: nobody is given up
    ({"a": (0, 1)}, {"a": 0}),
])
def test_each_zone_goes_at_its_own_rate(cluster: dict[str, tuple[int, int]], rates: dict[str, float]) -> None:
    """kubernetes: handleDisruption, ComputeZoneState, ReducedQPSFunc."""
    items, lost = zones(**cluster)
    found, why = nodes.zone_rates(items, lost, RATES)
    assert found == rates
    assert bool(why) == any(rate < 0.1 for rate in rates.values())


@given(st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=3))
def test_no_zone_goes_faster_than_the_normal_rate(cluster: dict[str, tuple[int, int]]) -> None:
    items, lost = zones(**cluster)
    found, _ = nodes.zone_rates(items, lost, RATES)
    assert set(found) == {nodes.zone_of(item) for item in items}
    assert all(0 <= rate <= RATES.normal_per_s for rate in found.values())
    if items and len(lost) == len(items):
        assert not any(found.values())


@pytest.mark.parametrize(("lost", "of", "frozen"), [(2, 3, False), (3, 5, True), (2, 5, False), (5, 10, False),
                                                    (6, 10, True)])
def test_partial_disruption_stops_evictions_but_not_isolation(lost: int, of: int, frozen: bool) -> None:
    names = [f"n{i}" for i in range(of)]
    seen = {name: (0.0 if i < lost else 100.0) for i, name in enumerate(names)}
    plans = look([node(name) for name in names], seen, 100, may_evict=names[:1])
    taints = plans["n0"].taints
    assert taints is not None
    assert ("NoExecute" in [item["effect"] for item in taints]) != frozen
    assert plans["n0"].pods_not_ready


def test_a_node_that_is_ready_again_loses_our_taints_and_keeps_others() -> None:
    taints = [{"key": TAINT_UNREACHABLE, "effect": "NoSchedule"}, {"key": TAINT_UNREACHABLE, "effect": "NoExecute"},
              {"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    plan = look([node("n1", taints=taints)], {"n1": 100}, 100)["n1"]
    assert plan.taints == ({"key": "gpu", "effect": "NoSchedule", "value": "yes"},)


def test_taints_follow_the_condition() -> None:
    def keys(item: Node) -> list[tuple[str, str]]:
        taints = look([item, node("other")], {"n1": 100, "other": 100}, 100)["n1"].taints
        return [(each["key"], each["effect"]) for each in taints or ()]

    assert keys(node("n1", ready="False")) == [(TAINT_NOT_READY, "NoSchedule")]
    assert keys(node("n1", ready=None)) == [(TAINT_NOT_READY, "NoSchedule")]
    assert keys(node("n1", unschedulable=True)) == [(TAINT_UNSCHEDULABLE, "NoSchedule")]
    assert keys(node("n1")) == []


def test_a_node_that_says_itself_that_it_is_not_ready_takes_its_pods_out_once() -> None:
    items = [node("n1", ready="False"), node("n2")]
    assert look(items, {"n1": 100, "n2": 100}, 100, was_ready=["n1"])["n1"].pods_not_ready
    assert not look(items, {"n1": 100, "n2": 100}, 100)["n1"].pods_not_ready


# --- eviction

UNREACHABLE = Taint(key=TAINT_UNREACHABLE, effect="NoExecute")
GPU = Taint(key="gpu", value="yes", effect="NoExecute")


def tolerating(*tolerations: dict[str, Any]) -> Any:
    return pod(spec={"tolerations": list(tolerations)})


@pytest.mark.parametrize(("tolerations", "taints", "due_s"), [
    ([], [], None),
    ([], [UNREACHABLE], 10.0),
    ([{"key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
     [UNREACHABLE], 15.0),
    ([{"operator": "Exists"}], [UNREACHABLE, GPU], None),
    ([{"key": TAINT_UNREACHABLE, "operator": "Exists", "tolerationSeconds": 5}], [UNREACHABLE, GPU], 10.0),
    ([{"key": TAINT_UNREACHABLE, "operator": "Exists", "tolerationSeconds": 9},
      {"key": "gpu", "value": "yes", "tolerationSeconds": 4}], [UNREACHABLE, GPU], 14.0),
    ([{"key": "gpu", "value": "no"}], [GPU], 10.0),
    ([{"key": TAINT_UNREACHABLE, "operator": "Exists", "tolerationSeconds": -3}], [UNREACHABLE], 10.0),
    ([], [Taint(key="a", effect="NoSchedule")], None),
])
def test_when_a_pod_must_leave(tolerations: list[dict[str, Any]], taints: list[Taint], due_s: float | None) -> None:
    assert eviction.plan(tolerating(*tolerations), taints, None, 10.0).due_s == due_s


def test_the_clock_of_an_eviction_runs_from_the_first_sight_and_stops_with_the_taint() -> None:
    patient = tolerating({"operator": "Exists", "tolerationSeconds": 5})
    assert eviction.plan(patient, [UNREACHABLE], 10.0, 14.0).due_s == 15.0
    assert eviction.plan(patient, [], 10.0, 14.0).since_s is None


# --- pods of nodes that are gone


def test_pods_of_a_gone_node_are_collected_after_quarantine() -> None:
    here, there = pod("here", node="n1"), pod("there", node="n9")
    known = {"n1": node("n1")}
    assert podgc.missing_nodes([here, there], known) == ("n9",)
    assert podgc.plan([here, there], known, {"n9": 10.0}, 49.0, 40.0) == ()
    [collected] = podgc.plan([here, there], known, {"n9": 10.0}, 50.0, 40.0)
    assert (collected.pod, collected.fail) == (there, True)


def test_terminating_unscheduled_and_too_many_ended_pods_are_collected() -> None:
    unscheduled = pod("u", node="", deleting=True)
    ended = [pod(f"e{i}", phase="Succeeded", age_s=1000 - i) for i in range(4)]
    plan = podgc.plan([unscheduled, *ended], {"n1": node()}, {}, 0, 40, threshold=2)
    assert [item.pod.metadata.name for item in plan] == ["u", "e0", "e1"]
