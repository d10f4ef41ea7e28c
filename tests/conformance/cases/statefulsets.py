"""SS: StatefulSets (test/e2e/apps/statefulset.go)."""

from __future__ import annotations

from typing import Any

from testbed.api.resources import CONTROLLER_REVISIONS, PODS, STATEFUL_SETS
from testbed.client.protocol import PatchType

from .kube import Kube, is_true
from .manifests import POLITE, app, rescaled, sh, workload
from .registry import case
from .subresources import status_is_a_subresource

Json = dict[str, Any]
HASH = "controller-revision-hash"
#: Ready while a file says so: as upstream's paused pods, whose readiness the test turns on and off.
SWITCHED = sh("test -f /tmp/ready", periodSeconds=1, failureThreshold=1)


def stateful_set(replicas: int, *, container: Json | None = None, **spec: Any) -> Json:
    return workload("StatefulSet", "db", container or app(script=POLITE, env={"VERSION": "one"}), replicas=replicas,
                    serviceName="db", pod_spec={"terminationGracePeriodSeconds": 2}, **spec)


def switched() -> Json:
    return app(script=POLITE, readinessProbe=SWITCHED, env={"VERSION": "one"})


async def switch(kube: Kube, name: str, *, ready: bool = True) -> None:
    await kube.running(name)
    await kube.run(name, *(("touch", "/tmp/ready") if ready else ("rm", "-f", "/tmp/ready")))


async def names(kube: Kube) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in await kube.list(PODS, "app=db"))


async def status(kube: Kube) -> Json:
    found: Json = (await kube.get(STATEFUL_SETS, "db")).get("status", {})
    return found


async def set_version(kube: Kube, value: str) -> None:
    container = {"name": "app", "env": [{"name": "VERSION", "value": value}]}
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"template": {"spec": {"containers": [container]}}}},
                     patch_type=PatchType.STRATEGIC)


async def versions(kube: Kube) -> dict[str, str]:
    """By pod."""
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["env"][0]["value"]
            for pod in await kube.list(PODS, "app=db")}


async def updated(kube: Kube, wanted: dict[str, str], within_s: float = 300) -> None:
    """Waits until exactly these pods run these versions, all ready."""
    async def look() -> bool:
        ready = [is_true(pod, "Ready") for pod in await kube.list(PODS, "app=db")]
        return await versions(kube) == wanted and all(ready)

    await kube.until(f"the pods are {wanted}", look, within_s)


async def revisions_meet(kube: Kube) -> str:
    async def look() -> str | None:
        found = await status(kube)
        meet = found.get("currentRevision") == found.get("updateRevision")
        return str(found["currentRevision"]) if meet and found.get("observedGeneration") == (
            await kube.get(STATEFUL_SETS, "db"))["metadata"]["generation"] else None

    return str(await kube.until("the update is over", look, 300))


@case("SS-02", real_s=35)
async def orphans_are_adopted_and_strangers_released(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(1))
    await kube.ready_pods("app=db", 1)
    await kube.patch(PODS, "db-0", {"metadata": {"ownerReferences": None}})

    async def owned() -> bool:
        return bool((await kube.pod("db-0"))["metadata"].get("ownerReferences"))

    await kube.until("the orphan is adopted", owned, 60)
    await kube.patch(PODS, "db-0", {"metadata": {"labels": {"app": None}}})

    async def released() -> bool:
        return not await owned()

    await kube.until("the stranger is released", released, 60)
    await kube.patch(PODS, "db-0", {"metadata": {"labels": {"app": "db"}}})
    await kube.until("it is adopted again", owned, 60)


@case("SS-03", real_s=40)
async def a_failed_predecessor_is_no_deadlock(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(2, container=switched()))
    await switch(kube, "db-0")
    await kube.ready("db-0")
    await kube.running("db-1")
    before = (await kube.pod("db-0"))["metadata"]["uid"]
    await kube.delete(PODS, "db-0")  # healthy, while pod 1 is not

    async def anew() -> bool:
        return bool((await kube.pod("db-0"))["metadata"]["uid"] != before)

    await kube.until("pod 0 is made anew", anew, 120)
    await switch(kube, "db-0")
    await kube.ready("db-0")
    await switch(kube, "db-1")
    await kube.ready_pods("app=db", 2)


@case("SS-04", real_s=60)
async def rolling_updates_and_the_way_back(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(3))
    await kube.ready_pods("app=db", 3)
    first = await revisions_meet(kube)
    await set_version(kube, "two")

    async def under_way() -> bool:
        found = await status(kube)
        return bool(found["currentRevision"] == first != found["updateRevision"])

    await kube.until("two revisions are told", under_way, 30)

    async def in_order() -> bool:
        """From the highest ordinal down: who is still old stands below who is new."""
        found = await versions(kube)
        new = [name for name, value in found.items() if value == "two"]
        old = [name for name, value in found.items() if value == "one"]
        assert not new or not old or min(new) > max(old)
        return len(new) == 3

    await kube.until("all pods are new", in_order, 300)
    await kube.ready_pods("app=db", 3)
    second = await revisions_meet(kube)
    assert second != first
    await set_version(kube, "one")
    await updated(kube, dict.fromkeys(("db-0", "db-1", "db-2"), "one"))
    assert await revisions_meet(kube) == first  # an equal template is the same revision
    assert len(await kube.list(CONTROLLER_REVISIONS)) == 2


@case("SS-06", "healthy", real_s=60)
async def below_the_partition_pods_come_back_as_they_were(kube: Kube) -> None:
    await _deleted_in_an_update(kube, fails=False)


@case("SS-06", "failing", real_s=60)
async def a_failing_pod_below_the_partition_is_no_obstacle(kube: Kube) -> None:
    await _deleted_in_an_update(kube, fails=True)


