"""DS: DaemonSets (test/e2e/apps/daemon_set.go)."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from testbed.client.protocol import PatchType

from .kube import Kube, is_true
from .manifests import POLITE, app, workload
from .registry import case
from .subresources import status_is_a_subresource

Json = dict[str, Any]
COLOR = "daemonset-color"


def daemon_set(*, pod_spec: Json | None = None, script: str = POLITE, **spec: Any) -> Json:
    made = workload("DaemonSet", "ds", app(script=script, env={"VERSION": "one"}),
                    pod_spec={"terminationGracePeriodSeconds": 2} | (pod_spec or {}), **spec)
    made["metadata"]["labels"] = {"app": "ds"}
    return made


async def pods(kube: Kube) -> list[Json]:
    return [pod for pod in await kube.list(PODS, "app=ds") if not pod["metadata"].get("deletionTimestamp")]


async def runs_on(kube: Kube, *nodes: str, within_s: float = 300) -> None:
    """Waits until exactly these nodes have one ready pod each."""
    async def look() -> bool:
        found = await pods(kube)
        places = sorted(pod["spec"].get("nodeName", "") for pod in found)
        return places == sorted(nodes) and all(is_true(pod, "Ready") for pod in found)

    await kube.until(f"one ready pod on each of {', '.join(nodes) or 'no node'}", look, within_s)


async def set_version(kube: Kube, value: str) -> None:
    container = {"name": "app", "env": [{"name": "VERSION", "value": value}]}
    await kube.patch(DAEMON_SETS, "ds", {"spec": {"template": {"spec": {"containers": [container]}}}},
                     patch_type=PatchType.STRATEGIC)


def version(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["env"][0]["value"])


@case("DS-01", real_s=20, nodes=3)
async def one_pod_per_node_and_a_deleted_one_comes_back(kube: Kube) -> None:
    nodes = await kube.nodes()
    await kube.create(DAEMON_SETS, daemon_set())
    await runs_on(kube, *nodes)
    victim = (await pods(kube))[0]["metadata"]
    await kube.delete(PODS, victim["name"])
    await kube.gone(PODS, victim["name"], 60)
    await runs_on(kube, *nodes)


@case("DS-02", "selector", real_s=30, nodes=3)
async def a_node_selector_is_followed(kube: Kube) -> None:
    """Another namespace's cases do not use this label's values."""
    await _follows_labels(kube, {"nodeSelector": {COLOR: kube.namespace}})


@case("DS-02", "affinity", real_s=30, nodes=3)
async def node_affinity_is_followed(kube: Kube) -> None:
    term = {"matchExpressions": [{"key": COLOR, "operator": "In", "values": [kube.namespace]}]}
    await _follows_labels(kube, {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})


async def _follows_labels(kube: Kube, placing: Json) -> None:
    node = (await kube.nodes())[0]
    await kube.create(DAEMON_SETS, daemon_set(pod_spec=placing))

    async def seen() -> bool:
        return bool((await kube.get(DAEMON_SETS, "ds")).get("status", {}).get("observedGeneration"))

    await kube.until("the controller has seen it", seen, 60)
    await runs_on(kube)
    try:
        await kube.patch(NODES, node, {"metadata": {"labels": {COLOR: kube.namespace}}})
        await runs_on(kube, node)
        await kube.patch(NODES, node, {"metadata": {"labels": {COLOR: f"{kube.namespace}-green"}}})
        await runs_on(kube)
        green = f"{kube.namespace}-green"
        await kube.patch(DAEMON_SETS, "ds", {"spec": {"updateStrategy": {"type": "RollingUpdate"}, "template": {
            "spec": {"affinity": None, "nodeSelector": {COLOR: green}}}}})
        await runs_on(kube, node)
    finally:
        await kube.patch(NODES, node, {"metadata": {"labels": {COLOR: None}}})


@case("DS-03", real_s=25, nodes=3)
async def a_failed_daemon_pod_is_made_anew(kube: Kube) -> None:
    nodes = await kube.nodes()
    await kube.create(DAEMON_SETS, daemon_set())
    await runs_on(kube, *nodes)
    victim = (await pods(kube))[0]["metadata"]["name"]
    await kube.patch(PODS, victim, {"status": {"phase": "Failed"}}, subresource="status")
    await kube.gone(PODS, victim, 60)
    await runs_on(kube, *nodes)
    assert await kube.events("ds", "FailedDaemonPod")


@case("DS-04", real_s=20, nodes=3)
async def on_delete_changes_no_pod(kube: Kube) -> None:
    nodes = await kube.nodes()
    await kube.create(DAEMON_SETS, daemon_set(updateStrategy={"type": "OnDelete"}))
    await runs_on(kube, *nodes)
    before = {pod["metadata"]["uid"] for pod in await pods(kube)}
    await set_version(kube, "two")

    async def recorded() -> bool:
        return sorted(found["revision"] for found in await kube.list(CONTROLLER_REVISIONS)) == [1, 2]

    await kube.until("the new revision is recorded", recorded, 60)

    async def untouched() -> bool:
        return {pod["metadata"]["uid"] for pod in await pods(kube)} == before

    await kube.holds("the old pods stay", untouched, 5)


@case("DS-05", real_s=45, nodes=3)
async def a_rolling_update_costs_one_pod_at_a_time(kube: Kube) -> None:
    nodes = await kube.nodes()
    await kube.create(DAEMON_SETS, daemon_set())
    await runs_on(kube, *nodes)
    await set_version(kube, "two")

    async def look() -> bool:
        found = await pods(kube)
        ready = [pod for pod in found if is_true(pod, "Ready")]
        assert len(ready) >= len(nodes) - 1, "more than one pod is unavailable"
        return len(ready) == len(nodes) and {version(pod) for pod in ready} == {"two"}

    await kube.until("all pods are new", look, 300)


@case("DS-07", real_s=150, nodes=3)
async def a_surge_keeps_a_pod_available_on_every_node(kube: Kube) -> None:
    """maxSurge 20 %, maxUnavailable 0, minReadySeconds 10, a preStop of 15 s; pods are deleted meanwhile."""
    nodes = await kube.nodes()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "20%", "maxUnavailable": 0}}
    made = daemon_set(updateStrategy=strategy, minReadySeconds=10, pod_spec={"terminationGracePeriodSeconds": 30})
    made["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "15"]}}}
    await kube.create(DAEMON_SETS, made)
    await runs_on(kube, *nodes)
    await asyncio.sleep(12)
    together: dict[str, float] = {}  # node: since when two pods are there
    overlapped: set[str] = set()
    await set_version(kube, "two")
    victim: Json = {}  # a new pod that somebody deletes in the middle

    async def look() -> bool:
        nonlocal victim
        found = await kube.list(PODS, "app=ds")
        for node in nodes:
            there = [pod for pod in found if pod["spec"].get("nodeName") == node]
            serving = [pod for pod in there if is_true(pod, "Ready")]
            excused = victim and victim["spec"]["nodeName"] == node
            assert serving or excused, f"no pod is available on {node}"
            if len(there) < 2:
                together.pop(node, None)
            else:
                overlapped.add(node)
                assert kube.now() - together.setdefault(node, kube.now()) <= 60, "they overlap too long"
        done = [pod for pod in found if version(pod) == "two" and is_true(pod, "Ready")]
        if len(done) == 1 and not victim:
            victim = done[0]
            await kube.delete(PODS, victim["metadata"]["name"])
        return len(found) == len(done) == len(nodes)

    await kube.until("all pods are new", look, 300)
    assert victim and overlapped == set(nodes)


@case("DS-08", "collection", real_s=20, nodes=3)
async def listed_and_deleted(kube: Kube) -> None:
    await kube.create(DAEMON_SETS, daemon_set())
    await runs_on(kube, *await kube.nodes())
    (found,) = await kube.list(DAEMON_SETS, "app=ds")
    await kube.delete(DAEMON_SETS, found["metadata"]["name"])

    async def all_gone() -> bool:
        return not [*await kube.list(DAEMON_SETS), *await kube.list(PODS)]

    await kube.until("the DaemonSet and its pods are gone", all_gone, 60)


@case("DS-08", "status", real_s=20, nodes=3)
async def its_status_is_a_subresource(kube: Kube) -> None:
    await kube.create(DAEMON_SETS, daemon_set())
    await runs_on(kube, *await kube.nodes())
    await status_is_a_subresource(kube, DAEMON_SETS, "ds")
