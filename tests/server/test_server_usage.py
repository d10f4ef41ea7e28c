"""metrics.k8s.io and autoscaling/v2 as clients see them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from http_world import http_world
from server_world import make_registry
from usage_world import AT, answering, filled, part

from testbed.api.resources import AUTOSCALERS
from testbed.errors import Invalid
from testbed.server.agents import Agents
from testbed.server.printers import PRINTERS
from testbed.server.usage import Usages

Json = dict[str, Any]


def scaler(**spec: Any) -> Json:
    return {"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5, **spec}}


async def test_what_kubectl_top_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_world(tmp_path) as world:
        uid = filled(world.registry)
        answering(monkeypatch, uid)
        root = "/apis/metrics.k8s.io/v1beta1"
        _, groups, _ = await world.ask("GET", "/apis")
        assert "metrics.k8s.io" in {item["name"] for item in groups["groups"]}
        _, found, _ = await world.ask("GET", root)
        assert {item["kind"] for item in found["resources"]} == {"NodeMetrics", "PodMetrics"}
        _, nodes, _ = await world.ask("GET", f"{root}/nodes")
        [node] = nodes["items"]  # n2 does not answer
        assert (nodes["kind"], node["metadata"]["name"]) == ("NodeMetricsList", "n1")
        assert node["usage"] == {"cpu": "1500000000n", "memory": "1048576Ki"} and node["timestamp"] == AT
        _, pods, _ = await world.ask("GET", f"{root}/namespaces/default/pods?labelSelector=app%3Don-n1")
        assert pods["items"][0]["containers"] == [{"name": "main", "usage": {"cpu": "250000000n", "memory": "65536Ki"}}]
        status, one, _ = await world.ask("GET", f"{root}/namespaces/default/pods/on-n1")
        assert (status, one["kind"]) == (200, "PodMetrics")
        status, gone, _ = await world.ask("GET", f"{root}/namespaces/default/pods/on-n2")
        assert (status, gone["message"]) == (404, 'pods.metrics.k8s.io "on-n2" not found')
        status, _, _ = await world.ask("POST", f"{root}/nodes", json={})
        assert status == 405
        usage = await Usages(world.registry, Agents(world.instance)).pod_usages("default")
        assert usage.keys() == {"on-n1"} and str(usage["on-n1"].containers["main"]["cpu"]) == "0.25"


async def test_an_agent_is_asked_once_by_all_who_ask_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def ask(self: Agents, node: str) -> Json:
        asked.append(node)
        await asyncio.sleep(0)
        return {"node": part(1, 1024), "pods": []}

    monkeypatch.setattr(Agents, "_ask_summary", ask)
    async with http_world(tmp_path) as world:
        agents = Agents(world.instance)
        await asyncio.gather(*(agents.summary(node) for node in ("n1", "n1", "n2", "n1")))
        assert sorted(asked) == ["n1", "n2"]


async def test_both_forms_of_discovery_name_what_is_not_stored(tmp_path: Path) -> None:
    async with http_world(tmp_path) as world:
        accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
        _, found, _ = await world.ask("GET", "/apis", headers=accept)
        groups = {item["metadata"]["name"]: item for item in found["items"]}
        assert {"metrics.k8s.io", "authorization.k8s.io", "autoscaling"} <= groups.keys()
        [version] = groups["metrics.k8s.io"]["versions"]
        assert [item["resource"] for item in version["resources"]] == ["nodes", "pods"]


def test_defaults_of_an_autoscaler() -> None:
    spec = make_registry().create(AUTOSCALERS, scaler(behavior={"scaleUp": {"selectPolicy": "Min"}}),
                                  "default").value["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["resource"] == {"name": "cpu", "target": {"type": "Utilization",
                                                                       "averageUtilization": 80}}
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert spec["behavior"]["scaleUp"] == {
        "stabilizationWindowSeconds": 0, "selectPolicy": "Min",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]}
    assert spec["behavior"]["scaleDown"] == {"selectPolicy": "Max", "policies": [percent]}
    assert "behavior" not in make_registry().create(AUTOSCALERS, scaler(), "default").value["spec"]


@pytest.mark.parametrize(("spec", "field"), [
    ({"maxReplicas": 0}, "spec.maxReplicas"), ({"minReplicas": 6}, "spec.maxReplicas"),
    ({"minReplicas": 0}, "spec.minReplicas"), ({"scaleTargetRef": {"kind": "Deployment", "name": ""}},
                                               "spec.scaleTargetRef.name"),
    ({"metrics": [{"type": "Odd"}]}, "spec.metrics[0].type"),
    ({"metrics": [{"type": "Resource"}]}, "spec.metrics[0].resource"),
    ({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]},
     "spec.metrics[0].resource.target.averageUtilization"),
    ({"behavior": {"scaleUp": {"policies": []}}}, "spec.behavior.scaleUp.policies"),
    ({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}},
     "spec.behavior.scaleDown.stabilizationWindowSeconds"),
    ({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}},
     "spec.behavior.scaleUp.policies[0].periodSeconds"),
])
def test_autoscalers_that_make_no_sense(spec: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        make_registry().create(AUTOSCALERS, scaler(**spec), "default")
    assert field in {cause["field"] for cause in refused.value.details["causes"]}


def test_columns_of_an_autoscaler() -> None:
    registry = make_registry()
    registry.create(AUTOSCALERS, scaler(), "default")
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    row = PRINTERS[AUTOSCALERS.group_resource].row
    assert row(registry.get(AUTOSCALERS, "web", "default").value, now)[1:6] == [
        "Deployment/web", "cpu: <unknown>/80%", "1", 5, 0]
    registry.patch(AUTOSCALERS, "web", {"status": {"desiredReplicas": 1, "currentReplicas": 1, "currentMetrics": [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42}}}]}}, "default",
        subresource="status")
    assert row(registry.get(AUTOSCALERS, "web", "default").value, now)[2] == "cpu: 42%/80%"
