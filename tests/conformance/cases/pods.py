"""PD: the life of pod objects (test/e2e/common/node/pods.go, test/e2e/node/pods.go,
test/e2e_node/pod_conditions_test.go)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from testbed.api.resources import PODS
from testbed.client.protocol import PatchType
from testbed.errors import Conflict

from .kube import Json, Kube, condition, container_status, is_true, moment
from .manifests import POLITE, app, pod
from .registry import case
from .told import watched


@case("PD-01", real_s=6, quick=True)
async def a_pod_is_submitted_and_removed(kube: Kube) -> None:
    async with watched(kube, "web") as seen:
        await kube.create(PODS, pod("web", app(script=POLITE), labels={"time": "now"}))
        assert len(await kube.list(PODS, "time=now")) == 1
        await kube.until("its creation was seen", lambda: seen, 10)
        assert seen[0]["event"] == "ADDED"
        await kube.running("web")
        await kube.delete(PODS, "web", grace_s=30)
        await kube.until("its deletion was seen", lambda: seen[-1]["event"] == "DELETED", 300)
    last = seen[-1]
    assert last["metadata"]["deletionTimestamp"] and last["spec"]["terminationGracePeriodSeconds"]
    assert not await kube.list(PODS, "time=now")


@case("PD-02", "update", real_s=5)
async def a_pod_is_updated(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE), labels={"time": "one"}))
    await kube.running("web")
    await kube.update(PODS, "web", lambda obj: obj["metadata"]["labels"].update(time="two"))
    assert len(await kube.list(PODS, "time=two")) == 1 and not await kube.list(PODS, "time=one")
    assert (await kube.pod("web"))["status"]["phase"] == "Running"


@case("PD-02", "status", real_s=5)
async def a_pods_status_is_patched(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE)))
    await kube.running("web")
    patched = await kube.patch(PODS, "web", {"status": {"message": "Patched by e2e test", "reason": "E2E"}},
                               subresource="status")
    assert (patched["status"]["message"], patched["status"]["reason"]) == ("Patched by e2e test", "E2E")


@case("PD-02", "lifecycle", real_s=6)
async def a_pod_goes_through_its_life(kube: Kube) -> None:
    """Created, its labels and its status patched, replaced, deleted: a watch sees it all."""
    async with watched(kube, "web") as seen:
        await kube.create(PODS, pod("web", app(script=POLITE), labels={"test-pod-static": "true"}))
        await kube.ready("web")
        await kube.patch(PODS, "web", {"metadata": {"labels": {"test-pod": "patched"}}})
        await kube.until("the label was seen", lambda: label(seen[-1]) == "patched", 60)
        unready = {"type": "Ready", "status": "False", "reason": "E2E"}
        await kube.patch(PODS, "web", {"status": {"conditions": [unready]}}, subresource="status",
                         patch_type=PatchType.STRATEGIC)
        await kube.until("the condition was seen", lambda: any(reason(each) == "E2E" for each in seen), 60)
        await kube.delete(PODS, "web", grace_s=1)
        await kube.until("the deletion was seen", lambda: seen[-1]["event"] == "DELETED", 120)
    assert [seen[0]["event"], seen[-1]["event"]] == ["ADDED", "DELETED"]


def label(found: Json) -> str:
    return str(found["metadata"]["labels"].get("test-pod", ""))


def reason(found: Json) -> str:
    return str((condition(found, "Ready") or {}).get("reason"))


@case("PD-02", "collection", real_s=8)
async def a_collection_of_pods_is_deleted(kube: Kube) -> None:
    names = [f"test-pod-{n}" for n in (1, 2, 3)]
    for name in names:
        await kube.create(PODS, pod(name, app(script=POLITE), labels={"type": "Testing"}))
    assert len(await kube.list(PODS, "type=Testing")) == 3
    await kube.client.delete_collection(PODS, kube.namespace, label_selector="type=Testing", grace_period_s=0)

    async def none() -> bool:
        return not await kube.list(PODS, "type=Testing")

    await kube.until("no pod is left", none, 60)


@case("PD-04", real_s=8)
async def a_deletion_is_seen_by_all_and_done_within_its_grace(kube: Kube) -> None:
    grace_s = 30
    async with watched(kube, "web") as seen:
        await kube.create(PODS, pod("web", app(script="trap 'sleep 2; exit 0' TERM; while true; do sleep 0.2; done")))
        await kube.running("web")
        begun = kube.now()
        await kube.delete(PODS, "web", grace_s=grace_s)
        assert await kube.gone(PODS, "web", 3 * grace_s) - begun >= 2
        await kube.until("its deletion was seen", lambda: seen[-1]["event"] == "DELETED", 10)
    asked = next(each["metadata"] for each in seen if each["metadata"].get("deletionTimestamp"))
    assert asked["deletionGracePeriodSeconds"] == grace_s and seen[-1]["spec"]["terminationGracePeriodSeconds"]
    assert not await kube.list(PODS)


@case("PD-05", real_s=3)
async def a_negative_grace_is_one_second(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script="sleep 10000"), restartPolicy="OnFailure",
                                terminationGracePeriodSeconds=-1))
    assert (await kube.pod("web"))["spec"]["terminationGracePeriodSeconds"] == 1

    async def update() -> None:
        await kube.update(PODS, "web", lambda obj: obj["spec"].update(terminationGracePeriodSeconds=-1))

    await kube.until_taken("the pod is updated", update, 30, Conflict)  # the node may have written meanwhile
    assert (await kube.pod("web"))["spec"]["terminationGracePeriodSeconds"] == 1


@case("PD-06", real_s=3)
async def equal_requests_and_limits_are_guaranteed(kube: Kube) -> None:
    amounts = {"cpu": "100m", "memory": "100Mi"}
    await kube.create(PODS, pod("web", app(script=POLITE, resources={"requests": amounts, "limits": amounts})))
    assert (await kube.pod("web"))["status"]["qosClass"] == "Guaranteed"


async def deleted_early(kube: Kube, check: Callable[[Json], None], **spec: Any) -> None:
    """Pods that are deleted when they have been made, after a random delay; ``check`` looks at all states they had."""
    draw = random.Random(7)

    async def one(number: int, delay_s: float) -> None:
        name = f"web-{number}"
        async with watched(kube, name) as seen:
            await kube.create(PODS, pod(name, app(script="exit 1"), restartPolicy="Never", **spec))
            await kube.until("the node told of it", lambda: any(
                each["status"].get("containerStatuses") for each in seen), 300)
            await asyncio.sleep(delay_s)
            await kube.delete(PODS, name)
            await kube.gone(PODS, name, 120)
        for found in seen:
            check(found)

    for worker in range(3):
        await asyncio.gather(*(one(4 * worker + number, draw.uniform(0, 1)) for number in range(4)))


@case("PD-07", "success", real_s=25)
async def success_is_never_told_of_what_fails(kube: Kube) -> None:
    def check(found: Json) -> None:
        assert found["status"].get("phase") != "Succeeded", found["status"]
        ended = (container_status(found, "app") or {"state": {}})["state"].get("terminated")
        assert not ended or ended["exitCode"] != 0, found["status"]

    await deleted_early(kube, check)


@case("PD-07", "init", real_s=25)
async def a_start_is_never_told_after_an_init_container_failed(kube: Kube) -> None:
    def check(found: Json) -> None:
        assert found["status"].get("phase") not in ("Succeeded", "Running"), found["status"]
        state = (container_status(found, "app") or {"state": {"waiting": {}}})["state"]
        assert "running" not in state, found["status"]
        if ended := state.get("terminated"):  # upstream: what never started is told so
            assert ended["exitCode"] == 137 and not ended.get("startedAt"), found["status"]

    await deleted_early(kube, check, initContainers=[app("init1", script="exit 1")])


@case("PD-08", "sandbox", real_s=10)
async def no_second_sandbox_when_all_is_done(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script="true"), restartPolicy="OnFailure",
                                initContainers=[app("foo", script="true")]))
    await kube.phase("web", "Succeeded")
    await kube.until("its events came", lambda: kube.events("web", "Started"), 60)
    await asyncio.sleep(3)
    assert not await kube.events("web", "SandboxChanged")


@case("PD-08", "evicted", real_s=30)
async def what_writes_too_much_is_evicted_for_good(kube: Kube) -> None:
    script = "sleep 10; head -c 10M /dev/zero > /tmp/file; sleep 10000"
    await kube.create(PODS, pod("web", app(script=script, resources={"limits": {"ephemeral-storage": "5Mi"}}),
                                restartPolicy="OnFailure"))
    assert (await kube.phase("web", "Failed"))["status"]["reason"] == "Evicted"


async def conditions_in_order(kube: Kube, *inits: Json) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE), initContainers=list(inits)))
    found = await kube.ready("web")
    order = ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"]
    if not inits:
        order[1:3] = ["Initialized", "PodReadyToStartContainers"]
    times = []
    for kind in order:
        assert is_true(found, kind), found["status"]["conditions"]
        times.append(moment((condition(found, kind) or {})["lastTransitionTime"]))
    assert times == sorted(times), found["status"]["conditions"]
    for init in inits:
        ended = (container_status(found, init["name"]) or {})["state"]["terminated"]["finishedAt"]
        assert moment(ended) <= times[order.index("Initialized")]


@case("PD-09", "plain", real_s=5)
async def conditions_come_in_order(kube: Kube) -> None:
    await conditions_in_order(kube)


@case("PD-09", "init", real_s=9)
async def conditions_come_in_order_with_init_containers(kube: Kube) -> None:
    await conditions_in_order(kube, app("init1", script="sleep 2"), app("init2", script="sleep 2"))
