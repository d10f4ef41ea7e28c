"""Changes: conflicts, generations, what cannot be changed, status, scale, binding. By upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import bind, deployment, pod

from testbed.api import resources as r
from testbed.errors import (
    Conflict,
    Invalid,
    UnsupportedMediaType,
)
from testbed.server.registry import JSON_PATCH, STRATEGIC_PATCH, Registry

Json = dict[str, Any]


def test_a_stale_version_is_a_conflict_and_none_is_unconditional(registry: Registry) -> None:
    made = registry.create(r.CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}}, "default").fresh()
    registry.update(r.CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "2"}}, "default")
    with pytest.raises(Conflict, match="has been modified"):
        registry.update(r.CONFIG_MAPS, made, "default")


def test_an_update_that_changes_nothing_writes_nothing(registry: Registry) -> None:
    made = registry.create(r.DEPLOYMENTS, deployment(), "default")
    assert registry.update(r.DEPLOYMENTS, deployment(), "default").revision == made.revision


def test_only_a_change_of_the_spec_is_a_new_generation(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")

    def generation(patch: Json, subresource: str = "") -> int:
        changed = registry.patch(r.DEPLOYMENTS, "web", patch, "default", subresource=subresource)
        return int(changed.value["metadata"]["generation"])

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"status": {"replicas": 3}}, "status") == 1
    assert generation({"spec": {"replicas": 3}}) == 2


def test_status_is_written_through_its_subresource_only(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    by_main = registry.patch(r.DEPLOYMENTS, "web", {"status": {"replicas": 9}}, "default").value
    assert "status" not in by_main
    both = {"spec": {"replicas": 9}, "status": {"replicas": 2}, "metadata": {"labels": {"x": "y"}}}
    by_status = registry.patch(r.DEPLOYMENTS, "web", both, "default", subresource="status").value
    assert by_status["status"] == {"replicas": 2} and by_status["spec"]["replicas"] == 1
    assert "labels" not in by_status["metadata"]


def test_uid_and_creation_cannot_be_changed(registry: Registry) -> None:
    made = registry.create(r.PODS, pod(), "default").value["metadata"]
    changed = registry.patch(r.PODS, "a", {"metadata": {"creationTimestamp": "1999-01-01T00:00:00Z"}}, "default").value
    assert changed["metadata"]["creationTimestamp"] == made["creationTimestamp"]
    with pytest.raises(Conflict, match="UID"):
        registry.patch(r.PODS, "a", {"metadata": {"uid": "other"}}, "default")


@pytest.mark.parametrize("patch", [
    {"spec": {"nodeName": "n1"}}, {"spec": {"restartPolicy": "Never"}},
    {"spec": {"containers": [{"name": "other", "image": "x:1"}]}},
])
def test_most_of_a_pods_spec_cannot_be_changed(registry: Registry, patch: Json) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(Invalid, match="pod updates may not change fields"):
        registry.patch(r.PODS, "a", patch, "default")


def test_a_pods_image_can_be_changed(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    patch = {"spec": {"containers": [{"name": "main", "image": "sample:v2"}]}}
    changed = registry.patch(r.PODS, "a", patch, "default", patch_type=STRATEGIC_PATCH).value
    assert changed["spec"]["containers"][0]["image"] == "sample:v2"


def test_a_deployments_selector_is_fixed(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    other = deployment(selector={"matchLabels": {"x": "y"}})
    other["spec"]["template"]["metadata"]["labels"] = {"x": "y"}
    with pytest.raises(Invalid, match="spec.selector.*immutable"):
        registry.update(r.DEPLOYMENTS, other, "default")


def test_scale_changes_replicas_alone(registry: Registry) -> None:
    registry.create(r.DEPLOYMENTS, deployment(), "default")
    registry.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, "default", subresource="scale")
    scale = registry.scale(r.DEPLOYMENTS, "web", "default")
    assert scale["spec"] == {"replicas": 5} and scale["status"]["selector"] == "app=web"
    with pytest.raises(Invalid):
        registry.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": -1}}, "default", subresource="scale")


def test_a_custom_patch_type_is_unsupported(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    with pytest.raises(UnsupportedMediaType, match="accepted media types"):
        registry.patch(r.PODS, "a", {}, "default", patch_type="application/apply-patch+yaml")


def test_a_failed_json_patch_test_changes_nothing(registry: Registry) -> None:
    made = registry.create(r.PODS, pod(), "default")
    operations = [{"op": "add", "path": "/metadata/labels/x", "value": "y"},
                  {"op": "test", "path": "/metadata/name", "value": "other"}]
    with pytest.raises(Invalid):
        registry.patch(r.PODS, "a", operations, "default", patch_type=JSON_PATCH)
    assert registry.get(r.PODS, "a", "default").revision == made.revision


# --- binding


def test_a_pod_is_bound_once(registry: Registry) -> None:
    registry.create(r.PODS, pod(), "default")
    bound = bind(registry)
    assert bound["spec"]["nodeName"] == "n1"
    assert {"PodScheduled"} == {item["type"] for item in bound["status"]["conditions"]}
    with pytest.raises(Conflict, match="already assigned"):
        bind(registry, node="n2")
