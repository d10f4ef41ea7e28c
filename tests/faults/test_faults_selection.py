"""Which targets a fault hits."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.durations import seconds
from faults.protocol import Refused
from faults.registry import Registry
from faults.selection import choose, containers_of, matching_nodes, matching_pods

Json = dict[str, Any]


def pod(name: str, namespace: str = "default", node: str = "n1", phase: str = "Running", **labels: str) -> Json:
    return {"metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels,
                         "annotations": {"note": name}},
            "spec": {"nodeName": node, "containers": [{"name": "app"}, {"name": "side"}]}, "status": {"phase": phase}}


NODES = [{"metadata": {"name": "n1", "labels": {"zone": "a"}}}, {"metadata": {"name": "n2", "labels": {"zone": "b"}}}]
PODS = [
    pod("web-1", app="web"), pod("web-2", node="n2", app="web"), pod("db-1", app="db", tier="back"),
    pod("far-1", "other", app="web"), pod("dns", "kube-system", app="web"), pod("done", phase="Succeeded", app="web"),
    pod("new", phase="Pending", app="web", node=""),
]


@pytest.mark.parametrize(("selector", "names"), [
    ({}, ["db-1", "new", "web-1", "web-2"]),
    ({"labelSelectors": {"app": "web"}}, ["new", "web-1", "web-2"]),
    ({"namespaces": ["other"]}, ["far-1"]),
    ({"namespaces": ["default", "other"], "labelSelectors": {"app": "web"}}, ["new", "web-1", "web-2", "far-1"]),
    ({"pods": {"default": ["web-2"], "other": ["far-1"]}}, ["web-2", "far-1"]),
    ({"nodes": ["n2"]}, ["web-2"]),
    ({"nodeSelectors": {"zone": "a"}, "labelSelectors": {"app": "web"}}, ["web-1"]),
    ({"podPhaseSelectors": ["Running"]}, ["db-1", "web-1", "web-2"]),
    ({"fieldSelectors": {"spec.nodeName": "n2"}}, ["web-2"]),
    ({"fieldSelectors": {"metadata.name": "db-1"}}, ["db-1"]),
    ({"annotationSelectors": {"note": "web-1"}}, ["web-1"]),
    ({"expressionSelectors": [{"key": "app", "operator": "In", "values": ["db"]}]}, ["db-1"]),
    ({"expressionSelectors": [{"key": "tier", "operator": "DoesNotExist"}]}, ["new", "web-1", "web-2"]),
    ({"expressionSelectors": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}, ["new", "web-1", "web-2"]),
    ({"expressionSelectors": [{"key": "tier", "operator": "Exists"}]}, ["db-1"]),
    ({"labelSelectors": {"app": "none"}}, []),
])
def test_selectors(selector: Json, names: list[str]) -> None:
    assert [item["metadata"]["name"] for item in matching_pods(selector, "default", PODS, NODES)] == names


@pytest.mark.parametrize("selector", [{"namespaces": ["kube-system"]}, {"pods": {"kube-system": ["dns"]}}])
def test_the_clusters_own_pods_are_refused(selector: Json) -> None:
    with pytest.raises(Refused):
        matching_pods(selector, "default", PODS, NODES)


@pytest.mark.parametrize(("selector", "names"), [
    ({"nodes": ["n1"]}, ["n1"]), ({"nodeSelectors": {"zone": "b"}}, ["n2"]), ({"nodes": ["n9"]}, []), ({}, []),
    ({"labelSelectors": {"app": "db"}}, ["n1"]), ({"labelSelectors": {"app": "web"}}, ["n1", "n2"]),
])
def test_nodes_by_name_or_by_their_pods(selector: Json, names: list[str]) -> None:
    assert matching_nodes(selector, "default", PODS, NODES) == names


@given(total=st.integers(0, 60), percent=st.integers(1, 100), seed=st.integers(0, 99))
def test_modes_choose_as_many_as_they_say(total: int, percent: int, seed: int) -> None:
    candidates = list(range(total))

    def chosen(mode: str, value: str = "") -> list[int]:
        found = choose(candidates, mode, value, random.Random(seed))
        assert found == sorted(set(found)) and set(found) <= set(candidates)
        return found

    assert chosen("all") == candidates
    assert len(chosen("one")) == min(1, total)
    assert len(chosen("fixed", str(percent))) == min(percent, total)
    assert len(chosen("fixed-percent", str(percent))) == total * percent // 100
    assert len(chosen("random-max-percent", str(percent))) <= total * percent // 100
    assert chosen("one") == chosen("one")


@pytest.mark.parametrize(("mode", "value"), [
    ("fixed", ""), ("fixed", "0"), ("fixed", "-1"), ("fixed", "1.5"), ("fixed", "9" * 40), ("fixed-percent", "101"),
    ("fixed-percent", "x"), ("random-max-percent", "٣"), ("some", "1"),
])
def test_wrong_modes_and_values_are_refused(mode: str, value: str) -> None:
    with pytest.raises(Refused):
        choose([1, 2], mode, value, random.Random(1))


def test_containers_by_name_or_all() -> None:
    assert [target.id for target in containers_of(PODS[0], [])] == ["default/web-1/app", "default/web-1/side"]
    assert [target.container for target in containers_of(PODS[0], ["side"])] == ["side"]
    with pytest.raises(Refused, match="its containers: app, side"):
        containers_of(PODS[0], ["sid"])


@pytest.mark.parametrize(("text", "value"), [
    ("20s", 20), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), ("10us", 1e-5), ("3µs", 3e-6), ("0s", 0),
])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@given(st.one_of(st.sampled_from(["", "s", "1", "-1s", "1 s", "1d", "NaN", "1e3s", "inf", "1s;rm", "1s\n"]),
                 st.text(max_size=6).filter(lambda text: not any(unit in text for unit in "smh"))))
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


def test_all_mistakes_of_an_object_at_once() -> None:
    found = Registry().mistakes({"kind": "PodChaos", "spec": {
        "action": "container-kill", "mode": "fixed", "duration": "48h", "remoteCluster": "x"}})
    assert {mistake.field for mistake in found} == {
        "spec.duration", "spec.containerNames", "spec.value", "spec.remoteCluster"}
