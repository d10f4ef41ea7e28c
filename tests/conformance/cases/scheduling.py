"""SC: scheduling, preemption, quota (test/e2e/scheduling, test/e2e/apimachinery/resource_quota.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.meta import quantity
from testbed.api.resources import LIMIT_RANGES, NODES, PODS, PRIORITY_CLASSES, REPLICA_SETS

from .kube import Kube, condition
from .manifests import POLITE, app, pod, workload
from .registry import case

Json = dict[str, Any]
GRACE = {"terminationGracePeriodSeconds": 2}


def asking(name: str, cpu: str = "", **spec: Any) -> Json:
    """A pod that requests so much CPU."""
    fields = {"resources": {"requests": {"cpu": cpu}}} if cpu else {}
    return pod(name, app(script=POLITE, **fields), **(GRACE | spec))


async def node_of(kube: Kube, name: str, within_s: float = 60) -> str:
    """Waits until the pod is on a node."""
    async def look() -> str:
        return str((await kube.pod(name))["spec"].get("nodeName") or "")

    return str(await kube.until(f"pod {name} is scheduled", look, within_s))


async def unschedulable(kube: Kube, name: str) -> str:
    """Waits until the scheduler says that it fits nowhere, and returns its words."""
    async def look() -> str | None:
        found = condition(await kube.pod(name), "PodScheduled")
        return found["message"] if found and found["status"] == "False" and found["reason"] == "Unschedulable" else None

    message = str(await kube.until(f"pod {name} fits nowhere", look, 60))
    assert await kube.until("FailedScheduling is told", lambda: kube.events(name, "FailedScheduling"), 10)
    assert (await kube.pod(name))["status"]["phase"] == "Pending"
    return message


async def labelled(kube: Kube, node: str) -> Json:
    """Gives the node a label that is this case's alone."""
    await kube.patch(NODES, node, {"metadata": {"labels": {"case": kube.namespace}}})
    return {"case": kube.namespace}


async def unlabelled(kube: Kube, node: str) -> None:
    await kube.patch(NODES, node, {"metadata": {"labels": {"case": None}}})


@case("SC-01", real_s=15, nodes=3)
async def requests_are_a_limit(kube: Kube) -> None:
    """70 % of each node's CPU is asked for, then a pod of half of the largest."""
    largest = 0
    for node in await kube.list(NODES):
        free = int(quantity(node["status"]["allocatable"]["cpu"]) * 1000)
        largest = max(largest, free)
        name = node["metadata"]["name"]
        await kube.create(PODS, asking(f"filler-{name}", f"{free * 7 // 10}m",
                                       nodeSelector={"kubernetes.io/hostname": name}))
        await node_of(kube, f"filler-{name}")
    await kube.create(PODS, asking("late", f"{largest // 2}m"))
    assert "Insufficient cpu" in await unschedulable(kube, "late")


@case("SC-02", "selector-not-matching", real_s=10, quick=True)
async def a_selector_that_matches_no_node(kube: Kube) -> None:
    await kube.create(PODS, asking("web", nodeSelector={"case": "nobody"}))
    assert "didn't match Pod's node affinity/selector" in await unschedulable(kube, "web")


@case("SC-02", "selector-matching", real_s=10, nodes=3)
async def a_selector_that_matches(kube: Kube) -> None:
    node = (await kube.nodes())[-1]
    try:
        await kube.create(PODS, asking("web", nodeSelector=await labelled(kube, node)))
        assert await node_of(kube, "web") == node
    finally:
        await unlabelled(kube, node)


@case("SC-02", "affinity", real_s=12, nodes=3)
async def required_node_affinity(kube: Kube) -> None:
    node = (await kube.nodes())[-1]
    (key, value), = (await labelled(kube, node)).items()

    def terms(*values: str) -> Json:
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]}}}

    try:
        await kube.create(PODS, asking("there", affinity=terms(value, "else")))
        await kube.create(PODS, asking("nowhere", affinity=terms("else")))
        assert await node_of(kube, "there") == node
        await unschedulable(kube, "nowhere")
    finally:
        await unlabelled(kube, node)


@case("SC-02", "taints", real_s=12, nodes=3)
async def taints_and_tolerations(kube: Kube) -> None:
    node = (await kube.nodes())[-1]
    taint = {"key": f"example.com/{kube.namespace}", "value": "yes", "effect": "NoSchedule"}
    selector = await labelled(kube, node)
    try:
        await kube.update(NODES, node, lambda obj: obj["spec"].setdefault("taints", []).append(taint))
        toleration = {"key": taint["key"], "operator": "Equal", "value": "yes", "effect": "NoSchedule"}
        await kube.create(PODS, asking("tolerant", nodeSelector=selector, tolerations=[toleration]))
        await kube.create(PODS, asking("delicate", nodeSelector=selector))
        assert await node_of(kube, "tolerant") == node
        assert "untolerated taint" in await unschedulable(kube, "delicate")
    finally:
        await kube.update(NODES, node, lambda obj: obj["spec"].update(
            taints=[item for item in obj["spec"].get("taints", []) if item["key"] != taint["key"]]))
        await unlabelled(kube, node)


