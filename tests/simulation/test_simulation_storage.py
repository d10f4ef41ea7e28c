"""Claims and volumes with the real agents over simulated engines: data outlives pods and nodes.

StatefulSets with claims are conformance cases (``tests/conformance/cases/stateful_storage.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from testbed.api.resources import (
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from testbed.runtime.simulated import SimulatedEngine
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]
Json = dict[str, Any]


def claim(name: str, **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def pod(name: str, claim_name: str, *, node: str = "", read_only: bool = False, sub_path: str = "") -> Json:
    mount = {"name": "data", "mountPath": "/data", "readOnly": read_only, **({"subPath": sub_path} if sub_path else {})}
    spec: Json = {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sample:v1", "volumeMounts": [mount]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}],
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def named(world: World, name: str) -> Json:
    return next((item for item in world.pods() if item["metadata"]["name"] == name), {})


def ready(world: World, name: str) -> Callable[[], bool]:
    def look() -> bool:
        found = named(world, name)
        return is_true(found, "Ready") and "deletionTimestamp" not in found["metadata"]

    return look


def claims(world: World) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in world.objects(PERSISTENT_VOLUME_CLAIMS)}


def reasons(world: World, name: str) -> set[str]:
    return {item["reason"] for item in world.objects(EVENTS) if item["involvedObject"]["name"] == name}


def messages(world: World, name: str) -> str:
    return "\n".join(item["message"] for item in world.objects(EVENTS) if item["involvedObject"]["name"] == name)


async def inside(world: World, name: str, script: str) -> str:
    """Output of a shell in the pod's container; fails when it does."""
    uid = named(world, name)["metadata"]["uid"]
    container = next(item for item in world.machine.containers.values() if item.running
                     and item.spec.labels.get("io.kubernetes.pod.uid") == uid
                     and item.spec.labels.get("io.kubernetes.container.name") != "POD")
    result = await SimulatedEngine(world.machine).exec(container.id, ("sh", "-c", script), timeout_s=5)
    assert result.exit_code == 0, result
    return result.output.decode().strip()


def test_a_claim_that_was_made_without_a_default_class_gets_it_later(in_world: Run) -> None:
    async def body(world: World) -> None:
        async def be_default(value: str) -> None:
            await world.patch(STORAGE_CLASSES, "standard", {"metadata": {"annotations": {
                "storageclass.kubernetes.io/is-default-class": value}}}, None)

        await be_default("false")
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await world.create(PODS, pod("user", "data"))
        await asyncio.sleep(10)
        assert claims(world)["data"]["status"]["phase"] == "Pending" and not is_true(named(world, "user"), "Ready")
        await be_default("true")
        await world.until(ready(world, "user"), within_s=60)

    in_world(body, replicas=1)


