"""DP: Deployments (test/e2e/apps/deployment.go, test/e2e/kubectl/rollout.go)."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, PODS, REPLICA_SETS, SERVICES
from testbed.client.protocol import PatchType

from .kube import Kube
from .manifests import POLITE, app, http, rescaled, service, workload
from .registry import case
from .subresources import status_is_a_subresource

Json = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
QUICK_GRACE = {"terminationGracePeriodSeconds": 2}


def deployment(name: str, replicas: int, *, pod_spec: Json | None = None, env: Json | None = None, **spec: Any) -> Json:
    container = app(script=POLITE, env=env or {"VERSION": "one"})
    return workload("Deployment", name, container, pod_spec=QUICK_GRACE | (pod_spec or {}), replicas=replicas, **spec)


def replica_set(name: str, replicas: int, *, annotations: Json | None = None) -> Json:
    """One that a Deployment of that name can adopt, of another template than ``deployment``'s."""
    made = workload("ReplicaSet", name, app(script=POLITE, env={"VERSION": "old"}), pod_spec=QUICK_GRACE,
                    replicas=replicas)
    made["metadata"] |= {"name": f"{name}-old", "labels": {"app": name}, "annotations": annotations or {}}
    return made


async def complete(kube: Kube, name: str, within_s: float = 300) -> Json:
    """Waits until the rollout is over and returns the Deployment (upstream: DeploymentComplete)."""
    async def look() -> Json | None:
        found = await kube.get(DEPLOYMENTS, name)
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        return found if seen and counts == [wanted] * 3 else None

    found: Json = await kube.until(f"Deployment {name} is complete", look, within_s)
    return found


async def set_env(kube: Kube, name: str, value: str) -> None:
    container = {"name": "app", "env": [{"name": "VERSION", "value": value}]}
    await kube.patch(DEPLOYMENTS, name, {"spec": {"template": {"spec": {"containers": [container]}}}},
                     patch_type=PatchType.STRATEGIC)


def version(obj: Json) -> str:
    """Of a pod, or of what has a template."""
    spec = obj["spec"].get("template", obj)["spec"]
    return str(spec["containers"][0]["env"][0]["value"])


@case("DP-01", real_s=20)
async def deletion_takes_replica_sets_and_pods_along(kube: Kube) -> None:
    made = deployment("web", 1)
    made["metadata"]["annotations"] = {"note": "kept", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    await kube.create(DEPLOYMENTS, made)
    found = await complete(kube, "web")
    assert found["metadata"]["annotations"][REVISION] == "1"
    (owned,) = await kube.list(REPLICA_SETS)
    assert owned["metadata"]["annotations"]["note"] == "kept"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in owned["metadata"]["annotations"]
    await kube.delete(DEPLOYMENTS, "web")

    async def all_gone() -> bool:
        return not [*await kube.list(DEPLOYMENTS), *await kube.list(REPLICA_SETS), *await kube.list(PODS)]

    await kube.until("Deployment, ReplicaSet and pods are gone", all_gone, 60)


@case("DP-02", real_s=25)
async def a_rolling_update_adopts_and_replaces(kube: Kube) -> None:
    await kube.create(REPLICA_SETS, replica_set("web", 1, annotations={REVISION: "3546343826724305832"}))
    await kube.ready_pods("app=web", 1)
    await kube.create(DEPLOYMENTS, deployment("web", 1))

    async def revised() -> bool:
        found = await kube.get(DEPLOYMENTS, "web")
        return (found["metadata"].get("annotations") or {}).get(REVISION) == "3546343826724305833"

    await kube.until("the revision follows the adopted one's", revised, 60)
    await complete(kube, "web")
    old = [found for found in await kube.list(REPLICA_SETS) if version(found) == "old"]
    assert [found["metadata"]["name"] for found in old] == ["web-old"]
    await kube.ready_pods("app=web", 1)
    assert [version(pod) for pod in await kube.list(PODS, "app=web")] == ["one"]


@case("DP-03", real_s=30)
async def recreate_makes_no_new_pod_beside_an_old_one(kube: Kube) -> None:
    await kube.create(DEPLOYMENTS, deployment("web", 1, strategy={"type": "Recreate"}))
    await complete(kube, "web")
    await set_env(kube, "web", "two")

    async def look() -> bool:
        pods = await kube.list(PODS, "app=web")
        kinds = {version(pod) for pod in pods}
        assert kinds != {"one", "two"}, "a new pod was made while an old one was there"
        return kinds == {"two"}

    await kube.until("the new pod has come", look, 120, pause_s=0.05)
    await complete(kube, "web")


@case("DP-04", real_s=25)
async def old_replica_sets_go_beyond_the_history_limit(kube: Kube) -> None:
    await kube.create(REPLICA_SETS, replica_set("web", 1))
    await kube.ready_pods("app=web", 1)
    await kube.create(DEPLOYMENTS, deployment("web", 1, revisionHistoryLimit=0))
    made: set[str] = set()

    async def look() -> bool:
        made.update(pod["metadata"]["uid"] for pod in await kube.list(PODS, "app=web") if version(pod) == "one")
        return not [found for found in await kube.list(REPLICA_SETS) if version(found) == "old"]

    await kube.until("the old ReplicaSet is gone", look, 120)
    assert len(made) == 1


@case("DP-07", real_s=20)
async def an_orphaned_replica_set_is_adopted_again(kube: Kube) -> None:
    await kube.create(DEPLOYMENTS, deployment("web", 1))
    await complete(kube, "web")
    (before,) = await kube.list(REPLICA_SETS)
    await kube.delete(DEPLOYMENTS, "web", propagation="Orphan")

    async def orphaned() -> bool:
        (found,) = await kube.list(REPLICA_SETS)
        return not found["metadata"].get("ownerReferences")

    await kube.until("the ReplicaSet has no owner", orphaned, 60)
    await kube.gone(DEPLOYMENTS, "web", 60)
    await kube.create(DEPLOYMENTS, deployment("web", 1))

    async def adopted() -> bool:
        (found,) = await kube.list(REPLICA_SETS)
        return bool(found["metadata"].get("ownerReferences")) and found["metadata"]["uid"] == before["metadata"]["uid"]

    await kube.until("the same ReplicaSet is adopted", adopted, 60)
    await complete(kube, "web")


@case("DP-08", real_s=20)
async def scale_is_a_subresource(kube: Kube) -> None:
    await kube.create(DEPLOYMENTS, deployment("web", 1))
    await complete(kube, "web")
    scaled = await kube.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}}, subresource="scale")
    assert scaled["kind"] == "Scale" and scaled["spec"]["replicas"] == 2
    assert (await kube.get(DEPLOYMENTS, "web"))["spec"]["replicas"] == 2
    await kube.client.update(DEPLOYMENTS, rescaled(scaled, 4), subresource="scale")
    assert (await kube.get(DEPLOYMENTS, "web"))["spec"]["replicas"] == 4


