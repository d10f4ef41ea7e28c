"""A cluster in which everything happens at once that the live page has a picture for."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

from server_world import service
from support.page_world import NODE_CHAOS, PageWorld

from testbed.api import resources as r
from testbed.api.labels import DISRUPTION, RUN, SERVICE_NAME
from testbed.api.meta import format_time

Json = dict[str, Any]
PROBE: Json = {"httpGet": {"path": "/", "port": 8080}}
PROBES: Json = {"startupProbe": PROBE, "readinessProbe": PROBE, "livenessProbe": PROBE}


def make_busy(world: PageWorld) -> None:
    """Three nodes, one of them without power; pods in every state; a run in the middle of a recovery; past runs."""
    for name in ("node-1", "node-2", "node-3"):
        world.node(name)
    world.node("node-2", ready="Unknown", reason="NodeStatusUnknown")
    cordoned = world.registry.get(r.NODES, "node-3").fresh()
    world.registry.update(r.NODES, {**cordoned, "spec": {**cordoned.get("spec", {}), "unschedulable": True}})
    _workloads(world)
    world.fault("lose-a-node-3", "node-2", kind="NodeChaos", action="kill", node="node-2")
    of_the_run = world.registry.get(NODE_CHAOS, "lose-a-node-3", "default").fresh()
    of_the_run["metadata"]["labels"] = {DISRUPTION: "lose-a-node", RUN: "lose-a-node-3"}
    world.registry.update(NODE_CHAOS, of_the_run, "default")
    world.fault("page-pod-kill-1f2e3d", "default/queue-7b9c6-lq2pn", phase="Refused",
                message="this would hit 1 of the 1 pods of Deployment queue while 1 of them is hit already; the limit "
                        "is 50%, which is 1")
    world.fault("slow-web", "default/web-6c9f7-q7wzt", action="pod-failure", node="node-1")
    _events(world)
    world.experiment("20261129-170312-lose-a-node", losing_a_node(world))
    for number in reversed(range(5)):
        _past_run(world, number)


def _workloads(world: PageWorld) -> None:
    _deployment(world, "web", 5, [
        ("6c9f7-k2x9p", "node-1", {}), ("6c9f7-q7wzt", "node-1", {"ready": False}), ("6c9f7-m4n8r", "node-3", {}),
        ("6c9f7-zz81d", "node-3", {"restarts": 2}), ("6c9f7-9new1", "", {"phase": "Pending"})])
    _deployment(world, "api", 3, [
        ("5f4dc-8dkqv", "node-1", {}), ("5f4dc-tt2lm", "node-3", {"ready": False, "started": False}),
        ("5f4dc-x0v4b", "node-2", {})])
    _deployment(world, "queue", 1, [
        ("7b9c6-lq2pn", "node-1", {"ready": False, "waiting": "CrashLoopBackOff", "restarts": 5})])
    world.registry.create(r.PODS, {"metadata": {"name": "migrate", "labels": {"app": "migrate"}}, "spec": {
        "nodeName": "node-3", "containers": [{"name": "migrate", "image": "sample:v1"}]}}, "default")
    set_status(world, r.PODS, "migrate", pod_status(world, "migrate", phase="Succeeded", ready=False))


def _deployment(world: PageWorld, name: str, replicas: int, pods: list[tuple[str, str, Json]]) -> None:
    labels = {"app": name}
    containers = [{"name": name, "image": "sample:v1", **PROBES}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    world.registry.create(
        r.DEPLOYMENTS, {"metadata": {"name": name}, "spec": {**spec, "replicas": replicas}}, "default")
    owner = world.registry.get(r.DEPLOYMENTS, name, "default").value
    replica_set = f"{name}-{pods[0][0].split('-')[0]}"
    metadata = {"name": replica_set, "labels": labels, "ownerReferences": [owned_by(owner, "Deployment")]}
    world.registry.create(r.REPLICA_SETS, {"metadata": metadata, "spec": spec}, "default")
    middle = owned_by(world.registry.get(r.REPLICA_SETS, replica_set, "default").value, "ReplicaSet")
    for suffix, node, state in pods:
        world.registry.create(r.PODS, {
            "metadata": {"name": f"{name}-{suffix}", "labels": labels, "ownerReferences": [middle]},
            "spec": {"containers": containers, **({"nodeName": node} if node else {})}}, "default")
        set_status(world, r.PODS, f"{name}-{suffix}", pod_status(world, name, **state))
    ready = sum(state.get("ready", True) and "phase" not in state for _, _, state in pods)
    set_status(world, r.DEPLOYMENTS, name, {"replicas": replicas, "readyReplicas": ready, "updatedReplicas": replicas,
                                            "availableReplicas": ready})
    world.registry.create(r.SERVICES, service(name), "default")
    placed = [state for _, node, state in pods if node]
    world.registry.create(r.ENDPOINT_SLICES, {
        "metadata": {"name": f"{name}-1", "labels": {SERVICE_NAME: name}}, "addressType": "IPv4",
        "ports": [{"port": 8080}], "endpoints": [
            {"addresses": [f"10.9.1.{index + 10}"], "conditions": {"ready": state.get("ready", True)}}
            for index, state in enumerate(placed)]}, "default")


def owned_by(obj: Json, kind: str) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"],
            "controller": True}


def pod_status(world: PageWorld, container: str, *, ready: bool = True, started: bool = True, restarts: int = 0,
               waiting: str = "", phase: str = "Running") -> Json:
    if phase == "Pending":
        return {"phase": phase, "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}
    state: Json = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": world.stamp()}}
    if phase == "Succeeded":
        state = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    return {"phase": phase, "podIP": "10.9.1.10", "startTime": world.stamp(),
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": container, "image": "sample:v1", "imageID": "", "ready": ready,
                                   "started": started, "restartCount": restarts, "state": state, "lastState": {}}]}


def set_status(world: PageWorld, resource: r.ResourceType, name: str, status: Json) -> None:
    obj = world.registry.get(resource, name, "default").fresh()
    world.registry.update(resource, {**obj, "status": status}, "default", subresource="status")


def _events(world: PageWorld) -> None:
    told = [
        ("Node", "node-2", "NodeNotReady", "Node node-2 status is now: NodeNotReady", True),
        ("Pod", "web-6c9f7-9new1", "FailedScheduling", "0/3 nodes are available: 1 was silent, 1 was cordoned", True),
        ("Pod", "web-6c9f7-q7wzt", "Unhealthy", 'Readiness probe failed: Get "http://10.9.1.17:8080/ready": context '
         "deadline exceeded (Client.Timeout exceeded while awaiting headers)", True),
        ("Pod", "queue-7b9c6-lq2pn", "BackOff", "Back-off restarting failed container queue", True),
        ("Pod", "api-5f4dc-tt2lm", "Started", "Started container api", False),
        ("Service", "web", "EndpointsProgrammed", "2 endpoints", False),
        ("Deployment", "web", "AlertFiring", "ErrorBudgetBurn: web burns its error budget 14 times too fast", True),
    ]
    for number in range(28):
        kind, name, reason, message, warning = told[number % len(told)]
        world.event(kind, name, reason, message, warning=warning)


def losing_a_node(world: PageWorld, *, since_s: float = 14.0) -> Json:
    """A run whose node lost its power so many seconds ago, as its runner would publish it."""
    now, chance = world.clock.now(), random.Random(3)
    injected = now - timedelta(seconds=since_s)
    broken = range(int(injected.timestamp()), int(injected.timestamp()) + 3)
    recent = []
    for second in range(int(now.timestamp()) - 60, int(now.timestamp())):
        failed, late = (chance.randint(18, 34), chance.randint(4, 12)) if second in broken else (0, 0)
        recent.append([second, 100 - failed - late, failed, late, chance.uniform(1.2, 2.4),
                       chance.uniform(90, 180) if failed else chance.uniform(4, 9)])
    marks = {"detected": 1.55, "unready": 1.61, "isolated": 1.63, "acted": 3.71, "running": 9.24}
    mended = {**marks, "running": 4.31, "ready": 5.02, "in_rotation": 5.06, "restored": 5.06, "undone": 20.3,
              "alerted": 4.0}

    def disruption(run: int, ago_s: float, node: str, found: Json, outage_s: float | None, failed: int) -> Json:
        at = now - timedelta(seconds=ago_s)
        return {"run": run, "step": "lose-a-node", "fault": "NodeChaos/kill", "target": node,
                "injectedAt": format_time(at, micro=True), "marks": found, "restored": "restored" in found,
                "outage_s": outage_s, "failed": failed}

    return {
        "phase": "Running", "startedAt": format_time(now - timedelta(seconds=190), micro=True),
        "experiment": "lose-a-node", "platform": "testbed", "folder": "20261129-170312-lose-a-node",
        "run": {"number": 3, "of": 10, "phase": "observe", "step": "lose-a-node"},
        "load": [{"target": "pulse", "rate": 100, "sent": 17982, "ok": 17831, "failed": 133, "late": 18, "unsent": 0,
                  "latency": {"buckets": {"0.005": 17000, "+Inf": 17982}, "sum_s": 31.2}, "recent": recent}],
        "disruptions": [disruption(1, 150, "node-3", mended, 1.69, 41), disruption(2, 88, "node-1", mended, 1.5, 38),
                        disruption(3, since_s, "node-2", marks, None, 54)],
        "objectives": [{"text": "lose-a-node.isolation.median < 2.5s", "met": True, "measured": "1.63s"},
                       {"text": "lose-a-node.repair.median < 4s", "met": False, "measured": "4.98s"},
                       {"text": "ship-v2.requests.failed == 0", "met": None, "measured": ""}],
        "verdicts": {"passed": 1, "inconclusive": 1},
    }


def _past_run(world: PageWorld, number: int) -> None:
    name = ("crash", "lose-a-node", "rolling-update", "crash", "crash")[number]
    started = world.clock.now() - timedelta(minutes=50 * number + 11)
    folder = world.instance.runs / f"{started:%Y%m%d-%H%M%S}-{name}"
    folder.mkdir(parents=True)
    verdicts = ("passed", "objective missed", "inconclusive", "steady state not regained", "passed")
    head: Json = {"name": name, "startedAt": format_time(started), "verdict": verdicts[number]}
    if number == 2:
        head["variants"] = [{"folder": "default"}, {"folder": "surge-1"}]
        (folder / "study.json").write_text(json.dumps(head))
    else:
        (folder / "result.json").write_text(json.dumps({**head, "runs": []}))
    (folder / "report.html").write_text(f"<!doctype html><title>{name}</title><h1>Report of {name}</h1>")

