"""SC-09: ResourceQuotas (test/e2e/apimachinery/resource_quota.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.resources import CONFIG_MAPS, PODS, REPLICA_SETS, RESOURCE_QUOTAS, SECRETS, SERVICES, ResourceType

from .kube import Kube
from .manifests import POLITE, app, pod, service, workload
from .registry import case

Json = dict[str, Any]
GRACE = {"terminationGracePeriodSeconds": 1}


async def quota(kube: Kube, name: str, hard: Json, **spec: Any) -> None:
    """Makes one and waits until it is counted."""
    await kube.create(RESOURCE_QUOTAS, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name},
                                        "spec": {"hard": hard, **spec}})

    async def counted() -> bool:
        return (await kube.get(RESOURCE_QUOTAS, name)).get("status", {}).get("hard") == hard

    await kube.until("the quota is counted", counted, 60)


async def used(kube: Kube, name: str, **wanted: str) -> None:
    """Waits until so much is used; ``_`` in a name stands for a dot."""
    names = {key.replace("_", "."): value for key, value in wanted.items()}

    async def look() -> bool:
        found = (await kube.get(RESOURCE_QUOTAS, name))["status"]["used"]
        return all(found.get(key) == value for key, value in names.items())

    await kube.until(f"{name} counts {names}", look, 60)


def asking(name: str, cpu: str, memory: str, **spec: Any) -> Json:
    return pod(name, app(script=POLITE, resources={"requests": {"cpu": cpu, "memory": memory}}), **(GRACE | spec))


@case("SC-09", "pod", real_s=20)
async def a_pods_requests_are_counted_while_it_lives(kube: Kube) -> None:
    await quota(kube, "all", {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi"})
    await kube.create(PODS, asking("first", "500m", "252Mi"))
    await used(kube, "all", pods="1", requests_cpu="500m", requests_memory="252Mi")
    refused = await kube.refused(kube.create(PODS, asking("second", "600m", "100Mi")))
    assert refused.code == 403 and "exceeded quota" in str(refused)
    assert (await kube.refused(kube.create(PODS, asking("second", "100m", "300Mi")))).code == 403
    await used(kube, "all", pods="1", requests_cpu="500m")
    await kube.delete(PODS, "first", grace_s=0)
    await used(kube, "all", pods="0", requests_cpu="0", requests_memory="0")


@case("SC-09", "objects", real_s=25)
async def objects_are_counted_while_they_live(kube: Kube) -> None:
    hard = {"services": "1", "secrets": "2", "configmaps": "3", "count/replicasets.apps": "1"}
    await quota(kube, "all", hard)
    before = (await kube.get(RESOURCE_QUOTAS, "all"))["status"]["used"]
    objects: tuple[tuple[ResourceType, str, Json], ...] = (
        (SERVICES, "services", service("web")),
        (SECRETS, "secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}}),
        (CONFIG_MAPS, "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}),
        (REPLICA_SETS, "count/replicasets.apps", workload("ReplicaSet", "web", app(script=POLITE), replicas=0)),
    )
    for resource, key, obj in objects:
        await kube.create(resource, obj)
        await used(kube, "all", **{key: str(int(before[key]) + 1)})
    another = service("another")
    assert (await kube.refused(kube.create(SERVICES, another))).code == 403
    for resource, key, _ in objects:
        await kube.delete(resource, "web")
        await used(kube, "all", **{key: before[key]})


@case("SC-09", "terminating", real_s=25)
async def terminating_scopes(kube: Kube) -> None:
    await quota(kube, "terminating", {"pods": "5"}, scopes=["Terminating"])
    await quota(kube, "other", {"pods": "5"}, scopes=["NotTerminating"])
    await kube.create(PODS, asking("endless", "100m", "50Mi"))
    await used(kube, "other", pods="1")
    await used(kube, "terminating", pods="0")
    await kube.create(PODS, asking("limited", "100m", "50Mi", activeDeadlineSeconds=3600))
    await used(kube, "terminating", pods="1")
    await used(kube, "other", pods="1")
    for name in ("endless", "limited"):
        await kube.delete(PODS, name, grace_s=0)
    await used(kube, "terminating", pods="0")
    await used(kube, "other", pods="0")


@case("SC-09", "best-effort", real_s=25)
async def best_effort_scopes(kube: Kube) -> None:
    await quota(kube, "best", {"pods": "5"}, scopes=["BestEffort"])
    await quota(kube, "other", {"pods": "5"}, scopes=["NotBestEffort"])
    await kube.create(PODS, pod("best", app(script=POLITE), **GRACE))
    await used(kube, "best", pods="1")
    await used(kube, "other", pods="0")
    await kube.create(PODS, asking("burstable", "100m", "50Mi"))
    await used(kube, "other", pods="1")
    await used(kube, "best", pods="1")
    for name in ("best", "burstable"):
        await kube.delete(PODS, name, grace_s=0)
    await used(kube, "best", pods="0")
    await used(kube, "other", pods="0")
