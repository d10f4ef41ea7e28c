"""Which kinds are faults is one rule for the picture and for metrics."""

from __future__ import annotations

import pytest

from testbed.api.fault_objects import fault_title, is_fault, records_of
from testbed.api.resources import CHAOS_MESH_GROUP, EXPERIMENTS, PODS, TESTBED_GROUP, ResourceType


@pytest.mark.parametrize(("group", "kind", "expected"), [
    (CHAOS_MESH_GROUP, "PodChaos", True), (CHAOS_MESH_GROUP, "StressChaos", True), (TESTBED_GROUP, "NodeChaos", True),
    (CHAOS_MESH_GROUP, "Schedule", False), (CHAOS_MESH_GROUP, "Workflow", False),
    (TESTBED_GROUP, EXPERIMENTS.kind, False), (PODS.group, PODS.kind, False), ("example.com", "PodChaos", False),
])
def test_what_makes_faults_or_asks_for_them_is_none(group: str, kind: str, expected: bool) -> None:
    assert is_fault(ResourceType(group, "v1alpha1", kind.lower(), kind)) is expected


@pytest.mark.parametrize("action", ["", None])
def test_a_kind_without_actions_is_titled_by_itself(action: str | None) -> None:
    assert fault_title("StressChaos", action) == "StressChaos"
    assert fault_title("PodChaos", "pod-kill") == "PodChaos/pod-kill"


@pytest.mark.parametrize("fault", [{}, {"status": None}, {"status": {"experiment": None}},
                                   {"status": {"experiment": {"containerRecords": None}}}])
def test_a_fault_that_was_not_judged_yet_has_no_records(fault: dict[str, object]) -> None:
    assert records_of(fault) == []
