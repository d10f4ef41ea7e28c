"""NL: node failure, taints, leases (test/e2e/node/taints.go, node_lifecycle.go, test/e2e/common/node/node_lease.go,
test/e2e/cloud, test/e2e/apps/daemon_restart.go)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import DEPLOYMENTS, LEASES, NODES, PODS
from testbed.errors import ApiError, NotFound
from testbed.machines.client import RoomClient

from .kube import Kube, condition, is_ending, is_true, moment
from .manifests import POLITE, app, pod, workload
from .registry import case

Json = dict[str, Any]
LEASE_NAMESPACE = "kube-node-lease"
TAINT = {"key": "kubernetes.io/e2e-evict-taint-key", "value": "evictTaintVal", "effect": "NoExecute"}


@asynccontextmanager
async def tainted(kube: Kube, node: str) -> AsyncIterator[None]:
    """``node`` drives out what does not tolerate it, until the end of the block."""
    await _taints(kube, node, lambda taints: [*taints, TAINT])
    try:
        yield
    finally:
        await _taints(kube, node, lambda taints: [item for item in taints if item["key"] != TAINT["key"]])


async def _taints(kube: Kube, node: str, change: Callable[[list[Json]], list[Json]]) -> None:
    present = (await kube.get(NODES, node)).get("spec", {}).get("taints") or []
    await kube.patch(NODES, node, {"spec": {"taints": change(present)}})


async def placed(kube: Kube, name: str, **spec: Any) -> str:
    """A pod that runs; the name of its node."""
    await kube.create(PODS, pod(name, app(script=POLITE), terminationGracePeriodSeconds=2, **spec))
    await kube.ready(name)
    return str((await kube.pod(name))["spec"]["nodeName"])


async def stays(kube: Kube, for_s: float) -> None:
    async def look() -> bool:
        return not is_ending(await kube.pod("web"))

    await kube.holds("it stays", look, for_s)


@case("NL-01", real_s=15)
async def a_tainted_node_evicts(kube: Kube) -> None:
    async with tainted(kube, await placed(kube, "web")):
        await kube.gone(PODS, "web", 65)


@case("NL-02", real_s=75)
async def who_tolerates_the_taint_stays(kube: Kube) -> None:
    tolerates = [{"key": TAINT["key"], "value": TAINT["value"], "effect": "NoExecute"}]
    async with tainted(kube, await placed(kube, "web", tolerations=tolerates)):
        await stays(kube, 65)


@case("NL-02", "for-a-while", real_s=50)
async def a_toleration_for_a_while_is_kept_to_the_second(kube: Kube) -> None:
    tolerates = [{"key": TAINT["key"], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}]
    node = await placed(kube, "web", tolerations=tolerates)
    began = kube.now()
    async with tainted(kube, node):
        assert await kube.gone(PODS, "web", 65) - began >= 10


@case("NL-02", "taint-removed", real_s=45)
async def a_taint_that_goes_in_time_evicts_nobody(kube: Kube) -> None:
    tolerates = [{"key": TAINT["key"], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}]
    async with tainted(kube, await placed(kube, "web", tolerations=tolerates)):
        await asyncio.sleep(4)
    await stays(kube, 20)


@case("NL-05", real_s=20)
async def the_evicted_say_what_disrupted_them(kube: Kube) -> None:
    made = pod("web", app(script=POLITE), terminationGracePeriodSeconds=2)
    made["metadata"]["finalizers"] = ["example.com/test-finalizer"]
    await kube.create(PODS, made)
    await kube.ready("web")
    async with tainted(kube, (await kube.pod("web"))["spec"]["nodeName"]):
        async def deleted() -> bool:
            return is_ending(await kube.pod("web"))

        await kube.until("it is deleted", deleted, 65)
        target = condition(await kube.pod("web"), "DisruptionTarget")
        assert target and (target["status"], target["reason"]) == ("True", "DeletionByTaintManager")
        await kube.patch(PODS, "web", {"metadata": {"finalizers": None}})
        await kube.gone(PODS, "web", 60)


@case("NL-07", real_s=10)
async def the_whole_life_of_a_node_object(kube: Kube) -> None:
    name = f"fake-{kube.namespace}"
    made = await kube.create(NODES, {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"fake": kube.namespace}},
        "spec": {"unschedulable": True}, "status": {"phase": "Pending", "capacity": {"cpu": "1"}}})
    try:
        assert made["status"]["capacity"] == {"cpu": "1"}
        assert (await kube.get(NODES, name))["metadata"]["uid"] == made["metadata"]["uid"]
        patched = await kube.patch(NODES, name, {"metadata": {"labels": {"patched": "true"}}})
        assert patched["metadata"]["labels"]["patched"] == "true"
        (listed,) = await kube.list(NODES, f"fake={kube.namespace}")
        assert listed["metadata"]["name"] == name
        await kube.update(NODES, name, lambda node: node["metadata"]["labels"].update(updated="true"))
        assert (await kube.get(NODES, name))["metadata"]["labels"]["updated"] == "true"

        def reserve(node: Json) -> None:
            node["status"]["allocatable"] = {"cpu": "1"}

        updated = await kube.update(NODES, name, reserve, subresource="status")
        assert updated["status"]["allocatable"] == {"cpu": "1"}
    finally:
        await kube.delete(NODES, name)
    await kube.gone(NODES, name, 30)


async def lease(kube: Kube, node: str) -> Json:
    return await kube.client.get(LEASES, node, LEASE_NAMESPACE)


@case("NL-08", real_s=35, quick=True)
async def each_node_renews_a_lease_that_it_owns(kube: Kube) -> None:
    node = (await kube.nodes())[0]
    found = await kube.until("it has a lease", lambda: lease(kube, node), 300)
    owner = (await kube.get(NODES, node))["metadata"]
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner["uid"]}]
    assert found["spec"]["holderIdentity"] == node and found["spec"]["leaseDurationSeconds"] == 40

    async def renewed() -> bool:
        again = await lease(kube, node)
        return bool(moment(again["spec"]["renewTime"]) > moment(found["spec"]["renewTime"]))

    await kube.until("it is renewed", renewed, found["spec"]["leaseDurationSeconds"])


@case("NL-09", real_s=900)
async def the_status_is_reported_seldom(kube: Kube) -> None:
    """Renewals go on while an unchanged status is told every five minutes only."""
    node = (await kube.nodes())[0]
    renewals: set[str] = set()
    beats: list[str] = []
    end = kube.now() + 900
    while kube.now() < end:
        renewals.add((await lease(kube, node))["spec"]["renewTime"])
        ready = condition(await kube.get(NODES, node), "Ready")
        assert ready
        if ready["lastHeartbeatTime"] not in beats:
            beats.append(ready["lastHeartbeatTime"])
        await asyncio.sleep(2)
    assert len(renewals) >= 80
    gaps = [(moment(later) - moment(earlier)).total_seconds()
            for earlier, later in zip(beats[1:], beats[2:], strict=False)]
    assert len(beats) >= 3 and all(gap >= 285 for gap in gaps), beats


# --- NL-10: a fault on every node (test/e2e/cloud/gcp/reboot.go)


async def _cut(kube: Kube, node: str) -> None:
    await kube.room.set_cable(node, cut=True, deadline_s=120)


async def _power_cycle(kube: Kube, node: str) -> None:
    await kube.room.set_power(node, on=False)
    await asyncio.sleep(60)
    await kube.room.set_power(node, on=True)


def every_node_comes_back(variant: str, fault: Callable[[Kube, str], Awaitable[None]]) -> None:
    @case("NL-10", variant, real_s=300, nodes=3)
    async def body(kube: Kube) -> None:
        await kube.create(DEPLOYMENTS, workload("Deployment", "web", app(script=POLITE), replicas=3))
        await kube.ready_pods("app=web", 3)
        nodes = await kube.nodes()
        for node in nodes:
            task = asyncio.ensure_future(fault(kube, node))
            await _ready(kube, node, False, 120)
            await task
            await _ready(kube, node, True, 300)
            await kube.ready_pods("app=web", 3)
        assert await kube.nodes() == nodes


async def _ready(kube: Kube, node: str, wanted: bool, within_s: float) -> None:
    async def look() -> bool:
        return is_true(await kube.get(NODES, node), "Ready") is wanted

    await kube.until(f"node {node} is {'ready' if wanted else 'not ready'}", look, within_s)


every_node_comes_back("reboot", _power_cycle)
every_node_comes_back("network", _cut)


# --- NL-11


@case("NL-11", real_s=90)
async def what_belongs_to_a_deleted_node_goes_with_it(kube: Kube) -> None:
    name = f"gone-{kube.namespace}"
    node = await kube.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                                     "spec": {"unschedulable": True}})
    await kube.client.create(LEASES, {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40,
                 "renewTime": format_time(moment(node["metadata"]["creationTimestamp"]), micro=True)}}, LEASE_NAMESPACE)
    await kube.create(PODS, pod("web", app(script=POLITE), nodeName=name))
    await kube.delete(NODES, name)

    async def no_lease() -> bool:
        try:
            await lease(kube, name)
        except NotFound:
            return True
        return False

    await kube.until("its lease is gone", no_lease, 300)
    await kube.gone(PODS, "web", 300)


@case("NL-11", "removed", real_s=200, nodes=3, unreal="it takes a node of the cluster away")
async def a_node_that_is_taken_away_is_one_less(kube: Kube) -> None:
    await kube.create(DEPLOYMENTS, workload("Deployment", "web", app(script=POLITE), replicas=3))
    await kube.ready_pods("app=web", 3)
    await kube.world.room.remove_node("n3")
    await kube.delete(NODES, "n3")
    await kube.ready_pods("app=web", 3)

    async def no_lease() -> bool:
        with contextlib.suppress(NotFound):
            return not await lease(kube, "n3")
        return True

    await kube.until("its lease is gone", no_lease, 300)
    assert await kube.nodes() == ["n1", "n2"]


# --- NL-12


async def _kill(kube: Kube, what: str) -> None:
    """The control plane, or all agents, by SIGKILL; whoever minds them starts them again."""
    if kube.world is not None and what == "control plane":
        kube.world.api.kill()
        await asyncio.sleep(1)
        await kube.world.api.start()
    elif kube.world is not None:
        for node in kube.world.room.nodes.values():
            node.crash_agent()
    else:
        assert isinstance(kube.room, RoomClient)
        prefix = {"agents": "agent-", "control plane": "api"}[what]
        pids = [process.pid for process in (await kube.room.status()).processes if process.name.startswith(prefix)]
        assert pids, f"there are no {what} to kill"
        for number in pids:
            os.kill(number, signal.SIGKILL)


def nothing_churns(variant: str, what: str) -> None:
    @case("NL-12", variant, real_s=45, nodes=2)
    async def body(kube: Kube) -> None:
        await kube.create(DEPLOYMENTS, workload("Deployment", "web", app(script=POLITE), replicas=5))
        before = _identities(await kube.ready_pods("app=web", 5))
        await _kill(kube, what)

        await kube.until_taken("the API answers", lambda: kube.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 6}}), 60,
                               ApiError)
        after = _identities(await kube.ready_pods("app=web", 6))
        assert before <= after, "a pod was replaced, or a container of one was restarted"


def _identities(pods: list[Json]) -> set[tuple[str, int, str]]:
    return {(item["metadata"]["uid"], status["restartCount"], status["containerID"])
            for item in pods for status in item["status"]["containerStatuses"]}


nothing_churns("control-plane", "control plane")
nothing_churns("agents", "agents")
