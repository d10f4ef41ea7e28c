"""SS-01 and SS-12: StatefulSets with volume claim templates (test/e2e/apps/statefulset.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SERVICES, STATEFUL_SETS

from .kube import Kube, is_ending
from .manifests import POLITE, app, service, workload
from .registry import case

Json = dict[str, Any]
PLACE = "/data"


def with_storage(replicas: int, **spec: Any) -> Json:
    container = app(script=POLITE, volumeMounts=[{"name": "data", "mountPath": PLACE}])
    claim = {"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    return workload("StatefulSet", "db", container, replicas=replicas, serviceName="db",
                    pod_spec={"terminationGracePeriodSeconds": 2}, volumeClaimTemplates=[claim], **spec)


async def claims(kube: Kube) -> list[str]:
    return sorted(claim["metadata"]["name"] for claim in await kube.list(PERSISTENT_VOLUME_CLAIMS)
                  if not is_ending(claim))


async def volumes(kube: Kube) -> list[Json]:
    return [volume for volume in await kube.list(PERSISTENT_VOLUMES)
            if volume["spec"].get("claimRef", {}).get("namespace") == kube.namespace]


async def claimed(kube: Kube, *names: str) -> None:
    async def look() -> bool:
        return await claims(kube) == list(names)

    await kube.until(f"the claims are {names}", look, 120)


@case("SS-01", real_s=60, nodes=3)
async def identity_and_data_survive_a_restart_of_all_pods(kube: Kube) -> None:
    await kube.create(SERVICES, service("db", clusterIP="None"))
    await kube.create(STATEFUL_SETS, with_storage(3))
    for pod in await kube.ready_pods("app=db", 3):
        name = pod["metadata"]["name"]
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == name.removeprefix("db-")
        assert (await kube.run(name, "hostname")).output.decode().strip() == name
        await kube.run(name, "sh", "-c", f"echo {name} > {PLACE}/name")
    before = {pod["metadata"]["uid"] for pod in await kube.list(PODS, "app=db")}
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 0}})
    await kube.ready_pods("app=db", 0, 120)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 3}})
    after = await kube.ready_pods("app=db", 3)
    assert not before & {pod["metadata"]["uid"] for pod in after}
    for name in ("db-0", "db-1", "db-2"):
        assert (await kube.read(name, f"{PLACE}/name")).strip() == name
    assert len(await volumes(kube)) == 3
    await kube.delete(STATEFUL_SETS, "db")
    await kube.ready_pods("app=db", 0, 120)
    await claimed(kube, "data-db-0", "data-db-1", "data-db-2")


@case("SS-12", "when-deleted", real_s=45)
async def claims_go_with_the_set(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, with_storage(
        3, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"}))
    await kube.ready_pods("app=db", 3)
    await claimed(kube, "data-db-0", "data-db-1", "data-db-2")
    await kube.delete(STATEFUL_SETS, "db")
    await claimed(kube)

    async def gone() -> bool:
        return not await volumes(kube)

    await kube.until("their volumes are gone", gone, 120)


@case("SS-12", "when-scaled", real_s=45)
async def claims_go_with_the_pods_that_were_scaled_away(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, with_storage(
        3, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Delete"}))
    await kube.ready_pods("app=db", 3)
    await kube.run("db-2", "sh", "-c", f"echo old > {PLACE}/name")
    assert await kube.read("db-2", f"{PLACE}/name")
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    await claimed(kube, "data-db-0")
    await kube.ready_pods("app=db", 1)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 3}})
    await kube.ready_pods("app=db", 3)
    assert not await kube.read("db-2", f"{PLACE}/name")  # its old data went with its claim


@case("SS-12", "missing", real_s=45)
async def a_missing_claim_is_made_anew_for_its_pending_pod(kube: Kube) -> None:
    """The pod is kept pending by a node selector that matches nothing, so that nothing protects its claim."""
    made = with_storage(1)
    made["spec"]["template"]["spec"]["nodeSelector"] = {"case": "nobody"}
    await kube.create(STATEFUL_SETS, made)
    await claimed(kube, "data-db-0")
    uid = (await kube.get(PERSISTENT_VOLUME_CLAIMS, "data-db-0"))["metadata"]["uid"]
    await kube.patch(PERSISTENT_VOLUME_CLAIMS, "data-db-0", {"metadata": {"finalizers": None}})
    await kube.delete(PERSISTENT_VOLUME_CLAIMS, "data-db-0")

    async def anew() -> bool:
        return bool((await kube.get(PERSISTENT_VOLUME_CLAIMS, "data-db-0"))["metadata"]["uid"] != uid)

    await kube.until("the claim is made anew", anew, 120)
    assert (await kube.pod("db-0"))["status"]["phase"] == "Pending"
