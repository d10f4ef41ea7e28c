"""RS: ReplicaSets (test/e2e/apps/replica_set.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.resources import PODS, REPLICA_SETS, RESOURCE_QUOTAS

from .kube import Kube, condition
from .manifests import POLITE, app, http, rescaled, workload
from .registry import case
from .subresources import status_is_a_subresource

Json = dict[str, Any]


def replica_set(replicas: int, **fields: Any) -> Json:
    made = workload("ReplicaSet", "web", app(script=POLITE), replicas=replicas,
                    pod_spec={"terminationGracePeriodSeconds": 2})
    made["metadata"]["labels"] = {"app": "web"}
    return made | fields


@case("RS-01", real_s=15, quick=True, nodes=3)
async def every_replica_serves(kube: Kube) -> None:
    """Upstream asks through the API's pod proxy; here each pod is asked at its own address."""
    await kube.create(REPLICA_SETS, workload("ReplicaSet", "web", app(readinessProbe=http("/readyz", periodSeconds=1)),
                                             replicas=2, pod_spec={"terminationGracePeriodSeconds": 2}))
    for pod in await kube.ready_pods("app=web", 2, 120):
        status, body = await kube.fetch(pod["status"]["podIP"])
        assert status == 200 and "version" in body


@case("RS-02", real_s=25)
async def a_failure_to_create_pods_is_told(kube: Kube) -> None:
    await kube.create(RESOURCE_QUOTAS, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"},
                                        "spec": {"hard": {"pods": "2"}}})

    async def counted() -> bool:
        return bool((await kube.get(RESOURCE_QUOTAS, "two")).get("status", {}).get("hard"))

    await kube.until("the quota is counted", counted, 30)
    await kube.create(REPLICA_SETS, replica_set(3))

    async def failure() -> Json | None:
        found = await kube.get(REPLICA_SETS, "web")
        return condition(found, "ReplicaFailure")

    told = await kube.until("ReplicaFailure is set", failure, 60)
    assert told["reason"] == "FailedCreate" and "exceeded quota" in told["message"]
    await kube.patch(REPLICA_SETS, "web", {"spec": {"replicas": 2}})

    async def forgotten() -> bool:
        return await failure() is None

    await kube.until("ReplicaFailure is gone", forgotten, 60)


@case("RS-04", "scale", real_s=15)
async def scale_is_a_subresource(kube: Kube) -> None:
    await kube.create(REPLICA_SETS, replica_set(1))
    await kube.ready_pods("app=web", 1)
    scaled = await kube.patch(REPLICA_SETS, "web", {"spec": {"replicas": 2}}, subresource="scale")
    assert scaled["spec"]["replicas"] == 2
    await kube.ready_pods("app=web", 2)
    await kube.client.update(REPLICA_SETS, rescaled(scaled, 4), subresource="scale")
    assert (await kube.get(REPLICA_SETS, "web"))["spec"]["replicas"] == 4


@case("RS-04", "replace-and-patch", real_s=15)
async def replaced_and_patched(kube: Kube) -> None:
    await kube.create(REPLICA_SETS, replica_set(1))
    await kube.ready_pods("app=web", 1)

    def three(obj: Json) -> None:
        obj["metadata"]["labels"]["test"] = "replaced"
        obj["spec"]["replicas"] = 3

    await kube.update(REPLICA_SETS, "web", three)
    await kube.ready_pods("app=web", 3)
    await kube.patch(REPLICA_SETS, "web", {"spec": {"replicas": 2}})
    await kube.ready_pods("app=web", 2)
    (found,) = await kube.list(REPLICA_SETS, "test=replaced")
    assert found["spec"]["replicas"] == 2


@case("RS-04", "status", real_s=15)
async def its_status_is_a_subresource(kube: Kube) -> None:
    await kube.create(REPLICA_SETS, replica_set(1))
    await kube.ready_pods("app=web", 1)
    await status_is_a_subresource(kube, REPLICA_SETS, "web")


@case("RS-04", "collection", real_s=15)
async def listed_and_deleted_together(kube: Kube) -> None:
    for name in ("one", "two", "three"):
        made = workload("ReplicaSet", name, app(script=POLITE), replicas=1,
                        pod_spec={"terminationGracePeriodSeconds": 2})
        made["metadata"]["labels"] = {"kind": "listed"}
        await kube.create(REPLICA_SETS, made)
    found = await kube.list(REPLICA_SETS, "kind=listed")
    assert len(found) == 3
    for item in found:
        await kube.delete(REPLICA_SETS, item["metadata"]["name"])

    async def all_gone() -> bool:
        return not [*await kube.list(REPLICA_SETS), *await kube.list(PODS)]

    await kube.until("ReplicaSets and their pods are gone", all_gone, 60)
