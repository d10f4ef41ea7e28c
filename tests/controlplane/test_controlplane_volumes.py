"""The binder, protection and quotas of storage over the real registry in virtual time; agents make no volumes here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from controlplane_world import World, container, virtual, world

from testbed.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    RESOURCE_QUOTAS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from testbed.errors import Forbidden

Json = dict[str, Any]


async def make_claim(w: World, name: str, *, storage: str = "1Gi", **spec: Any) -> Json:
    return await w.client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, **spec}}, "default")


async def make_volume(w: World, name: str, *, storage: str = "1Gi", **spec: Any) -> Json:
    return await w.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": name, "labels": {"name": name}}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage}, "hostPath": {"path": f"/{name}"}, **spec}})


async def make_pod(w: World, name: str, *claims: str, **spec: Any) -> Json:
    return await w.client.create(PODS, {"metadata": {"name": name}, "spec": {
        "containers": [container()], **spec,
        "volumes": [{"name": item, "persistentVolumeClaim": {"claimName": item}} for item in claims]}}, "default")


async def make_class(w: World, name: str, provisioner: str, mode: str = "Immediate") -> None:
    await w.client.create(STORAGE_CLASSES, {
        "metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode})


async def claim_of(w: World, name: str) -> Json:
    return await w.client.get(PERSISTENT_VOLUME_CLAIMS, name, "default")


async def volume_of(w: World, name: str) -> Json:
    return await w.client.get(PERSISTENT_VOLUMES, name)


def claim_is(w: World, name: str, phase: str) -> Any:
    async def reached() -> bool:
        return (await claim_of(w, name))["status"]["phase"] == phase

    return reached


def volume_is(w: World, name: str, phase: str) -> Any:
    async def reached() -> bool:
        return (await volume_of(w, name))["status"]["phase"] == phase

    return reached


def gone(w: World, resource: Any, namespace: str | None = "default") -> Any:
    async def empty() -> bool:
        return not await w.items(resource, namespace)

    return empty


async def told(w: World, name: str, reason: str) -> list[str]:
    return [item["message"] for item in await w.items(EVENTS, None)
            if item["involvedObject"]["name"] == name and item["reason"] == reason]


@virtual
async def test_claims_and_volumes_find_each_other_whoever_comes_first() -> None:
    async with world(["n1"]) as w:
        await make_volume(w, "big", storage="10Gi")
        await make_volume(w, "small", storage="2Gi")
        await w.until(volume_is(w, "small", "Available"))
        await make_claim(w, "first", storageClassName="")
        await w.until(claim_is(w, "first", "Bound"))
        bound = await claim_of(w, "first")
        assert bound["spec"]["volumeName"] == "small" and bound["status"]["capacity"] == {"storage": "2Gi"}
        held = await volume_of(w, "small")
        assert held["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"] and held["status"]["phase"] == "Bound"
        await make_claim(w, "late", storage="50Gi", storageClassName="")
        await asyncio.sleep(1)
        assert (await told(w, "late", "FailedBinding"))[0].startswith("no persistent volumes available")
        await make_volume(w, "huge", storage="100Gi")
        await w.until(claim_is(w, "late", "Bound"))


@virtual
async def test_many_claims_never_share_a_volume() -> None:
    async with world(["n1"]) as w:
        for number in range(8):
            await make_claim(w, f"c{number}", storageClassName="")
        for number in range(5):
            await make_volume(w, f"v{number}")
        await asyncio.sleep(20)
        claims = await w.items(PERSISTENT_VOLUME_CLAIMS)
        used = [item["spec"]["volumeName"] for item in claims if item["status"]["phase"] == "Bound"]
        assert len(used) == len(set(used)) == 5


@virtual
async def test_a_retained_volume_is_released_and_taken_by_nobody() -> None:
    async with world(["n1"]) as w:
        await make_volume(w, "v")
        await make_claim(w, "c", storageClassName="")
        await w.until(claim_is(w, "c", "Bound"))
        await w.client.delete(PERSISTENT_VOLUMES, "v")
        await w.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", "default")
        await w.until(gone(w, PERSISTENT_VOLUMES, None))  # it was protected while it was bound
        await make_volume(w, "w")
        await make_claim(w, "d", storageClassName="")
        await w.until(claim_is(w, "d", "Bound"))
        await w.client.delete(PERSISTENT_VOLUME_CLAIMS, "d", "default")
        await w.until(volume_is(w, "w", "Released"))
        await make_claim(w, "e", storageClassName="")
        await asyncio.sleep(20)
        assert (await claim_of(w, "e"))["status"]["phase"] == "Pending"


@virtual
async def test_a_claim_is_lost_with_its_volume() -> None:
    async with world(["n1"]) as w:
        await make_volume(w, "v")
        await make_claim(w, "c", storageClassName="")
        await w.until(claim_is(w, "c", "Bound"))
        await w.client.patch(PERSISTENT_VOLUMES, "v", {"metadata": {"finalizers": None}})
        await w.client.delete(PERSISTENT_VOLUMES, "v")
        await w.until(claim_is(w, "c", "Lost"))
        assert await told(w, "c", "ClaimLost") == [
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!"]


@virtual
async def test_a_pod_waits_with_upstreams_words_and_goes_where_its_volume_is() -> None:
    async with world() as w:
        await make_class(w, "local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")
        await make_class(w, "now", "somebody.io/else")
        await make_pod(w, "p", "c")
        await asyncio.sleep(1)
        start = "0/3 nodes are available:"
        assert (await told(w, "p", "FailedScheduling"))[0] == (
            f'{start} persistentvolumeclaim "c" not found. preemption: {start} 3 Preemption is not helpful for '
            "scheduling.")
        await make_claim(w, "c", storageClassName="local")
        await asyncio.sleep(2)
        assert any("3 node(s) didn't find available persistent volumes to bind" in item
                   for item in await told(w, "p", "FailedScheduling"))
        affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}]}}
        await make_volume(w, "v", storageClassName="local", nodeAffinity=affinity)

        async def placed() -> bool:
            return (await w.client.get(PODS, "p", "default"))["spec"].get("nodeName") == "n2"

        await w.until(placed)
        assert (await claim_of(w, "c"))["spec"]["volumeName"] == "v"
        await make_claim(w, "d", storageClassName="now")
        await make_pod(w, "q", "d")
        await asyncio.sleep(1)
        assert "pod has unbound immediate PersistentVolumeClaims" in (await told(w, "q", "FailedScheduling"))[0]


@virtual
async def test_the_errand_of_a_node_that_is_not_heard_goes_to_another() -> None:
    """No agent makes volumes here, so that the errand stays open."""
    async with world(["n1", "n2"]) as w:
        await make_class(w, "now", "testbed.io/engine-volume")
        await make_claim(w, "c", storageClassName="now")

        async def chosen() -> str:
            return str(((await claim_of(w, "c"))["metadata"].get("annotations") or {}).get(
                "volume.kubernetes.io/selected-node", ""))

        await w.until(chosen)
        first = await chosen()
        w.agents[first].connected = False

        async def moved() -> bool:
            return await chosen() not in ("", first)

        await w.until(moved)


@virtual
async def test_a_claim_in_use_is_protected_until_its_pod_is_gone() -> None:
    async with world(["n1"]) as w:
        await make_volume(w, "v")
        await make_claim(w, "c", storageClassName="")
        await make_pod(w, "p", "c")
        await w.until(lambda: w.settled(1))
        await w.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", "default")
        await asyncio.sleep(10)
        assert (await claim_of(w, "c"))["metadata"]["deletionTimestamp"]
        await make_pod(w, "late", "c")
        await asyncio.sleep(1)
        assert 'persistentvolumeclaim "c" is being deleted' in (await told(w, "late", "FailedScheduling"))[0]
        await w.client.delete(PODS, "p", "default")
        await w.until(gone(w, PERSISTENT_VOLUME_CLAIMS))
        await w.until(volume_is(w, "v", "Released"))


@virtual
async def test_a_volume_of_one_node_is_attached_to_one_node_through_kills_of_the_control_plane() -> None:
    async with world(["n1", "n2"]) as w:
        await make_volume(w, "v", hostPath=None, csi={"driver": "engine-volume.testbed.io", "volumeHandle": "x"})
        await make_claim(w, "c", storageClassName="")
        await w.until(claim_is(w, "c", "Bound"))
        for name in ("n1", "n2"):
            await make_pod(w, f"on-{name}", "c", nodeSelector={"kubernetes.io/hostname": name})
        for _ in range(5):
            await asyncio.sleep(0.7)
            await w.kill_control_plane()
            await w.start_control_plane()
        (only,) = await w.items(VOLUME_ATTACHMENTS, None)
        holder = only["spec"]["nodeName"]
        other = "n2" if holder == "n1" else "n1"
        assert only["status"]["attached"] and "Multi-Attach error" in (await told(
            w, f"on-{other}", "FailedAttachVolume"))[0]
        await w.client.delete(PODS, f"on-{holder}", "default")

        async def handed_over() -> bool:
            return [item["spec"]["nodeName"] for item in await w.items(VOLUME_ATTACHMENTS, None)] == [other]

        await w.until(handed_over)


@virtual
async def test_a_quota_limits_claims_and_what_they_ask_for() -> None:
    async with world(["n1"]) as w:
        hard = {"persistentvolumeclaims": "3", "requests.storage": "10Gi",
                "standard.storageclass.storage.k8s.io/requests.storage": "4Gi"}
        await w.client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, "default")

        async def used() -> Json:
            return ((await w.client.get(RESOURCE_QUOTAS, "q", "default")).get("status") or {}).get("used") or {}

        await w.until(used)
        await make_claim(w, "a", storage="3Gi")
        assert await used() == {"persistentvolumeclaims": "1", "requests.storage": "3Gi",
                                "standard.storageclass.storage.k8s.io/requests.storage": "3Gi"}
        with pytest.raises(Forbidden, match="exceeded quota: q, requested: standard.storageclass.storage.k8s.io/"
                                            "requests.storage=2Gi"):
            await make_claim(w, "b", storage="2Gi")
        await make_claim(w, "b", storage="7Gi", storageClassName="")
        with pytest.raises(Forbidden, match="requested: requests.storage=1Gi, used: requests.storage=10Gi"):
            await make_claim(w, "c", storageClassName="")
        await w.client.delete(PERSISTENT_VOLUME_CLAIMS, "a", "default")

        async def counted_off() -> bool:
            return (await used())["requests.storage"] == "7Gi"

        await w.until(counted_off)