@case("SC-03", real_s=20, nodes=3)
async def four_pods_are_spread_over_two_nodes(kube: Kube) -> None:
    chosen = (await kube.nodes())[:2]
    key = f"spread-{kube.namespace}"
    try:
        for node in chosen:
            await kube.patch(NODES, node, {"metadata": {"labels": {key: node}}})
        terms = {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": chosen}]}]}
        constraint = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
                      "labelSelector": {"matchLabels": {"app": "web"}}}
        await kube.create(REPLICA_SETS, workload(
            "ReplicaSet", "web", app(script=POLITE), replicas=4, pod_spec=GRACE | {
                "topologySpreadConstraints": [constraint],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}))
        found = await kube.ready_pods("app=web", 4)
        places = [item["spec"]["nodeName"] for item in found]
        assert [places.count(node) for node in chosen] == [2, 2]
    finally:
        for node in chosen:
            await kube.patch(NODES, node, {"metadata": {"labels": {key: None}}})


@case("SC-04", real_s=20)
async def gates_hold_pods_back(kube: Kube) -> None:
    gates = [{"name": "example.com/foo"}, {"name": "example.com/bar"}]
    await kube.create(REPLICA_SETS, workload("ReplicaSet", "web", app(script=POLITE), replicas=2,
                                             pod_spec=GRACE | {"schedulingGates": gates}))

    async def gated() -> list[Json] | None:
        found = await kube.list(PODS, "app=web")
        told = [condition(item, "PodScheduled") for item in found]
        return found if len(found) == 2 and all(
            item and item.get("reason") == "SchedulingGated" for item in told) else None

    found = await kube.until("both pods are gated", gated, 60)
    first, second = (item["metadata"]["name"] for item in found)
    await kube.patch(PODS, first, {"spec": {"schedulingGates": None}})
    await node_of(kube, first)
    await kube.patch(PODS, second, {"spec": {"schedulingGates": [{"name": "example.com/bar"}]}})

    async def held() -> bool:
        obj = await kube.pod(second)
        told = condition(obj, "PodScheduled") or {}
        return told.get("reason") == "SchedulingGated" and not obj["spec"].get("nodeName")

    await kube.holds("one gate is enough", held, 3)
    await kube.patch(PODS, second, {"spec": {"schedulingGates": None}})
    await kube.ready_pods("app=web", 2)


@case("SC-06", "condition", real_s=25)
async def a_preempted_pod_says_so(kube: Kube) -> None:
    node, resource = await _scarce(kube)
    try:
        await _priorities(kube, low=1, high=1000)
        victim = _scarce_pod("victim", "low", kube, resource)
        victim["metadata"]["finalizers"] = ["example.com/held"]
        await kube.create(PODS, victim)
        await kube.ready("victim")
        await kube.create(PODS, _scarce_pod("preemptor", "high", kube, resource))

        async def told() -> Json | None:
            return condition(await kube.pod("victim"), "DisruptionTarget")

        found = await kube.until("the victim says that it was preempted", told, 60)
        assert (found["status"], found["reason"]) == ("True", "PreemptionByScheduler")
        await kube.patch(PODS, "victim", {"metadata": {"finalizers": None}})
        assert await node_of(kube, "preemptor") == node
    finally:
        await _plenty(kube, node, resource)


@case("SC-06", "path", real_s=50)
async def cascaded_priorities_settle(kube: Kube) -> None:
    """Three ReplicaSets of rising priority come one after the other; the highest run in the end, the lowest do not."""
    node, resource = await _scarce(kube, amount=4)
    try:
        await _priorities(kube, p1=1, p2=2, p3=3)
        for name, replicas in (("p1", 4), ("p2", 3), ("p3", 2)):
            template = _scarce_pod(name, name, kube, resource)["spec"]
            made = workload("ReplicaSet", name, *template.pop("containers"), replicas=replicas, pod_spec=template)
            await kube.create(REPLICA_SETS, made)
            await kube.until(f"{replicas} pods of {name} run", lambda n=name, r=replicas: _running(kube, n, r), 120)
        for name, replicas in (("p3", 2), ("p2", 2), ("p1", 0)):
            await kube.until(f"{replicas} pods of {name} run", lambda n=name, r=replicas: _running(kube, n, r), 120)
    finally:
        await kube.kill_pods()
        await _plenty(kube, node, resource)