async def _deleted_in_an_update(kube: Kube, *, fails: bool) -> None:
    """Pod 0 is deleted, and held by a finalizer, just before the update; it may have failed by itself."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await kube.create(STATEFUL_SETS, stateful_set(3, updateStrategy=strategy))
    await kube.ready_pods("app=db", 3)
    await kube.patch(PODS, "db-0", {"metadata": {"finalizers": ["example.com/held"]}})
    if fails:
        await kube.patch(PODS, "db-0", {"status": {"phase": "Failed"}}, subresource="status")
    await set_version(kube, "two")
    await kube.delete(PODS, "db-0")
    await kube.patch(PODS, "db-0", {"metadata": {"finalizers": None}})
    await updated(kube, {"db-0": "one", "db-1": "two", "db-2": "two"})


@case("SS-07", real_s=50)
async def on_delete_waits_for_a_person(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(3, updateStrategy={"type": "OnDelete"}))
    await kube.ready_pods("app=db", 3)
    await set_version(kube, "two")

    async def unchanged() -> bool:
        return set((await versions(kube)).values()) == {"one"}

    await kube.holds("no pod is touched", unchanged, 5)
    for name in ("db-0", "db-1", "db-2"):
        await kube.delete(PODS, name)
    await updated(kube, dict.fromkeys(("db-0", "db-1", "db-2"), "two"))


@case("SS-09", real_s=40)
async def parallel_scaling_does_not_wait_for_the_sick(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(1, container=switched(), podManagementPolicy="Parallel"))
    await switch(kube, "db-0")
    await kube.ready("db-0")
    await switch(kube, "db-0", ready=False)

    async def sick() -> bool:
        return not is_true(await kube.pod("db-0"), "Ready")

    await kube.until("pod 0 is unready", sick, 30)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 3}})
    for name in ("db-1", "db-2"):
        await kube.running(name)
    assert not is_true(await kube.pod("db-0"), "Ready")
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 0}})
    await kube.ready_pods("app=db", 0, 60)


@case("SS-11", real_s=55)
async def available_replicas_wait_for_min_ready_seconds(kube: Kube) -> None:
    began = kube.now()
    await kube.create(STATEFUL_SETS, stateful_set(2, minReadySeconds=30, podManagementPolicy="Parallel"))

    async def available() -> int:
        return int((await status(kube)).get("availableReplicas", 0))

    async def none_yet() -> bool:
        return await available() == 0

    async def both() -> bool:
        return await available() == 2

    await kube.holds("no replica is available", none_yet, 5)
    await kube.until("both are available", both, 300)
    assert kube.now() - began >= 30 - 1
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"minReadySeconds": 3600}})
    await kube.until("none is available any more", none_yet, 60)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"minReadySeconds": 0}})
    await kube.until("both are available at once", both, 60)


@case("SS-13", "setting", real_s=40)
async def a_start_ordinal_is_set(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(2))
    await kube.ready_pods("app=db", 2)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"ordinals": {"start": 2}}})
    await _ordinals(kube, 2, 3)


@case("SS-13", "increasing", real_s=40)
async def a_start_ordinal_grows(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(2, ordinals={"start": 2}))
    await _ordinals(kube, 2, 3)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"ordinals": {"start": 4}}})
    await _ordinals(kube, 4, 5)


@case("SS-13", "decreasing", real_s=40)
async def a_start_ordinal_shrinks(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(2, ordinals={"start": 3}))
    await _ordinals(kube, 3, 4)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"ordinals": {"start": 2}}})
    await _ordinals(kube, 2, 3)


@case("SS-13", "removing", real_s=40)
async def a_start_ordinal_is_removed(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(2, ordinals={"start": 3}))
    await _ordinals(kube, 3, 4)
    await kube.patch(STATEFUL_SETS, "db", {"spec": {"ordinals": None}})
    await _ordinals(kube, 0, 1)


async def _ordinals(kube: Kube, *wanted: int) -> None:
    async def look() -> bool:
        pods = await kube.list(PODS, "app=db")
        there = sorted(pod["metadata"]["name"] for pod in pods) == [f"db-{ordinal}" for ordinal in wanted]
        return there and all(is_true(pod, "Ready") for pod in pods)

    await kube.until(f"the pods' ordinals are {wanted}", look, 300)


@case("SS-14", "scale", real_s=20)
async def scale_is_a_subresource(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(1))
    await kube.ready_pods("app=db", 1)
    scaled = await kube.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 4}}, subresource="scale")
    assert scaled["spec"]["replicas"] == 4
    await kube.client.update(STATEFUL_SETS, rescaled(scaled, 2), subresource="scale")
    await kube.ready_pods("app=db", 2)


@case("SS-14", "status", real_s=15)
async def its_status_is_a_subresource(kube: Kube) -> None:
    await kube.create(STATEFUL_SETS, stateful_set(1))
    await kube.ready_pods("app=db", 1)
    await status_is_a_subresource(kube, STATEFUL_SETS, "db")


@case("SS-14", "collection", real_s=20)
async def listed_patched_and_deleted(kube: Kube) -> None:
    made = stateful_set(1)
    made["metadata"]["labels"] = {"test": "listed"}
    await kube.create(STATEFUL_SETS, made)
    await kube.ready_pods("app=db", 1)
    assert len(await kube.list(STATEFUL_SETS, "test=listed")) == 1
    await kube.patch(STATEFUL_SETS, "db", {"metadata": {"labels": {"test": "patched"}}, "spec": {"replicas": 2}})
    await kube.ready_pods("app=db", 2)
    assert len(await kube.list(STATEFUL_SETS, "test=patched")) == 1
    await kube.delete(STATEFUL_SETS, "db")
    await kube.ready_pods("app=db", 0, 60)
