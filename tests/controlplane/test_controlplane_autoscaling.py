"""Autoscaling over the real registry, with measurements that tests set. HP-01 to HP-10, upstream's constants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from controlplane_world import World, condition_of, container, virtual, world

from testbed.api.resources import AUTOSCALERS, NAMESPACES, REPLICA_SETS, SERVICES
from testbed.controlplane.usage import Sample
from testbed.core.pod_metrics import PodUsage
from testbed.core.profile import KUBERNETES

Json = dict[str, Any]


class Load:
    """``milli`` of CPU in all, shared by the ready pods of the world."""

    def __init__(self, w: World) -> None:
        self.world, self.milli = w, 0
        self.each, self.asked = Decimal(0), [""]  # of a metric that Prometheus has; whom it was asked

    async def query(self, address: str, promql: str) -> Sequence[Sample]:
        self.asked.append(address)
        if "by (pod)" not in promql:
            return [({}, self.each)]
        return [({"pod": pod["metadata"]["name"]}, self.each) for pod in await self.world.ready_pods()]

    async def pod_usages(self, namespace: str) -> Mapping[str, PodUsage]:
        names = [pod["metadata"]["name"] for pod in await self.world.ready_pods()]
        each = Decimal(self.milli) / 1000 / max(len(names), 1)
        return {name: PodUsage(self.world.clock.now(), 1.0, {"web": {"cpu": each, "memory": Decimal(2**20)}})
                for name in names}


async def start(w: World, replicas: int, request: str, target: int, low: int = 1, high: int = 5, **spec: Any) -> Load:
    """A world's Deployment ``web`` with an autoscaler, measured by a load that tests set."""
    load = Load(w)
    for controller in w.control_plane.controllers:
        object.__setattr__(controller.tools, "usage", load)
    made = {**container(), "resources": {"requests": {"cpu": request}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [made]}}
    await w.apply_deployment(replicas=replicas, template=template)
    await w.until(w.complete, within_s=120)
    load.milli = replicas * target * int(request.rstrip("m")) // 100  # just right
    await asyncio.sleep(310)  # nobody is young any more
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {
        "type": "Utilization", "averageUtilization": target}}}
    await w.client.create(AUTOSCALERS, {"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": low,
        "maxReplicas": high, "metrics": [metric], **spec}}, "default")
    return load


async def replicas(w: World) -> int:
    return int((await w.deployment())["spec"]["replicas"])


async def reaches(w: World, number: int, within_s: float) -> float:
    """Seconds until the Deployment has ``number`` replicas."""
    begin_s = asyncio.get_running_loop().time()
    while await replicas(w) != number:
        await asyncio.sleep(0.5)
        assert asyncio.get_running_loop().time() - begin_s < within_s, f"not {number} within {within_s} s"
    return asyncio.get_running_loop().time() - begin_s


def slow() -> Any:
    return world(["n1", "n2", "n3"], profile=KUBERNETES)


@virtual
async def test_a_target_that_is_not_there_and_one_of_zero() -> None:
    async with slow() as w:
        await start(w, 1, "100m", 50)
        await w.client.patch(AUTOSCALERS, "web", {"spec": {"scaleTargetRef": {"name": "gone"}}}, "default")

        async def reason(kind: str, wanted: str) -> bool:
            scaler = await w.client.get(AUTOSCALERS, "web", "default")
            return bool(condition_of(scaler, kind).get("reason") == wanted)

        await w.until(lambda: reason("AbleToScale", "FailedGetScale"))
        await w.client.patch(AUTOSCALERS, "web", {"spec": {"scaleTargetRef": {"name": "web"}}}, "default")
        await w.change_deployment({"spec": {"replicas": 0}})
        await w.until(lambda: reason("ScalingActive", "ScalingDisabled"))
        assert await replicas(w) == 0


@virtual
async def test_a_replica_set_of_its_own_is_scaled_too() -> None:
    async with slow() as w:
        load = await start(w, 1, "100m", 50)
        template = {"metadata": {"labels": {"app": "own"}}, "spec": {"containers": [
            {**container(), "resources": {"requests": {"cpu": "100m"}}}]}}
        await w.client.create(REPLICA_SETS, {"metadata": {"name": "own"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "own"}}, "template": template}}, "default")
        await w.client.patch(AUTOSCALERS, "web", {"spec": {"scaleTargetRef": {"kind": "ReplicaSet", "name": "own"}}},
                             "default")
        await asyncio.sleep(310)
        load.milli = 400

        async def grown() -> bool:
            return bool((await w.client.get(REPLICA_SETS, "own", "default"))["spec"]["replicas"] == 4)

        await w.until(grown)


@virtual
async def test_metrics_of_pods_come_from_the_prometheus_that_is_named() -> None:
    async with world(["n1", "n2", "n3"]) as w:
        pods = [{"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {
            "type": "AverageValue", "averageValue": "10"}}}]
        load = await start(w, 1, "100m", 50, metrics=pods)

        async def active(status: str, reason: str) -> bool:
            found = condition_of(await w.client.get(AUTOSCALERS, "web", "default"), "ScalingActive")
            return (found.get("status"), found.get("reason")) == (status, reason)

        await w.until(lambda: active("False", "FailedGetPodsMetric"))
        told = condition_of(await w.client.get(AUTOSCALERS, "web", "default"), "ScalingActive")["message"]
        assert "no Prometheus is named: set the annotation testbed.io/prometheus" in told
        note = {"metadata": {"annotations": {"testbed.io/prometheus": "http://prom.tools.svc:9090/x"}}}
        await w.client.patch(NAMESPACES, "default", note)
        load.each = Decimal(30)
        await reaches(w, 3, 60)
        assert await active("True", "ValidMetricFound") and load.asked[-1] == "http://prom.tools.svc:9090/x"


@virtual
async def test_a_prometheus_in_the_cluster_is_reached_by_its_services_address() -> None:
    async with world(["n1", "n2", "n3"]) as w:
        of_one = [{"type": "Object", "object": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"},
            "describedObject": {"kind": "Service", "name": "web"}}}]
        load = await start(w, 1, "100m", 50, metrics=of_one)
        service = await w.client.create(SERVICES, {"metadata": {"name": "prom"}, "spec": {"ports": [{"port": 9090}]}},
                                        "default")
        for host in ("prom", "prom.default", "prom.default.svc.cluster.local"):
            await w.client.patch(AUTOSCALERS, "web", {"metadata": {"annotations": {
                "testbed.io/prometheus": f"http://{host}:9090"}}}, "default")
            load.asked.clear()
            await w.until(lambda: _asked(load))
            await asyncio.sleep(5)
            assert load.asked[-1] == f"http://{service['spec']['clusterIP']}:9090"


async def _asked(load: Load) -> bool:
    return bool(load.asked)