@case("DP-10", real_s=110, nodes=3)
async def a_rollout_never_disrupts_the_service(kube: Kube) -> None:
    """One pod per node by anti-affinity; upstream asks through the cloud's load balancer, here it is the ClusterIP."""
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}
    container = app(env={"VERSION": "one", "DRAIN_S": "5"}, readinessProbe=http("/readyz", periodSeconds=1))
    made = workload("Deployment", "web", container, replicas=2, pod_spec={"affinity": apart},
                    strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    await kube.create(DEPLOYMENTS, made)
    address = (await kube.create(SERVICES, service("web")))["spec"]["clusterIP"]
    await complete(kube, "web")

    async def answers() -> bool:
        return (await kube.fetch(address, port=80))[0] == 200

    async def reachable() -> bool:
        try:
            return await answers()
        except OSError:
            return False

    await kube.until("the Service answers", reachable, 60)
    over = asyncio.Event()

    async def asks() -> int:
        asked = 0
        while not over.is_set():
            assert await answers()
            asked += 1
            await asyncio.sleep(0.2)
        return asked

    asking = asyncio.get_running_loop().create_task(asks())
    for value in ("two", "three", "four"):
        await set_env(kube, "web", value)
        await complete(kube, "web")
    await kube.holds("requests are answered", lambda: not asking.done(), 60)
    over.set()
    assert await asking > 300
    slices = await kube.list(ENDPOINT_SLICES, "kubernetes.io/service-name=web")
    ends = [end for found in slices for end in found["endpoints"]]
    assert all(end["conditions"]["ready"] for end in ends) and len({end["nodeName"] for end in ends}) == 2 == len(ends)


@case("DP-11", "lifecycle", real_s=30)
async def the_life_of_a_deployment(kube: Kube) -> None:
    made = deployment("web", 1)
    made["metadata"]["labels"] = {"test": "life"}
    await kube.create(DEPLOYMENTS, made)
    await complete(kube, "web")
    await kube.patch(DEPLOYMENTS, "web", {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 2}})
    await complete(kube, "web")
    (listed,) = await kube.list(DEPLOYMENTS, "patched=yes")
    assert listed["status"]["readyReplicas"] == 2

    def back(obj: Json) -> None:
        obj["metadata"]["labels"]["updated"] = "yes"
        obj["spec"]["replicas"] = 1

    await kube.update(DEPLOYMENTS, "web", back)
    await complete(kube, "web")
    assert (await kube.get(DEPLOYMENTS, "web"))["metadata"]["labels"]["updated"] == "yes"
    await kube.delete(DEPLOYMENTS, "web")
    await kube.gone(DEPLOYMENTS, "web", 60)


@case("DP-11", "status", real_s=15)
async def the_status_of_a_deployment_is_a_subresource(kube: Kube) -> None:
    await kube.create(DEPLOYMENTS, deployment("web", 1))
    await complete(kube, "web")
    await status_is_a_subresource(kube, DEPLOYMENTS, "web")


@case("DP-12", real_s=30)
async def undo_brings_the_last_template_back(kube: Kube) -> None:
    """What ``kubectl rollout undo`` writes: the template of the ReplicaSet of the revision before."""
    await kube.create(DEPLOYMENTS, deployment("web", 1))
    await complete(kube, "web")
    await set_env(kube, "web", "two")
    await complete(kube, "web")
    assert (await kube.get(DEPLOYMENTS, "web"))["metadata"]["annotations"][REVISION] == "2"
    (before,) = [found for found in await kube.list(REPLICA_SETS) if version(found) == "one"]
    pods = before["spec"]["template"]
    pods["metadata"]["labels"].pop("pod-template-hash")
    await kube.patch(DEPLOYMENTS, "web", [{"op": "replace", "path": "/spec/template", "value": pods}],
                     patch_type=PatchType.JSON)
    found = await complete(kube, "web")
    assert version(found) == "one"
    assert found["metadata"]["annotations"][REVISION] == "3"
    assert len(await kube.list(REPLICA_SETS)) == 2


