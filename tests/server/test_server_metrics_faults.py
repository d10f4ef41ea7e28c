"""Which injections hold, and which have outlived their deadline."""

from __future__ import annotations

from typing import Any

from server_world import make_registry

from testbed.api import resources as r
from testbed.api.resources import ResourceType
from testbed.server.metrics_faults import FaultMetrics

Json = dict[str, Any]
DEADLINE_NS = 60_000_000_000


def fault(*records: Json) -> Json:
    return {"kind": "PodChaos", "metadata": {"name": "f", "uid": "u"}, "spec": {"action": "container-freeze"},
            "status": {"experiment": {"containerRecords": list(records)}}}


def record(target: str, phase: str = "Injected", **more: Any) -> Json:
    return {"id": target, "phase": phase, "injectedCount": 1, **more}


def metrics_of(faults: list[Json], now_s: float = 0.0) -> FaultMetrics:
    """``faults``: as they are when it is asked."""
    registry = make_registry()
    kind = ResourceType(r.CHAOS_MESH_GROUP, "v1alpha1", "podchaos", "PodChaos")
    registry.create(r.CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": f"podchaos.{kind.group}"}, "spec": {
        "group": kind.group, "scope": "Namespaced", "names": {"plural": kind.plural, "kind": kind.kind},
        "versions": [{"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
    pods = [{"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {"nodeName": "node-1"}}]
    objects = {"podchaos": faults, "pods": pods}
    return FaultMetrics(registry.catalog, lambda kind: objects.get(kind.plural, []), lambda: int(now_s * 1e9))


def samples(*faults: Json, now_s: float = 0.0) -> dict[str, dict[tuple[str, str], float]]:
    """By metric: target and node -> value."""
    return {family.name: {(item.labels["target"], item.labels["node"]): item.value for item in family.samples
                          if "target" in item.labels} for family in metrics_of(list(faults), now_s).collect()}


def injections(metrics: FaultMetrics) -> dict[str, float]:
    return {item.labels["fault"]: item.value for family in metrics.collect() for item in family.samples
            if item.name == "testbed_faults_total"}


def test_an_injection_is_active_while_its_record_says_so() -> None:
    found = samples(fault(record("shop/web-1/web"), record("shop/web-2/web", "Not Injected")))
    assert found["testbed_fault_active"] == {("shop/web-1/web", "node-1"): 1, ("shop/web-2/web", ""): 0}


def test_a_kill_is_over_once_it_is_done_though_its_record_says_injected() -> None:
    found = samples(fault(record("shop/web-1/web", oneShot=True), record("shop/web-2/web", oneShot=False)))
    assert found["testbed_fault_active"] == {("shop/web-2/web", ""): 1}


def test_one_that_is_in_effect_beyond_its_deadline_is_overdue_by_so_many_seconds() -> None:
    held = fault(record("shop/web-1/web", deadlineNs=DEADLINE_NS))
    target = ("shop/web-1/web", "node-1")
    assert samples(held, now_s=59)["testbed_fault_overdue_seconds"] == {target: 0}
    assert samples(held, now_s=72.5)["testbed_fault_overdue_seconds"] == {target: 12.5}


def test_what_is_over_or_has_no_deadline_is_never_overdue() -> None:
    found = samples(fault(record("shop/web-1/web", "Not Injected", deadlineNs=DEADLINE_NS), record("shop/web-2/web")),
                    now_s=100)
    assert found["testbed_fault_overdue_seconds"] == {}


def test_of_several_that_do_the_same_to_one_target_the_worst_counts() -> None:
    found = samples(fault(record("shop/web-1/web", "Not Injected"), record("shop/web-1/web", deadlineNs=DEADLINE_NS)),
                    fault(record("shop/web-1/web", deadlineNs=2 * DEADLINE_NS)), now_s=70)
    target = ("shop/web-1/web", "node-1")
    assert found["testbed_fault_active"] == {target: 1}
    assert found["testbed_fault_overdue_seconds"] == {target: 10}


def test_injections_of_objects_that_are_gone_are_still_counted_and_nothing_is_kept_of_each() -> None:
    faults: list[Json] = []
    metrics = metrics_of(faults)
    for number in range(50):
        one = fault(record("shop/web-1/web"), record("shop/web-2/web"))
        faults[:] = [{**one, "metadata": {"name": f"f-{number}", "uid": f"u-{number}"}}]
        assert injections(metrics) == {"PodChaos/container-freeze": 2 * (number + 1)}
    faults.clear()
    assert injections(metrics) == {"PodChaos/container-freeze": 100}
    assert not metrics._injected