def test_a_claim_waits_for_its_first_pod_and_goes_with_its_data(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await world.until(lambda: "WaitForFirstConsumer" in reasons(world, "data"), within_s=10)
        assert claims(world)["data"]["spec"]["storageClassName"] == "standard" and not world.machine.volumes
        await world.create(PODS, pod("user", "data"))
        await world.until(ready(world, "user"), within_s=30)
        assert {"Provisioning", "ProvisioningSucceeded"} <= reasons(world, "data")
        assert "SuccessfulAttachVolume" in reasons(world, "user")
        (volume,) = world.machine.volumes.values()
        assert volume.labels["testbed.io/instance"] == world.instance_id
        await world.delete(PERSISTENT_VOLUME_CLAIMS, "data")
        await asyncio.sleep(5)
        assert "data" in claims(world), "a claim in use is protected"
        await world.delete(PODS, "user")
        await world.until(lambda: not claims(world) and not world.objects(PERSISTENT_VOLUMES)
                          and not world.machine.volumes and not world.objects(VOLUME_ATTACHMENTS), within_s=60)

    in_world(body, replicas=1)


def test_a_pod_waits_for_the_claim_it_names_and_may_only_read_where_told(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(PODS, pod("writer", "late"))
        await world.until(lambda: 'persistentvolumeclaim "late" not found' in messages(world, "writer"), within_s=10)
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("late"))
        await world.until(ready(world, "writer"), within_s=30)
        await inside(world, "writer", "echo kept > /data/x; echo deep > /data/y")
        node = named(world, "writer")["spec"]["nodeName"]
        await world.create(PODS, pod("reader", "late", node=node, read_only=True))
        await world.until(ready(world, "reader"), within_s=30)
        assert await inside(world, "reader", "cat /data/x") == "kept"
        await inside(world, "reader", "if echo no > /data/x; then exit 1; fi")
        await world.create(PODS, pod("part", "late", node=node, sub_path="inner"))
        await world.until(ready(world, "part"), within_s=30)
        await inside(world, "part", "echo p > /data/z")
        assert await inside(world, "writer", "cat /data/inner/z") == "p"

    in_world(body, replicas=1)


def test_a_volume_of_one_node_waits_until_an_unheard_node_lets_go(in_world: Run) -> None:
    """Unknown is not dead: the pod elsewhere waits while the other's object is there, and comes with its data after."""
    async def body(world: World) -> None:
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await world.create(PODS, pod("first", "data", node="n1"))
        await world.until(ready(world, "first"), within_s=30)
        await inside(world, "first", "echo kept > /data/x")
        await world.room.set_power("n1", on=False)
        await world.create(PODS, pod("second", "data", node="n2"))
        await world.until(lambda: "Multi-Attach error" in messages(world, "second"), within_s=30)
        assert "already used by pod(s) first" in messages(world, "second")
        await asyncio.sleep(60)
        assert not is_true(named(world, "second"), "Ready")
        await world.remove_node("n1")
        await world.until(ready(world, "second"), within_s=60)
        assert await inside(world, "second", "cat /data/x") == "kept"
        assert world.objects(NODES)

    in_world(body, replicas=1)


def test_a_volume_that_is_let_go_moves_at_once(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await world.create(PODS, pod("first", "data", node="n1"))
        await world.until(ready(world, "first"), within_s=30)
        await world.create(PODS, pod("second", "data", node="n2"))
        await world.until(lambda: "Multi-Attach error" in messages(world, "second"), within_s=30)
        await world.delete(PODS, "first")
        assert await world.until(ready(world, "second"), within_s=30) < 8

    in_world(body, replicas=1)


def test_a_host_path_outside_of_the_clusters_own_directory_is_never_mounted(in_world: Run) -> None:
    async def body(world: World) -> None:
        for name, path in (("bad", "/etc"), ("good", str(world.directory / "hostpath" / "x"))):
            await world.create(PERSISTENT_VOLUMES, {
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                    "hostPath": {"path": path}}}, None)
            await world.create(PERSISTENT_VOLUME_CLAIMS, claim(name, storageClassName=name))
            await world.create(PODS, pod(name, name))
        await world.until(ready(world, "good"), within_s=30)
        await world.until(lambda: "FailedMount" in reasons(world, "bad"), within_s=30)
        assert "hostPath /etc is refused: only directories below" in messages(world, "bad")
        assert not is_true(named(world, "bad"), "Ready")
        await inside(world, "good", "echo kept > /data/x")
        assert (world.directory / "hostpath" / "x" / "x").read_text() == "kept\n"

    in_world(body, replicas=1)


def test_a_volume_that_is_not_ours_is_neither_mounted_nor_removed(in_world: Run) -> None:
    async def body(world: World) -> None:
        engine = SimulatedEngine(world.machine)
        await engine.create_volume("somebodys", labels={"owner": "somebody"})
        await world.create(PERSISTENT_VOLUMES, {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "theirs"}, "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "x",
                "persistentVolumeReclaimPolicy": "Delete",
                "csi": {"driver": "engine-volume.testbed.io", "volumeHandle": "somebodys"}}}, None)
        await world.create(PERSISTENT_VOLUME_CLAIMS, claim("theirs", storageClassName="x"))
        await world.create(PODS, pod("thief", "theirs"))
        await world.until(lambda: "the engine has no volume somebodys" in messages(world, "thief"), within_s=30)
        await world.delete(PODS, "thief")
        await world.delete(PERSISTENT_VOLUME_CLAIMS, "theirs")
        await world.until(lambda: "VolumeFailedDelete" in reasons(world, "theirs"), within_s=30)
        assert "somebodys" in world.machine.volumes

    in_world(body, replicas=1)