async def _running(kube: Kube, name: str, replicas: int) -> bool:
    pods = [item for item in await kube.list(PODS, f"app={name}") if not item["metadata"].get("deletionTimestamp")]
    return sum(item.get("status", {}).get("phase") == "Running" for item in pods) == replicas


async def _scarce(kube: Kube, amount: int = 1) -> tuple[str, str]:
    """An extended resource of which a node has so many (as upstream's test has it)."""
    node = (await kube.nodes())[0]
    resource = f"example.com/{kube.namespace}"
    told = {resource: str(amount)}
    await kube.patch(NODES, node, {"status": {"capacity": told, "allocatable": told}}, subresource="status")
    return node, resource


async def _plenty(kube: Kube, node: str, resource: str) -> None:
    gone = {resource: None}
    await kube.patch(NODES, node, {"status": {"capacity": gone, "allocatable": gone}}, subresource="status")
    for item in await kube.list(PRIORITY_CLASSES):
        if item["metadata"]["name"].endswith(kube.namespace):
            await kube.delete(PRIORITY_CLASSES, item["metadata"]["name"])


async def _priorities(kube: Kube, **values: int) -> None:
    for name, value in values.items():
        await kube.create(PRIORITY_CLASSES, {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": value,
            "metadata": {"name": f"{name}-{kube.namespace}"}})


def _scarce_pod(name: str, priority: str, kube: Kube, resource: str) -> Json:
    ask = {resource: "1"}
    return pod(name, app(script=POLITE, resources={"requests": ask, "limits": ask}), **GRACE,
               priorityClassName=f"{priority}-{kube.namespace}")


@case("SC-07", "required", real_s=12, nodes=3)
async def pods_that_avoid_each_other(kube: Kube) -> None:
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "first"}}, "topologyKey": "kubernetes.io/hostname"}]}}
    await kube.create(PODS, asking("first"))
    node = await node_of(kube, "first")
    there = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    wish = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": there}]}}
    await kube.create(PODS, asking("second", affinity=apart | wish))
    assert await node_of(kube, "second") != node


@case("SC-07", "tolerate", real_s=15, nodes=3)
async def a_pod_prefers_the_node_it_tolerates(kube: Kube) -> None:
    """All nodes but one have ten PreferNoSchedule taints; the pod tolerates the last one's."""
    nodes = await kube.nodes()
    keys = {node: [f"example.com/{kube.namespace}-{node}-{number}" for number in range(10)] for node in nodes}
    try:
        for node in nodes:
            taints = [{"key": key, "value": "x", "effect": "PreferNoSchedule"} for key in keys[node]]
            await kube.update(NODES, node, lambda obj, more=taints: obj["spec"].setdefault("taints", []).extend(more))
        tolerated = [{"key": key, "operator": "Exists", "effect": "PreferNoSchedule"} for key in keys[nodes[-1]]]
        await kube.create(PODS, asking("web", tolerations=tolerated))
        assert await node_of(kube, "web") == nodes[-1]
    finally:
        for node in nodes:
            await kube.update(NODES, node, lambda obj: obj["spec"].update(taints=[
                item for item in obj["spec"].get("taints", []) if kube.namespace not in item["key"]]))


@case("SC-08", real_s=15)
async def a_limit_range_fills_in_and_refuses(kube: Kube) -> None:
    limits = {"type": "Container", "min": {"cpu": "50m", "memory": "100Mi"}, "max": {"cpu": "500m", "memory": "500Mi"},
              "default": {"cpu": "500m", "memory": "500Mi"}, "defaultRequest": {"cpu": "100m", "memory": "200Mi"}}
    await kube.create(LIMIT_RANGES, {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
                                     "spec": {"limits": [limits]}})

    def wanting(name: str, **requests: str) -> Json:
        fields = {"resources": {"requests": requests}} if requests else {}
        return pod(name, app(script=POLITE, **fields), **GRACE)

    made = await kube.create(PODS, wanting("plain"))
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}}
    partly = await kube.create(PODS, wanting("partly", cpu="300m"))
    assert partly["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "300m", "memory": "200Mi"}
    for name, cpu, code in (("small", "10m", 403), ("large", "600m", 422)):
        assert (await kube.refused(kube.create(PODS, wanting(name, cpu=cpu)))).code == code
    await kube.patch(LIMIT_RANGES, "limits", {"spec": {"limits": [limits | {"min": {"cpu": "9m", "memory": "100Mi"}}]}})
    await kube.create(PODS, wanting("small", cpu="10m"))
    await kube.delete(LIMIT_RANGES, "limits")
    await kube.create(PODS, wanting("large", cpu="600m"))
