"""The shapes of Chaos Mesh's own examples (examples/*.yaml of chaos-mesh), each injected, seen and taken back, in the
simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest
from faults_contract import condition, told

from faults import kinds
from testbed.api.resources import DEPLOYMENTS, NAMESPACES, ResourceType
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import World, is_true, open_world

Json = dict[str, Any]

STORE = {"labelSelectors": {"app.kubernetes.io/component": "tikv"}}
ONE: Json = {"mode": "one", "selector": STORE, "duration": "10s"}
DELAY = {"latency": "90ms", "correlation": "25", "jitter": "90ms"}
LOSS = {"loss": "25", "correlation": "25"}
ELSEWHERE = ["8.8.8.8", "8.8.0.0/16", "1.1.1.1:80", "10.0.0.0/8:22"]
ITSELF = {"target": {"selector": STORE, "mode": "one"}, "direction": "to"}
ETCD: Json = {"mode": "one", "selector": {"labelSelectors": {"app": "etcd"}}, "volumePath": "/var/run/etcd",
              "path": "/var/run/etcd/**/*", "duration": "400s"}

SHAPES: dict[str, tuple[ResourceType, Json]] = {
    "pod-kill": (kinds.POD_CHAOS, {"action": "pod-kill", "mode": "one", "selector": STORE}),
    "pod-failure": (kinds.POD_CHAOS, {"action": "pod-failure", **ONE}),
    "container-kill": (kinds.POD_CHAOS, {
        "action": "container-kill", "mode": "one", "containerNames": ["prometheus"],
        "selector": {"labelSelectors": {"app.kubernetes.io/component": "monitor"}}}),
    "network-delay": (kinds.NETWORK_CHAOS, {"action": "delay", "delay": DELAY, **ONE}),
    "network-delay-with-target": (kinds.NETWORK_CHAOS, {
        "action": "delay", "delay": DELAY, "mode": "one", "duration": "10s", "direction": "to",
        "selector": {"namespaces": ["web"], "labelSelectors": {"app.kubernetes.io/component": "web-app"}},
        "target": {"mode": "one", "selector": {
            "namespaces": ["db", "storage"], "labelSelectors": {"app.kubernetes.io/component": "pool"}}}}),
    "network-delay-with-external-target": (kinds.NETWORK_CHAOS, {
        "action": "delay", "delay": DELAY, "direction": "to", "externalTargets": ELSEWHERE, **ONE}),
    "network-loss": (kinds.NETWORK_CHAOS, {"action": "loss", "loss": LOSS, **ONE}),
    "network-duplicate": (kinds.NETWORK_CHAOS, {
        "action": "duplicate", "duplicate": {"duplicate": "40", "correlation": "25"}, **ONE}),
    "network-corrupt": (kinds.NETWORK_CHAOS, {
        "action": "corrupt", "corrupt": {"corrupt": "40", "correlation": "25"}, **ONE}),
    "network-netem": (kinds.NETWORK_CHAOS, {"action": "netem", "delay": DELAY, "loss": LOSS, **ONE}),
    "network-netem-with-target": (kinds.NETWORK_CHAOS, {
        "action": "netem", "delay": DELAY, "loss": LOSS, **ITSELF, **ONE}),
    "network-partition": (kinds.NETWORK_CHAOS, {"action": "partition", **ITSELF, **ONE}),
    "network-partition-with-external-targets": (kinds.NETWORK_CHAOS, {
        "action": "partition", "direction": "to", "externalTargets": ELSEWHERE, **ONE}),
    "network-bandwidth": (kinds.NETWORK_CHAOS, {"action": "bandwidth", "bandwidth": {
        "rate": "100kbps", "limit": 100, "buffer": 10000, "peakrate": 1000000, "minburst": 1000000}, **ONE}),
    "burn-cpu": (kinds.STRESS_CHAOS, {"stressors": {"cpu": {"workers": 1, "load": 100}}, **ONE}),
    "cause-pod-oom": (kinds.STRESS_CHAOS, {
        "stressors": {"memory": {"workers": 1, "size": "10MB", "oomScoreAdj": -1000}}, **ONE}),
    "dns-chaos": (kinds.DNS_CHAOS, {
        "action": "random", "mode": "all", "patterns": ["google.com", "chaos-mesh.*", "github.?om"],
        "selector": {"namespaces": ["busybox"]}, "duration": "50s"}),
    "io-delay": (kinds.IO_CHAOS, {"action": "latency", "delay": "10ms", "percent": 10, **ETCD}),
    "io-errno": (kinds.IO_CHAOS, {"action": "fault", "errno": 5, "percent": 50, **ETCD}),
    "time-chaos": (kinds.TIME_CHAOS, {"timeOffset": "-10m100ns", **ONE}),
    "http-patch-response": (kinds.HTTP_CHAOS, {
        "mode": "all", "selector": {"namespaces": ["default"], "labelSelectors": {"app": "nginx"}},
        "target": "Response", "port": 80, "path": "*",
        "patch": {"body": {"type": "JSON", "value": '{"status":"Failed","reason":"hacked by Chaos Mesh"}'}}}),
}


def workload(name: str, component: str, *, namespace: str = "default", container: str = "main") -> Json:
    """Two pods, with a volume where etcd has its own."""
    labels = {"app": name, "app.kubernetes.io/component": component}
    port = 80 if name == "nginx" else 8080
    made = {"name": container, "image": "sample:v1", "env": [{"name": "PORT", "value": str(port)}],
            "ports": [{"containerPort": port}], "volumeMounts": [{"name": "data", "mountPath": "/var/run/etcd"}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": labels}, "spec": {
            "containers": [made], "volumes": [{"name": "data", "emptyDir": {}}]}}}}


async def inhabit(world: World) -> None:
    for namespace in ("web", "db", "storage", "busybox"):
        await world.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, None)
    for one in (
        workload("tikv", "tikv"), workload("monitor", "monitor", container="prometheus"), workload("etcd", "etcd"),
        workload("nginx", "nginx"), workload("front", "web-app", namespace="web"),
        workload("pool", "pool", namespace="db"), workload("busybox", "busybox", namespace="busybox"),
    ):
        await world.create(DEPLOYMENTS, one, one["metadata"]["namespace"])
    await world.until(lambda: len(world.pods()) == 14 and all(is_true(pod, "Ready") for pod in world.pods()),
                      within_s=120, what="all pods are ready")


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_injected_seen_and_taken_back(name: str) -> None:
    kind, spec = SHAPES[name]
    raised = {"testbed.io/max-pods": "100%"} if spec["mode"] == "all" else {}

    async def body(world: World) -> None:
        await inhabit(world)
        await world.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind,
                                  "metadata": {"name": name, "annotations": raised}, "spec": spec})

        async def seen() -> bool:
            obj = await world.client.get(kind, name, "default")
            assert condition(obj, "Selected") != "False", told(obj)
            records = (obj["status"].get("experiment") or {}).get("containerRecords") or () if "status" in obj else ()
            return bool(records) and all(record["injectedCount"] for record in records)

        await world.until(seen, within_s=60, what=f"{name} is injected")
        await world.delete(kind, name)
        await world.until(lambda: not world.objects(kind), within_s=60, what=f"{name} is gone")
        assert world.effects.in_force == {}
        assert world.chaos.ledger.active() == ()

    async def main(loop: VirtualLoop) -> None:
        async with open_world(loop, 1, nodes=2) as world:
            await body(world)

    run_virtual(main)
