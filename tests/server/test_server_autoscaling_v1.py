"""autoscaling/v1: the same autoscalers in the older form. Nothing is lost on the way there and back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from testbed.api.resources import AUTOSCALERS, ResourceType
from testbed.errors import BadRequest, Invalid
from testbed.server import discovery
from testbed.server.autoscalers_v1 import BEHAVIOR, CONDITIONS, METRICS, STATUSES, from_v1, to_v1
from testbed.server.options import WriteOptions
from testbed.server.registry import STRATEGIC_PATCH, Registry
from testbed.server.tables import table

Json = dict[str, Any]
V1 = ResourceType("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def scaler(**spec: Any) -> Json:
    return {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": REFERENCE, "maxReplicas": 5, **spec}}


def source(name: str, **target: Any) -> Json:
    return {"metric": {"name": name, "selector": {"matchLabels": {"verb": "GET"}}}, "target": target}


METRIC_LIST = [
    {"type": "Pods", "pods": source("requests", type="AverageValue", averageValue="10")},
    {"type": "Object", "object": {**source("rate", type="Value", value="2k"), "describedObject": REFERENCE}},
    {"type": "Object", "object": {**source("each", type="AverageValue", averageValue="3"),
                                  "describedObject": REFERENCE}},
    {"type": "External", "external": source("queue", type="Value", value="30")},
    {"type": "ContainerResource", "containerResource": {
        "name": "memory", "container": "main", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
]


def test_what_kubectl_autoscale_writes_is_stored_as_v2(registry: Registry) -> None:
    made = registry.create(V1, {**scaler(targetCPUUtilizationPercentage=60), "apiVersion": "autoscaling/v1"},
                           "default").value
    assert made["apiVersion"] == "autoscaling/v1" and made["spec"] == {
        "scaleTargetRef": REFERENCE, "minReplicas": 1, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60}
    stored = registry.get(AUTOSCALERS, "web", "default").value
    assert stored["apiVersion"] == "autoscaling/v2" and stored["spec"]["metrics"] == [METRIC_LIST[-1]]
    assert stored["metadata"]["uid"] == made["metadata"]["uid"]


def test_without_a_target_it_is_80_percent(registry: Registry) -> None:
    assert registry.create(V1, scaler(), "default").value["spec"]["targetCPUUtilizationPercentage"] == 80


def test_what_v1_has_no_field_for_stands_in_annotations_and_comes_back(registry: Registry) -> None:
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 30, "selectPolicy": "Min", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15}]}}
    registry.create(AUTOSCALERS, scaler(metrics=METRIC_LIST, behavior=behavior), "default")
    status = {"currentReplicas": 2, "desiredReplicas": 3, "conditions": [{"type": "AbleToScale", "status": "True"}],
              "currentMetrics": [{"type": "Resource", "resource": {
                  "name": "cpu", "current": {"averageUtilization": 40, "averageValue": "40m"}}}]}
    before = registry.patch(AUTOSCALERS, "web", {"status": status}, "default", subresource="status").fresh()
    shown = registry.get(V1, "web", "default").fresh()
    noted = shown["metadata"]["annotations"]
    assert set(noted) == {METRICS, STATUSES, CONDITIONS, BEHAVIOR}
    assert json.loads(noted[METRICS])[0] == {"type": "Pods", "pods": {
        "metricName": "requests", "selector": {"matchLabels": {"verb": "GET"}}, "targetAverageValue": "10"}}
    assert json.loads(noted[BEHAVIOR])["ScaleUp"]["Policies"] == [{"Type": "Pods", "Value": 4, "PeriodSeconds": 15}]
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 60
    assert shown["status"]["currentCPUUtilizationPercentage"] == 40
    shown["spec"]["maxReplicas"] = 9
    registry.update(V1, shown, "default")
    after = registry.get(AUTOSCALERS, "web", "default").fresh()
    assert after["spec"] == {**before["spec"], "maxReplicas": 9}
    assert after["status"] == before["status"] and "annotations" not in after["metadata"]


def test_there_and_back_is_the_same() -> None:
    stored = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", **scaler(metrics=METRIC_LIST)}
    assert from_v1(to_v1(stored))["spec"] == stored["spec"]


def test_patches_lists_deletes_and_watches_in_the_version_that_is_asked_for(registry: Registry) -> None:
    registry.create(AUTOSCALERS, scaler(), "default")
    stream = registry.watch(V1, "default")
    patched = registry.patch(V1, "web", {"spec": {"targetCPUUtilizationPercentage": 55}}, "default",
                             patch_type=STRATEGIC_PATCH).value
    assert patched["spec"]["targetCPUUtilizationPercentage"] == 55
    assert [item.value["apiVersion"] for item in registry.list(V1, "default").items] == ["autoscaling/v1"]
    assert [item.value["apiVersion"] for item in registry.list(AUTOSCALERS, "default").items] == ["autoscaling/v2"]
    seen = asyncio.run(stream.next())
    assert [(kind, item.value["apiVersion"]) for kind, item in seen] == [("ADDED", "autoscaling/v1")]
    stream.close()
    deleted = registry.delete_collection(V1, "default").items
    assert [item.value["apiVersion"] for item in deleted] == ["autoscaling/v1"]
    assert not registry.list(AUTOSCALERS, "default").items


def test_fields_are_those_of_the_version(registry: Registry) -> None:
    strict = WriteOptions("Strict")
    with pytest.raises(BadRequest, match='unknown field "spec.metrics"'):
        registry.create(V1, scaler(metrics=[]), "default", strict)
    with pytest.raises(BadRequest, match='unknown field "spec.targetCPUUtilizationPercentage"'):
        registry.create(AUTOSCALERS, scaler(targetCPUUtilizationPercentage=3), "default", strict)
    with pytest.raises(Invalid, match="must be greater than 0"):
        registry.create(V1, scaler(targetCPUUtilizationPercentage=0), "default")


def test_an_annotation_that_cannot_be_read_counts_as_not_there(registry: Registry) -> None:
    made = {**scaler(), "metadata": {"name": "web", "annotations": {METRICS: "{", BEHAVIOR: "7", "team": "blue"}}}
    registry.create(V1, made, "default")
    stored = registry.get(AUTOSCALERS, "web", "default").value
    assert stored["metadata"]["annotations"] == {"team": "blue"} and "behavior" not in stored["spec"]


def test_both_are_discovered_and_v2_is_preferred(registry: Registry) -> None:
    group = discovery.find_group(registry.catalog, "autoscaling")
    assert group and [item["version"] for item in group["versions"]] == ["v2", "v1"]
    assert group["preferredVersion"]["version"] == "v2"


def test_columns_are_alike(registry: Registry) -> None:
    registry.create(V1, scaler(), "default")
    now = registry.clock.now()
    rows = [table(registry.catalog.of(kind), [registry.get(kind, "web", "default").value], now, {})["rows"][0]["cells"]
            for kind in (V1, AUTOSCALERS)]
    assert rows[0] == rows[1] and rows[0][2] == "cpu: <unknown>/80%"
