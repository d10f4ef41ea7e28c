"""Placement over the real registry: what stays Pending and why, gates, preemption. SC-01 to SC-07."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from controlplane_world import World, condition_of, virtual, world

from testbed.api.resources import DISRUPTION_BUDGETS, EVENTS, NODES, PODS, PRIORITY_CLASSES, REPLICA_SETS
from testbed.errors import Conflict

Json = dict[str, Any]


def pod_json(name: str, cpu: str = "100m", labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {"metadata": {"name": name, "labels": labels or {"app": name}}, "spec": {
        "containers": [{"name": "a", "image": "sample:v1", "resources": {"requests": {"cpu": cpu}}}], **spec}}


async def placed(w: World, name: str) -> bool:
    return bool((await w.client.get(PODS, name, "default"))["spec"].get("nodeName"))


async def refused(w: World, name: str) -> str:
    async def told() -> bool:
        return "FailedScheduling" in await w.event_reasons(name)

    await w.until(told)
    pod = await w.client.get(PODS, name, "default")
    condition = condition_of(pod, "PodScheduled")
    assert (condition["status"], condition["reason"], pod["spec"].get("nodeName")) == ("False", "Unschedulable", None)
    return str(condition["message"])


async def classes(w: World, **values: int) -> None:
    for name, value in values.items():
        await w.client.create(PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value})


@virtual
async def test_sc_01_resource_limits_of_pods_that_are_allowed_to_run() -> None:
    async with world(["n1", "n2"]) as w:
        for number in range(2):
            await w.client.create(PODS, pod_json(f"filler-{number}", "1400m"), "default")
            await w.until(lambda number=number: placed(w, f"filler-{number}"))
        await w.client.create(PODS, pod_json("more", "1"), "default")
        assert await refused(w, "more") == (
            "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption "
            "victims found for incoming pod.")
        await w.client.delete(PODS, "filler-0", "default")
        assert await w.until(lambda: placed(w, "more")) < 1


@virtual
async def test_sc_02_a_pod_waits_until_a_node_has_its_label() -> None:
    async with world(["n1", "n2"]) as w:
        await w.client.create(PODS, pod_json("picky", nodeSelector={"disk": "ssd"}), "default")
        assert (await refused(w, "picky")).startswith(
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")
        await w.client.patch(NODES, "n2", {"metadata": {"labels": {"disk": "ssd"}}})
        assert await w.until(lambda: placed(w, "picky")) < 1
        assert len(await w.pods(on="n2")) == 1


@virtual
async def test_sc_03_four_pods_with_max_skew_1_are_two_and_two() -> None:
    async with world(["n1", "n2"]) as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        await w.change_deployment({"spec": {"template": {"spec": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["pod-template-hash"]}]}}}})
        await w.until(w.complete)
        await w.until(lambda: w.settled(4))
        assert [len(await w.pods(on=name)) for name in ("n1", "n2")] == [2, 2]


@virtual
async def test_sc_04_gates_hold_a_pod_until_the_last_is_gone() -> None:
    async with world(["n1"]) as w:
        made = await w.client.create(PODS, pod_json("held", schedulingGates=[{"name": "a"}, {"name": "b"}]), "default")
        assert condition_of(made, "PodScheduled")["reason"] == "SchedulingGated"
        with pytest.raises(Conflict, match="non-empty .spec.schedulingGates"):
            await w.client.create_subresource(PODS, "held", "binding", {"target": {"kind": "Node", "name": "n1"}},
                                              "default")
        await w.client.patch(PODS, "held", {"spec": {"schedulingGates": [{"name": "b"}]}}, "default")
        await w.client.create(PODS, pod_json("free"), "default")
        await w.until(lambda: placed(w, "free"))
        assert not await placed(w, "held")
        await w.client.patch(PODS, "held", {"spec": {"schedulingGates": []}}, "default")
        assert await w.until(lambda: placed(w, "held")) < 1


@virtual
async def test_sc_06_the_preempted_pod_is_marked_and_goes_gracefully() -> None:
    async with world(["n1", "n2"]) as w:
        await classes(w, low=1, high=1000)
        for number in range(2):
            await w.client.create(PODS, pod_json(f"low-{number}", "1500m", priorityClassName="low"), "default")
            await w.until(lambda number=number: placed(w, f"low-{number}"))
        await w.client.create(DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": {
            "minAvailable": 1, "selector": {"matchLabels": {"app": "low-0"}}}}, "default")
        victims: list[Json] = []
        await w.observe(PODS, lambda old, new: victims.append(old) if new is None and old is not None else None)
        vip = await w.client.create(PODS, pod_json("vip", "1", priorityClassName="high"), "default")
        await w.until(lambda: placed(w, "vip"))
        [victim] = victims
        assert victim["metadata"]["name"] == "low-1"  # the one whose budget allows it
        assert condition_of(victim, "DisruptionTarget")["reason"] == "PreemptionByScheduler"
        [event] = [item for item in await w.items(EVENTS) if item["reason"] == "Preempted"]
        assert event["involvedObject"]["name"] == "low-1"
        assert event["message"].startswith(f"Preempted by pod {vip['metadata']['uid']} on node ")
        vip = await w.client.get(PODS, "vip", "default")
        assert vip["status"]["nominatedNodeName"] == vip["spec"]["nodeName"] == victim["spec"]["nodeName"]


@virtual
async def test_sc_06_replica_sets_of_rising_priority_push_each_other_out_and_settle() -> None:
    async with world(["n1"]) as w:
        await classes(w, p1=1, p2=2, p3=3)
        for number, replicas in ((1, 5), (2, 4), (3, 4)):  # 13 wanted, and room for 10 of them
            name = f"rs-{number}"
            await w.client.create(REPLICA_SETS, {"metadata": {"name": name}, "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod_json(
                    name, "200m", priorityClassName=f"p{number}")["spec"]}}}, "default")

        async def running(name: str) -> int:
            return sum(pod["metadata"]["labels"]["app"] == name for pod in await w.ready_pods())

        async def ranked() -> bool:
            return [await running(f"rs-{number}") for number in (1, 2, 3)] == [2, 4, 4]

        await w.until(ranked)
        evicted = (await w.event_reasons()).count("Preempted")
        await asyncio.sleep(15)
        assert await ranked()
        assert (await w.event_reasons()).count("Preempted") == evicted  # it is over


@virtual
async def test_a_class_that_never_preempts_waits_first_in_the_queue() -> None:
    async with world(["n1"]) as w:
        await classes(w, low=1)
        await w.client.create(PRIORITY_CLASSES, {"metadata": {"name": "polite"}, "value": 1000,
                                                 "preemptionPolicy": "Never"})
        await w.client.create(PODS, pod_json("low", "1500m", priorityClassName="low"), "default")
        await w.until(lambda: placed(w, "low"))
        await w.client.create(PODS, pod_json("next-low", "1500m", priorityClassName="low"), "default")
        await w.client.create(PODS, pod_json("polite", "1500m", priorityClassName="polite"), "default")
        assert (await refused(w, "polite")).endswith("preemption: not eligible due to preemptionPolicy=Never.")
        await w.client.delete(PODS, "low", "default")
        await w.until(lambda: placed(w, "polite"))
        assert not await placed(w, "next-low")


@virtual
async def test_sc_07_anti_affinity_across_nodes_and_a_new_node_for_the_one_too_many() -> None:
    async with world(["n1", "n2"]) as w:
        alone = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "solo"}}, "topologyKey": "kubernetes.io/hostname"}]}}}
        for number in range(3):
            await w.client.create(PODS, pod_json(f"solo-{number}", labels={"app": "solo"}, **alone), "default")

        async def two_placed() -> bool:
            return sum([await placed(w, f"solo-{number}") for number in range(3)]) == 2

        await w.until(two_placed)
        [waiting] = [f"solo-{number}" for number in range(3) if not await placed(w, f"solo-{number}")]
        assert "2 node(s) didn't match pod anti-affinity rules" in await refused(w, waiting)
        await w.add_node("n3")
        assert await w.until(lambda: placed(w, waiting)) < 1
