"""Deployments from end to end over the API: rollout, rollback, pause, scale, stall, history, foreground deletion."""

from __future__ import annotations

import asyncio

from controlplane_world import condition_of, image_of, is_ready, virtual, world

from testbed.api.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, REPLICA_SETS
from testbed.client.protocol import PatchType


@virtual
async def test_a_new_deployment_gets_its_pods_spread_over_nodes() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=6)
        await w.until(w.complete)
        pods = await w.pods()
        by_node = {name: sum(pod["spec"]["nodeName"] == name for pod in pods) for name in w.agents}
        assert by_node == {"n1": 2, "n2": 2, "n3": 2}
        deployment = await w.deployment()
        assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        assert condition_of(deployment, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert condition_of(deployment, "Available")["status"] == "True"
        [replica_set] = await w.replica_sets()
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert replica_set["metadata"]["name"] == f"web-{digest}"
        assert replica_set["metadata"]["annotations"]["team"] == "blue"
        assert all(pod["metadata"]["labels"]["pod-template-hash"] == digest for pod in pods)
        assert {"ScalingReplicaSet"} == set(await w.event_reasons("web"))
        assert (await w.event_reasons(replica_set["metadata"]["name"])).count("SuccessfulCreate") == 6
        assert "Scheduled" in await w.event_reasons(pods[0]["metadata"]["name"])


@virtual
async def test_a_rolling_update_keeps_its_bounds_all_the_way() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        low, high = 4, 4

        def watch(old: object, new: object) -> None:
            nonlocal low, high
            pods = [item.value for item in w.registry.list(PODS).items]
            alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
            low = min(low, sum(is_ready(pod) for pod in alive))
            high = max(high, len(alive))

        await w.observe(PODS, watch)
        await w.ship("sample:v2")
        await w.until(w.complete)
        assert (low, high) == (3, 5)  # 25 % of 4: one may lack, one may be too many
        assert {image_of(pod) for pod in await w.pods(active=True)} == {"sample:v2"}


@virtual
async def test_rows_41_and_44_a_broken_revision_stalls_without_an_outage_and_is_rolled_back() -> None:
    """reliability 41 and 44: a bad revision never uses up availability; the way back touches only the new pods."""
    async with world(healthy=lambda pod: image_of(pod) != "sample:broken") as w:
        await w.apply_deployment(replicas=4, progressDeadlineSeconds=10)
        await w.until(w.complete)
        before = {pod["metadata"]["uid"] for pod in await w.pods()}
        template = (await w.deployment())["spec"]["template"]
        await w.ship("sample:broken")

        async def stalled() -> bool:
            return condition_of(await w.deployment(), "Progressing").get("reason") == "ProgressDeadlineExceeded"

        await w.until(stalled)
        assert len(await w.ready_pods()) == 3
        assert condition_of(await w.deployment(), "Available")["status"] == "True"
        survivors = {pod["metadata"]["uid"] for pod in await w.ready_pods()}
        assert survivors < before
        undo = [{"op": "replace", "path": "/spec/template", "value": template}]  # as `kubectl rollout undo` sends it
        await w.client.patch(DEPLOYMENTS, "web", undo, "default", patch_type=PatchType.JSON)
        await w.until(w.complete)
        assert survivors <= {pod["metadata"]["uid"] for pod in await w.pods()}
        assert (await w.deployment())["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert condition_of(await w.deployment(), "Progressing")["reason"] == "NewReplicaSetAvailable"


@virtual
async def test_row_41_a_fixed_revision_heals_a_stuck_rollout_unaided() -> None:
    """reliability 41."""
    async with world(healthy=lambda pod: image_of(pod) != "sample:broken") as w:
        await w.apply_deployment(replicas=4)
        await w.until(w.complete)
        await w.ship("sample:broken")
        await asyncio.sleep(5)
        await w.ship("sample:v2")
        await w.until(w.complete)
        assert {image_of(pod) for pod in await w.ready_pods()} == {"sample:v2"}


@virtual
async def test_row_42_all_old_pods_unready_do_not_block_the_mending_revision() -> None:
    """reliability 42."""
    async with world(healthy=lambda pod: image_of(pod) != "sample:broken") as w:
        await w.apply_deployment(replicas=3, image="sample:broken")
        await asyncio.sleep(3)
        assert await w.ready_pods() == []
        await w.ship("sample:v2")
        await w.until(w.complete)


@virtual
async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=2)
        await w.until(w.complete)
        await w.change_deployment({"spec": {"paused": True}})
        await w.ship("sample:v2")
        await w.change_deployment({"spec": {"replicas": 4}})

        async def four_ready() -> bool:
            return len(await w.ready_pods()) == 4

        await w.until(four_ready)
        assert {image_of(pod) for pod in await w.pods()} == {"sample:v1"}
        assert condition_of(await w.deployment(), "Progressing")["reason"] == "DeploymentPaused"
        await w.change_deployment({"spec": {"paused": None}})
        await w.until(w.complete)
        assert {image_of(pod) for pod in await w.pods(active=True)} == {"sample:v2"}


@virtual
async def test_history_is_cut_to_its_limit() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=1, revisionHistoryLimit=1)
        for image in ("sample:v1", "sample:v2", "sample:v3", "sample:v4"):
            await w.ship(image)
            await w.until(w.complete)

        async def trimmed() -> bool:
            return len(await w.replica_sets()) == 2

        await w.until(trimmed)


@virtual
async def test_min_ready_seconds_hold_the_rollout() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=1, minReadySeconds=5)
        took_s = await w.until(w.complete)
        assert 4 <= took_s < 8  # times of conditions are whole seconds


@virtual
async def test_foreground_deletion_removes_the_owner_last() -> None:
    async with world() as w:
        await w.apply_deployment(replicas=2)
        await w.until(w.complete)
        order: list[str] = []
        await w.observe(PODS, lambda old, new: order.append("pod") if new is None else None)
        await w.observe(REPLICA_SETS, lambda old, new: order.append("set") if new is None else None)
        await w.observe(DEPLOYMENTS, lambda old, new: order.append("deployment") if new is None else None)
        await w.client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")

        async def gone() -> bool:
            return "deployment" in order

        await w.until(gone)
        assert order == ["pod", "pod", "set", "deployment"]


@virtual
async def test_any_owner_in_foreground_deletion_goes_once_its_dependents_are_gone() -> None:
    async with world() as w:
        owner = await w.client.create(CONFIG_MAPS, {"metadata": {"name": "owner"}}, "default")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
                     "blockOwnerDeletion": True}
        for name in ("one", "two"):
            await w.client.create(
                CONFIG_MAPS, {"metadata": {"name": name, "ownerReferences": [reference]}}, "default"
            )
        await w.client.delete(CONFIG_MAPS, "owner", "default", propagation="Foreground")

        async def empty() -> bool:
            return not await w.items(CONFIG_MAPS)

        await w.until(empty)
