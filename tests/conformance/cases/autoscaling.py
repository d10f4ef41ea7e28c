"""HP: horizontal pod autoscaling (test/e2e/autoscaling/horizontal_pod_autoscaling.go, ..._behavior.go).

Each takes minutes by upstream's constants, so in virtual time only. How much CPU the pods use is set here
(``Load``); on real containers it comes from their cgroups (tests/clients, metrics.k8s.io).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from testbed.api.meta import parse_time
from testbed.api.resources import AUTOSCALERS, DEPLOYMENTS, PODS, REPLICA_SETS, ResourceType
from testbed.controlplane.usage import QueryFailed, Sample
from testbed.core.pod_metrics import PodUsage

from .kube import Kube, condition, is_true
from .manifests import app, workload
from .registry import case

Json = dict[str, Any]
YOUNG_S = 310  # what a pod uses in its first 5 minutes does not count before it has been ready


@dataclass
class Load:
    """``milli`` of CPU in all, shared by the ready pods; ``side``: of each sidecar."""

    kube: Kube
    milli: int = 0
    side: int = 0

    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        pods = [pod for pod in await self.kube.list(PODS) if is_true(pod, "Ready")]
        each = Decimal(self.milli) / 1000 / max(len(pods), 1)
        return {pod["metadata"]["name"]: PodUsage(self.kube.world.clock.now(), 1.0, {
            item["name"]: {"cpu": each if item["name"] == "app" else Decimal(self.side) / 1000,
                           "memory": Decimal(2**20)} for item in pod["spec"]["containers"]}) for pod in pods}

    async def query(self, address: str, promql: str) -> Sequence[Sample]:
        raise QueryFailed("nobody is asked")


def cpu(target: int, *, value: bool = False, container: str = "") -> Json:
    goal: Json = {"type": "AverageValue", "averageValue": f"{target}m"} if value else {
        "type": "Utilization", "averageUtilization": target}
    if container:
        return {"type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": container, "target": goal}}
    return {"type": "Resource", "resource": {"name": "cpu", "target": goal}}


async def start(
    kube: Kube, replicas: int, request: int, metric: Json, *, low: int = 1, high: int = 5, milli: int = 0,
    kind: ResourceType = DEPLOYMENTS, sidecar: bool = False, **spec: Any,
) -> Load:
    """A workload ``web`` that is no longer young, and its autoscaler. ``milli``: so much that nothing changes."""
    load = Load(kube, milli)
    for controller in kube.world.api.control_plane.controllers:
        object.__setattr__(controller.tools, "usage", load)
    requests = {"resources": {"requests": {"cpu": f"{request}m"}}}
    containers = [app(**requests), *([app("sidecar", **requests)] if sidecar else [])]
    if sidecar:
        containers[1]["env"] = [{"name": "PORT", "value": "8081"}]
    await kube.create(kind, workload(kind.kind, "web", *containers, replicas=replicas))
    await kube.ready_pods("app=web", replicas)
    await asyncio.sleep(YOUNG_S)
    await kube.create(AUTOSCALERS, {"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind.kind, "name": "web"}, "minReplicas": low,
        "maxReplicas": high, "metrics": [metric], **spec}})
    await asyncio.sleep(20)
    return load


async def replicas(kube: Kube, kind: ResourceType = DEPLOYMENTS) -> int:
    return int((await kube.get(kind, "web"))["spec"]["replicas"])


async def reaches(kube: Kube, number: int, within_s: float, kind: ResourceType = DEPLOYMENTS) -> float:
    """Seconds until the workload has so many replicas."""
    began = kube.now()

    async def look() -> bool:
        return await replicas(kube, kind) == number

    await kube.until(f"{number} replicas", look, within_s, pause_s=0.5)
    return kube.now() - began


async def stays(kube: Kube, for_s: float, *numbers: int) -> None:
    async def look() -> bool:
        return await replicas(kube) in numbers

    await kube.holds(f"replicas are {numbers}", look, for_s, pause_s=5)


def up_and_up(variant: str, metric: Json, kind: ResourceType = DEPLOYMENTS, identity: str = "HP-01") -> None:
    @case(identity, variant, real_s=1800, nodes=3)
    async def body(kube: Kube) -> None:
        sidecar = identity == "HP-04"
        load = await start(kube, 1, 500, metric, milli=100, kind=kind, sidecar=sidecar)
        load.milli = 250
        await reaches(kube, 3, 900, kind)
        await kube.ready_pods("app=web", 3)
        load.milli = 700
        await reaches(kube, 5, 900, kind)
        scaler = await kube.get(AUTOSCALERS, "web")
        assert is_true(scaler, "AbleToScale") and is_true(scaler, "ScalingActive")
        assert len(await kube.events("web", "SuccessfulRescale")) >= 2


up_and_up("utilization", cpu(20))
up_and_up("value", cpu(100, value=True))
up_and_up("container", cpu(20, container="app"))
up_and_up("replicaset", cpu(20), REPLICA_SETS)
up_and_up("idle-sidecar", cpu(20, container="app"), identity="HP-04")


@case("HP-01", "stability", real_s=2400, nodes=3)
async def it_holds_three_or_four_for_ten_minutes(kube: Kube) -> None:
    load = await start(kube, 1, 500, cpu(20), milli=100)
    load.milli = 250
    await reaches(kube, 3, 900)
    await stays(kube, 600, 3, 4)
    load.milli = 700
    await reaches(kube, 5, 900)


@case("HP-02", real_s=1800, nodes=3)
async def from_five_to_three_and_then_to_one(kube: Kube) -> None:
    load = await start(kube, 5, 500, cpu(30), milli=750)
    load.milli = 325
    assert await reaches(kube, 3, 900) >= 270
    load.milli = 10
    assert await reaches(kube, 1, 900) >= 270


@case("HP-03", "up", real_s=900, nodes=3)
async def from_one_to_two(kube: Kube) -> None:
    load = await start(kube, 1, 200, cpu(50), milli=100)
    load.milli = 150
    await reaches(kube, 2, 900)


@case("HP-03", "down", real_s=900, nodes=3)
async def from_two_to_one(kube: Kube) -> None:
    load = await start(kube, 2, 200, cpu(50), milli=200, high=2)
    load.milli = 50
    await reaches(kube, 1, 900)


@case("HP-04", "busy-sidecar", real_s=400, nodes=3)
async def a_busy_sidecar_beside_an_idle_application_is_nothing(kube: Kube) -> None:
    load = await start(kube, 1, 125, cpu(20, container="app"), milli=20, sidecar=True)
    load.milli, load.side = 0, 250
    await stays(kube, 60, 1)


@case("HP-06", real_s=900, nodes=3)
async def up_only_after_the_stabilization_period(kube: Kube) -> None:
    load = await start(kube, 1, 500, cpu(20), milli=100, behavior={"scaleUp": {"stabilizationWindowSeconds": 180}})
    load.milli = 250
    assert 180 - 15 < await reaches(kube, 3, 900) < 180 + 150


@case("HP-07", "up", real_s=600, nodes=3)
async def scaling_up_may_be_disabled(kube: Kube) -> None:
    load = await start(kube, 1, 500, cpu(20), milli=100, high=10, behavior={"scaleUp": {"selectPolicy": "Disabled"}})
    load.milli = 800
    await stays(kube, 210, 1)


@case("HP-07", "down", real_s=900, nodes=3)
async def scaling_down_may_be_disabled(kube: Kube) -> None:
    load = await start(kube, 3, 500, cpu(20), milli=300, behavior={"scaleDown": {"selectPolicy": "Disabled"}})
    load.milli = 100
    await stays(kube, 450, 3)


def one_a_minute(variant: str, direction: str, kind: str, value: int, first: int, milli: int, *steps: int) -> None:
    @case("HP-08", variant, real_s=900, nodes=3)
    async def body(kube: Kube) -> None:
        policies = [{"type": kind, "value": value, "periodSeconds": 60}]
        load = await start(kube, first, 500, cpu(20), milli=first * 100, high=10, behavior={
            direction: {"stabilizationWindowSeconds": 0, "policies": policies}})
        load.milli = milli
        await reaches(kube, steps[0], 210)
        for step in steps[1:]:
            assert 60 - 15 < await reaches(kube, step, 300) < 210


one_a_minute("pods-up", "scaleUp", "Pods", 1, 1, 450, 2, 3)
one_a_minute("pods-down", "scaleDown", "Pods", 1, 3, 50, 2, 1)
one_a_minute("percent-up", "scaleUp", "Percent", 50, 2, 900, 3, 5)
one_a_minute("percent-down", "scaleDown", "Percent", 25, 7, 150, 5, 3)


@case("HP-10", "two-windows", real_s=1200, nodes=3)
async def two_windows_keep_the_recommendation_in_range(kube: Kube) -> None:
    load = await start(kube, 2, 500, cpu(20), milli=200, behavior={
        "scaleUp": {"stabilizationWindowSeconds": 180}, "scaleDown": {"stabilizationWindowSeconds": 180}})
    load.milli = 350
    assert await reaches(kube, 4, 270) >= 180 - 15
    await kube.ready_pods("app=web", 4)
    load.milli = 90
    assert await reaches(kube, 1, 270) >= 180 - 15


@case("HP-10", "window-and-rate", real_s=1200, nodes=3)
async def a_window_and_a_rate(kube: Kube) -> None:
    load = await start(kube, 2, 500, cpu(20), milli=200, high=8, behavior={"scaleUp": {
        "stabilizationWindowSeconds": 180, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}})
    load.milli = 800
    assert await reaches(kube, 4, 270) >= 180 - 15
    assert await reaches(kube, 6, 270) > 60 - 15
    scaler = await kube.get(AUTOSCALERS, "web")
    limited = condition(scaler, "ScalingLimited")
    assert limited and limited["reason"] == "ScaleUpLimit"
    assert parse_time(scaler["status"]["lastScaleTime"])
