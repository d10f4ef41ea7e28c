"""How many replicas an autoscaler wants: numbers of HP-01 to HP-10, and the rules for pods it knows little of."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from core_objects import NOON, ago
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.autoscaling_v2 import Autoscaler
from testbed.api.core_v1 import Pod
from testbed.core import autoscaling, promql
from testbed.core.autoscaling import Measured, Memory, ScalePlan
from testbed.core.named_metrics import Reading
from testbed.core.pod_metrics import PodUsage


def scaler(target: int = 50, low: int = 1, high: int = 10, metrics: list[Any] | None = None, **spec: Any) -> Autoscaler:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": target}}}
    return Autoscaler.of({"metadata": {"name": "web", "uid": "h"}, "spec": {
        "minReplicas": low, "maxReplicas": high, "metrics": metrics or [cpu], **spec}})


def rules(up: dict[str, Any] | None = None, down: dict[str, Any] | None = None) -> dict[str, Any]:
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    return {"behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15},
                                                                  percent], **(up or {})},
        "scaleDown": {"policies": [percent], **(down or {})}}}


def pod(name: str, *, phase: str = "Running", ready: str = "True", changed_s: float = 400, started_s: float = 1000,
        deleting: bool = False, request: str | None = "100m", sidecar: str | None = None) -> Pod:
    containers = [{"name": "app", "resources": {"requests": {"cpu": request} if request else {}}}]
    if sidecar:
        containers.append({"name": "side", "resources": {"requests": {"cpu": sidecar}}})
    return Pod.of({
        "metadata": {"name": name, **({"deletionTimestamp": ago(0)} if deleting else {})},
        "spec": {"containers": containers},
        "status": {"phase": phase, "startTime": ago(started_s), "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": ago(changed_s)}]}})


def uses(milli: int, side: int | None = None) -> PodUsage:
    used = {"app": {"cpu": Decimal(milli) / 1000, "memory": Decimal(milli * 2**20)}}
    if side is not None:
        used["side"] = {"cpu": Decimal(side) / 1000, "memory": Decimal(0)}
    return PodUsage(NOON, 1.0, used)


def plan(item: Autoscaler, pods: list[Pod], usages: dict[str, PodUsage], *, current: int | None = None,
         memory: Memory = Memory(((-10_000.0, 0),)), now_s: float = 0.0,  # noqa: B008
         readings: tuple[Reading | None, ...] | None = None) -> ScalePlan:
    measured = Measured(usages, readings or (None,) * len(item.spec.metrics), len(pods))
    return autoscaling.plan(item, len(pods) if current is None else current, pods, measured, memory, NOON, now_s)


def group(*milli: int) -> tuple[list[Pod], dict[str, PodUsage]]:
    pods = [pod(f"p{index}") for index in range(len(milli))]
    return pods, {f"p{index}": uses(amount) for index, amount in enumerate(milli)}


@pytest.mark.parametrize(("target", "used", "wanted"), [
    (50, (100,), 2), (50, (50,), 1), (50, (54, 55), 2), (50, (56, 55), 3),  # within 10 % nothing changes
    (50, (40, 40), 2), (50, (20, 20), 1), (80, (10, 10, 10, 10), 1), (20, (100,), 4),  # 5, but at most 4 at once
])
def test_desired_is_the_ratio_times_the_ready_pods(target: int, used: tuple[int, ...], wanted: int) -> None:
    assert plan(scaler(target), *group(*used)).replicas == wanted


@pytest.mark.parametrize(("pods", "usages", "wanted"), [
    # a pod without a measurement: nothing on the way up, all of its request on the way down
    ([pod("a"), pod("b")], {"a": uses(100)}, 2),
    ([pod("a"), pod("b")], {"a": uses(150)}, 3),
    ([pod("a"), pod("b"), pod("c")], {"a": uses(10), "b": uses(10)}, 3),
    # one that is starting: nothing on the way up, left out on the way down
    ([pod("a"), pod("b", phase="Pending")], {"a": uses(100)}, 2),
    ([pod("a"), pod("b", phase="Pending")], {"a": uses(200)}, 4),
    ([pod("a"), pod("b", ready="False", changed_s=20, started_s=20)], {"a": uses(200), "b": uses(900)}, 4),
    ([pod("a"), pod("b", ready="True", changed_s=0, started_s=20)], {"a": uses(100), "b": uses(900)}, 2),
    # unready for long, but it was ready once: it counts
    ([pod("a"), pod("b", ready="False", changed_s=100, started_s=1000)], {"a": uses(100), "b": uses(100)}, 4),
    # never was: it does not
    ([pod("a"), pod("b", ready="False", changed_s=990, started_s=1000)], {"a": uses(20), "b": uses(900)}, 1),
    # what ends counts for nothing
    ([pod("a"), pod("b", deleting=True), pod("c", phase="Failed")], {"a": uses(100), "b": uses(900)}, 2),
])
def test_pods_that_are_unready_or_not_measured(pods: list[Pod], usages: dict[str, PodUsage], wanted: int) -> None:
    alive = sum(not item.metadata.deleting and item.status.phase != "Failed" for item in pods)
    assert plan(scaler(50), pods, usages, current=alive).replicas == wanted


def test_memory_and_raw_values() -> None:
    raw = [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue",
                                                                          "averageValue": "100Mi"}}}]
    found = plan(scaler(metrics=raw), *group(150, 150))
    assert found.replicas == 3
    assert found.metrics[0]["resource"]["current"] == {"averageValue": "150Mi"}


def test_hp_04_a_busy_sidecar_does_not_count_for_its_container() -> None:
    app = [{"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "app", "target": {"averageUtilization": 50}}}]
    pods = [pod("a", sidecar="100m")]
    assert plan(scaler(metrics=app), pods, {"a": uses(50, side=900)}).replicas == 1
    assert plan(scaler(metrics=app), pods, {"a": uses(150, side=0)}).replicas == 3
    assert plan(scaler(), pods, {"a": uses(50, side=150)}).replicas == 2


def test_several_metrics_the_largest_and_only_up_when_one_fails() -> None:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "50Mi"}}}
    foreign = {"type": "Pods", "pods": {}}
    pods, usages = group(100, 100)
    assert plan(scaler(metrics=[cpu, memory]), pods, usages).replicas == 4
    unread = (Reading(failed="silence"), None)
    assert plan(scaler(metrics=[foreign, memory]), pods, usages, readings=unread).replicas == 4
    held = plan(scaler(metrics=[foreign, cpu]), *group(10, 10), readings=unread)
    assert held.replicas == 2 and held.conditions["ScalingActive"][:2] == ("False", "FailedGetPodsMetric")


def test_a_request_that_is_missing_is_an_error() -> None:
    found = plan(scaler(), [pod("a", request=None)], {"a": uses(10)})
    assert found.conditions["ScalingActive"][1] == "FailedGetResourceMetric"
    assert "missing request for cpu in container app of Pod a" in found.failed


@pytest.mark.parametrize(("current", "low", "high", "wanted", "reason"), [
    (12, 1, 10, 10, "Current number of replicas above Spec.MaxReplicas"),
    (1, 3, 10, 3, "Current number of replicas below Spec.MinReplicas"), (0, 1, 10, 0, ""),
])
def test_outside_of_the_bounds(current: int, low: int, high: int, wanted: int, reason: str) -> None:
    found = plan(scaler(low=low, high=high), [], {}, current=current)
    assert (found.replicas, found.reason) == (wanted, reason)
    if current == 0:
        assert found.conditions["ScalingActive"][1] == "ScalingDisabled"


def test_the_highest_recommendation_of_five_minutes_holds_without_behavior() -> None:
    memory = Memory(((-290.0, 5), (-10.0, 1)))
    found = plan(scaler(), *group(*[10] * 5), memory=memory)
    assert found.replicas == 5 and found.conditions["AbleToScale"][1] == "ScaleDownStabilized"
    assert plan(scaler(), *group(*[10] * 5), memory=Memory(((-301.0, 5),))).replicas == 1


def test_hp_06_up_only_to_the_lowest_recommendation_of_the_window() -> None:
    item = scaler(**rules(up={"stabilizationWindowSeconds": 180}))
    found = plan(item, *group(150), memory=Memory(((-170.0, 1),)))
    assert found.replicas == 1 and found.conditions["AbleToScale"][1] == "ScaleUpStabilized"
    assert plan(item, *group(150), memory=Memory(((-181.0, 1),))).replicas == 3


@pytest.mark.parametrize(("up", "used", "scalings", "wanted"), [
    ({}, [500], (), 5),  # the larger of +4 and +100 %
    ({"selectPolicy": "Min"}, [500], (), 2), ({"selectPolicy": "Disabled"}, [500], (), 1),  # HP-07
    ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}, [500], (), 2),  # HP-08
    ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}, [500, 500], ((-59.0, 1),), 2),
    ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}, [500, 500], ((-61.0, 1),), 3),
    ({"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}, [500], (), 2),  # rounds up
])
def test_rates_up(up: dict[str, Any], used: list[int], scalings: Any, wanted: int) -> None:
    pods, usages = group(*used)
    found = plan(scaler(**rules(up=up)), pods, usages, memory=Memory(((-1000.0, 1),), scalings))
    assert found.replicas == wanted


@pytest.mark.parametrize(("down", "scalings", "wanted"), [
    ({"stabilizationWindowSeconds": 0}, (), 1), ({"selectPolicy": "Disabled"}, (), 5),  # HP-07
    ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}, (), 4),  # HP-08
    ({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}, ((-30.0, -1),), 5),
    ({"policies": [{"type": "Percent", "value": 30, "periodSeconds": 60}]}, (), 3),  # truncates
])
def test_rates_down(down: dict[str, Any], scalings: Any, wanted: int) -> None:
    pods, usages = group(*[1] * 5)
    found = plan(scaler(**rules(down=down)), pods, usages, memory=Memory(((-1000.0, 1),), scalings))
    assert found.replicas == wanted


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(1, 5), st.integers(5, 12),
       st.integers(10, 200))
def test_always_within_bounds_and_never_against_the_load(used: list[int], low: int, high: int, target: int) -> None:
    pods, usages = group(*used)
    for behavior in ({}, rules(down={"stabilizationWindowSeconds": 0})):
        found = plan(scaler(target, low, high, **behavior), pods, usages)
        assert low <= found.replicas <= high
        ratio = sum(used) / (target * len(used))
        if low <= len(used) <= high:
            assert found.replicas >= len(used) if ratio > 1 else found.replicas <= len(used)


def test_time_of_the_measurement_counts() -> None:
    early = PodUsage(NOON - timedelta(seconds=30), 1.0, uses(900).containers)
    starting = pod("b", changed_s=20, started_s=60)
    assert plan(scaler(), [pod("a"), starting], {"a": uses(20), "b": early}).replicas == 1


# --- metrics that are not CPU or memory


def named(kind: str, **target: str) -> Autoscaler:
    metric = {"name": "load", "selector": {"matchLabels": {"verb": "GET"}}}
    source: dict[str, Any] = {"metric": metric, "target": target}
    if kind == "Object":
        source["describedObject"] = {"apiVersion": "v1", "kind": "Service", "name": "web"}
    return scaler(metrics=[{"type": kind, kind.lower(): source}])


@pytest.mark.parametrize(("values", "wanted"), [
    ((20, 20), 4), ((10, 10), 2), ((10, 11), 2), ((5, 5), 1), ((12, 12), 3),
    ((30,), 3), ((5,), 2),  # one without a value: nothing on the way up, just right on the way down
])
def test_a_metric_of_the_pods_is_compared_with_what_each_should_have(values: tuple[int, ...], wanted: int) -> None:
    pods = [pod("p0"), pod("p1")]
    reading = Reading(pods={f"p{index}": Decimal(value) for index, value in enumerate(values)})
    found = plan(named("Pods", averageValue="10"), pods, {}, readings=(reading,))
    assert found.replicas == wanted
    assert found.conditions["ScalingActive"][2].endswith("from pods metric load")
    assert found.metrics[0]["pods"]["metric"] == {"name": "load", "selector": {"matchLabels": {"verb": "GET"}}}


@pytest.mark.parametrize(("target", "total", "wanted", "current"), [
    ({"value": "100"}, 150, 3, {"value": "150"}), ({"value": "100"}, 105, 2, {"value": "105"}),
    ({"value": "100"}, 40, 1, {"value": "40"}), ({"averageValue": "30"}, 120, 4, {"averageValue": "60"}),
    ({"averageValue": "30"}, 62, 2, {"averageValue": "31"}), ({"averageValue": "30"}, 20, 1, {"averageValue": "10"}),
])
@pytest.mark.parametrize("kind", ["Object", "External"])
def test_a_metric_of_one_object_or_of_something_outside(
    kind: str, target: dict[str, str], total: int, wanted: int, current: dict[str, str]
) -> None:
    found = plan(named(kind, **target), [pod("p0"), pod("p1")], {}, readings=(Reading(total=Decimal(total)),))
    assert (found.replicas, found.metrics[0][kind.lower()]["current"]) == (wanted, current)


@pytest.mark.parametrize("kind", ["Pods", "Object", "External"])
def test_a_metric_that_cannot_be_read_changes_nothing_and_says_why(kind: str) -> None:
    found = plan(named(kind, averageValue="1"), [pod("p0")], {}, readings=(Reading(failed="silence"),))
    assert found.replicas == 1 and found.conditions["ScalingActive"] == (
        "False", f"FailedGet{kind}Metric", "the HPA was unable to compute the replica count: failed to get "
        f"{kind.lower()} metric value: unable to get metric load: silence")


@pytest.mark.parametrize(("kind", "query"), [
    ("Pods", 'sum by (pod) (load{namespace="ns",pod=~"web-1|web-2",verb="GET"}) or '
             'sum by (pod) (rate(load_total{namespace="ns",pod=~"web-1|web-2",verb="GET"}[1m]))'),
    ("Object", 'sum (load{namespace="ns",service="web",verb="GET"}) or '
               'sum (rate(load_total{namespace="ns",service="web",verb="GET"}[1m]))'),
    ("External", 'sum (load{verb="GET"}) or sum (rate(load_total{verb="GET"}[1m]))'),
])
def test_the_queries(kind: str, query: str) -> None:
    spec = named(kind, averageValue="1").spec.metrics[0]
    assert spec.named is not None
    assert promql.query(spec, spec.named, "ns", ["web-2", "web-1"]) == query


def test_a_selectors_values_cannot_break_out_of_a_query() -> None:
    item = scaler(metrics=[{"type": "External", "external": {"target": {"value": "1"}, "metric": {
        "name": "load", "selector": {"matchLabels": {"a/b": 'x"} or up{y="'}, "matchExpressions": [
            {"key": "k", "operator": "In", "values": ["a.b", "c"]}, {"key": "l", "operator": "Exists"}]}}}}])
    spec = item.spec.metrics[0]
    assert spec.named is not None
    assert promql.query(spec, spec.named, "ns", ()).startswith(
        'sum (load{a_b="x\\"} or up{y=\\"",k=~"a\\\\.b|c",l!=""})')
    broken = spec.named.model_copy(update={"metric": spec.named.metric.model_copy(update={"name": "up or up"})})
    with pytest.raises(ValueError, match="no name of a Prometheus metric"):
        promql.query(spec, broken, "ns", ())
