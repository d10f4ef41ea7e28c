"""What the API does to wishes about placement: priority, gates, and what it refuses in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import make_registry, pod

from testbed.api.resources import PODS, PRIORITY_CLASSES
from testbed.errors import Forbidden, Invalid
from testbed.server.options import WriteOptions

Json = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def of_class(name: str, value: int, **more: Any) -> Json:
    return {"metadata": {"name": name}, "value": value, **more}


def test_priority_comes_from_the_class_alone() -> None:
    registry = make_registry()
    registry.create(PRIORITY_CLASSES, of_class("high", 1000, preemptionPolicy="Never"))
    registry.create(PRIORITY_CLASSES, of_class("usual", 5, globalDefault=True))
    spec = registry.create(PODS, pod("a", priorityClassName="high"), "default").value["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    spec = registry.create(PODS, pod("b"), "default").value["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (5, "usual")
    spec = registry.create(PODS, pod("c", priorityClassName="system-node-critical"), "default").value["spec"]
    assert spec["priority"] == 2_000_001_000
    with pytest.raises(Forbidden, match=r"the integer value of priority \(7\) must not be provided in pod spec"):
        registry.create(PODS, pod("d", priorityClassName="high", priority=7), "default")
    with pytest.raises(Forbidden, match="no PriorityClass with name none was found"):
        registry.create(PODS, pod("d", priorityClassName="none"), "default")


def test_classes_are_bounded_and_do_not_change_their_value() -> None:
    registry = make_registry()
    assert {item.name for item in registry.list(PRIORITY_CLASSES).items} == {
        "system-cluster-critical", "system-node-critical"}
    for refused in (of_class("big", 1_000_000_001), of_class("system-mine", 5),
                    of_class("odd", 1, preemptionPolicy="Maybe")):
        with pytest.raises(Invalid):
            registry.create(PRIORITY_CLASSES, refused)
    registry.create(PRIORITY_CLASSES, of_class("high", 1000))
    with pytest.raises(Invalid, match="may not be changed in an update"):
        registry.patch(PRIORITY_CLASSES, "high", {"value": 5})


@pytest.mark.parametrize(("spec", "field", "told"), [
    ({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]},
     "spec.topologySpreadConstraints[0].maxSkew", "must be greater than zero"),
    ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "Maybe"}]},
     "spec.topologySpreadConstraints[0].whenUnsatisfiable", "Unsupported value"),
    ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}] * 2},
     "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}", "Duplicate value"),
    ({"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {}}]}}},
     f"spec.affinity.podAffinity.{REQUIRED}[0].topologyKey", "can not be empty"),
    ({"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": {"topologyKey": "a"}}]}}},
     f"spec.affinity.podAntiAffinity.{PREFERRED}[0].weight", "must be in the range 1-100"),
    ({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
     f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms", "must have at least one node selector term"),
    ({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "a", "operator": "Gt", "values": ["1", "2"]}]}]}}}},
     f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values", "single value"),
    ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, "spec.schedulingGates[1]", "Duplicate value"),
])
def test_refused_wishes(spec: Json, field: str, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        make_registry().create(PODS, pod("a", **spec), "default")
    [cause] = refused.value.details["causes"]
    assert cause["field"] == field and told in cause["message"]


def test_what_is_enforced_is_not_warned_of() -> None:
    options = WriteOptions(field_validation="Warn")
    spec: Json = {
        "schedulingGates": [{"name": "a"}], "affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "a"}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}
    registry = make_registry()
    made = registry.create(PODS, pod("a", **spec), "default", options).value
    assert options.warnings == []
    assert made["status"]["conditions"][0]["reason"] == "SchedulingGated"
    with pytest.raises(Forbidden, match="cannot be set until all schedulingGates have been cleared"):
        registry.create(PODS, pod("b", schedulingGates=[{"name": "a"}], nodeName="n1"), "default")


def test_a_gated_pod_may_be_narrowed_but_not_widened() -> None:
    registry = make_registry()
    registry.create(PODS, pod("a", schedulingGates=[{"name": "a"}, {"name": "b"}], nodeSelector={"x": "1"}), "default")
    registry.patch(PODS, "a", {"spec": {"nodeSelector": {"y": "2"}}}, "default")
    with pytest.raises(Invalid, match="only additions are allowed to spec.nodeSelector"):
        registry.patch(PODS, "a", {"spec": {"nodeSelector": {"x": None}}}, "default")
    with pytest.raises(Invalid, match="only deletion is allowed"):
        registry.patch(PODS, "a", {"spec": {"schedulingGates": [{"name": "c"}]}}, "default")
    registry.patch(PODS, "a", {"spec": {"schedulingGates": []}}, "default")
    with pytest.raises(Invalid):
        registry.patch(PODS, "a", {"spec": {"nodeSelector": {"z": "3"}}}, "default")
