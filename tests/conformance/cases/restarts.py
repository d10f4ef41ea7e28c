"""RT: restart policy, back-off, termination data (test/e2e/common/node/runtime.go, pods.go, kubelet.go;
test/e2e_node/container_restart_test.go, oomkiller_linux_test.go)."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import PODS
from testbed.client.protocol import PatchType

from .kube import Kube, container_status, seconds_between
from .manifests import POLITE, app, pod
from .registry import case

Json = dict[str, Any]

MOST_S = 300  # MaxContainerBackOff


async def ended(kube: Kube, phase: str, container: Json, **spec: Any) -> Json:
    """Runs a pod of this container once; how the container ended."""
    await kube.create(PODS, pod("web", container, restartPolicy="Never", **spec))
    status = container_status(await kube.phase("web", phase), container["name"])
    assert status is not None and "terminated" in status["state"], status
    found: Json = status["state"]["terminated"]
    return found


@case("RT-02", "root", real_s=5, quick=True)
async def the_message_is_what_the_container_left(kube: Kube) -> None:
    container = app(script="echo -n DONE > /dev/termination-log", securityContext={"runAsUser": 0})
    assert (await ended(kube, "Succeeded", container))["message"] == "DONE"


@case("RT-02", "non-root", real_s=5)
async def the_message_is_at_the_path_that_was_named(kube: Kube) -> None:
    container = app(script="echo -n DONE > /dev/termination-custom-log", securityContext={"runAsUser": 1000},
                    terminationMessagePath="/dev/termination-custom-log")
    assert (await ended(kube, "Succeeded", container))["message"] == "DONE"


@case("RT-03", real_s=5)
async def the_message_is_the_log_of_what_failed(kube: Kube) -> None:
    container = app(script="echo -n DONE; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    assert (await ended(kube, "Failed", container))["message"] == "DONE"


@case("RT-04", "empty", real_s=5)
async def the_log_of_what_succeeded_is_no_message(kube: Kube) -> None:
    container = app(script="echo -n DONE", terminationMessagePolicy="FallbackToLogsOnError")
    assert not (await ended(kube, "Succeeded", container)).get("message")


@case("RT-04", "file", real_s=5)
async def what_was_left_goes_before_the_log(kube: Kube) -> None:
    container = app(script="echo -n OK > /dev/termination-log; echo DONE; exit 0",
                    terminationMessagePolicy="FallbackToLogsOnError")
    assert (await ended(kube, "Succeeded", container))["message"] == "OK"


@case("RT-05", "bad", real_s=10)
async def an_image_that_cannot_be_pulled(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(image="testbed.invalid/nothing:1")))

    async def waits() -> bool:
        found = await kube.pod("web")
        status = container_status(found, "app")
        reason = ((status or {}).get("state", {}).get("waiting") or {}).get("reason")
        return found["status"]["phase"] == "Pending" and reason in ("ErrImagePull", "ImagePullBackOff")

    await kube.until("the container waits for its image", waits, 300)


@case("RT-05", "good", real_s=5)
async def an_image_that_is_there(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE)))
    await kube.running("web")
    assert (await kube.pod("web"))["status"]["phase"] == "Running"


@case("RT-06", real_s=5)
async def what_fails_always_has_a_reason(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(command=["/bin/false"])))

    async def look() -> Json | None:
        status = container_status(await kube.pod("web"), "app") or {}
        found: Json | None = {**status.get("lastState", {}), **status.get("state", {})}.get("terminated")
        return found

    how = await kube.until("the container has ended", look, 60)
    assert how["exitCode"] != 0 and how["reason"]


async def restart_delay_s(kube: Kube, within_s: float) -> float:
    """Waits for the next restart: seconds between the end before it and its start (of whole seconds both)."""
    seen = await kube.restarts("web")

    async def look() -> Json | None:
        status = container_status(await kube.pod("web"), "app")
        return status if status and status["restartCount"] > seen and "terminated" in status["lastState"] else None

    status: Json = await kube.until("it is restarted", look, within_s)
    state = status["state"]
    started = (state.get("running") or state.get("terminated") or status["lastState"]["terminated"])["startedAt"]
    return seconds_between(status["lastState"]["terminated"]["finishedAt"], started)


@case("RT-07", real_s=420)
async def a_new_image_begins_the_backoff_anew(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script="sleep 5; exit 1")))
    await kube.running("web")
    early_s = await restart_delay_s(kube, 600) or await restart_delay_s(kube, 600)
    while (grown_s := await restart_delay_s(kube, 600)) <= 60:
        pass
    assert early_s < grown_s
    await kube.patch(PODS, "web", {"spec": {"containers": [{"name": "app", "image": "sample:v2"}]}},
                     patch_type=PatchType.STRATEGIC)

    async def updated() -> bool:
        status = container_status(await kube.pod("web"), "app")
        return status is not None and status["image"] == "sample:v2" and "running" in status["state"]

    await kube.until("the new image runs", updated, 300)
    assert await restart_delay_s(kube, 600) <= 2 * early_s
    assert await restart_delay_s(kube, 600) <= 2 * early_s


@case("RT-08", real_s=1620)
async def the_backoff_is_capped(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script="sleep 5; exit 1")))
    await kube.running("web")
    await asyncio.sleep(600)
    while await restart_delay_s(kube, 2 * MOST_S) < MOST_S - 1:
        pass
    for _ in range(2):
        assert MOST_S - 1 <= await restart_delay_s(kube, 2 * MOST_S) <= MOST_S + 90


async def restarts_back_off(kube: Kube, at_most: int) -> None:
    await kube.create(PODS, pod("web", app(script="exit 1")))
    begun = kube.now()

    async def three() -> bool:
        return await kube.restarts("web") >= 3

    await kube.until("it was restarted three times", three, 300)
    await asyncio.sleep(begun + 300 - kube.now())
    assert 3 <= await kube.restarts("web") <= at_most


@case("RT-09", real_s=310)
async def restarts_wait_longer_each_time(kube: Kube) -> None:
    await restarts_back_off(kube, 7)


@case("RT-10", real_s=310, constants={"crash_backoff_max_s": 30.0})
async def a_node_may_have_a_shorter_longest_wait(kube: Kube) -> None:
    await restarts_back_off(kube, 13)


SMALL = {"limits": {"memory": "15Mi"}}


@case("RT-11", "plain", real_s=6)
async def what_takes_too_much_memory_is_killed(kube: Kube) -> None:
    how = await ended(kube, "Failed", app(command=["tail", "/dev/zero"], resources=SMALL))
    assert (how["exitCode"], how["reason"]) == (137, "OOMKilled"), how


@case("RT-11", "init", real_s=6)
async def an_init_container_too(kube: Kube) -> None:
    init = app("greedy", command=["tail", "/dev/zero"], resources=SMALL)
    await kube.create(PODS, pod("web", app(script=POLITE), initContainers=[init], restartPolicy="Never"))
    status = container_status(await kube.phase("web", "Failed"), "greedy")
    how = (status or {"state": {}})["state"].get("terminated") or {}
    assert (how.get("exitCode"), how.get("reason")) == (137, "OOMKilled"), status


@case("RT-11", "child", real_s=6)
async def only_the_greedy_process_is_killed(kube: Kube) -> None:
    """One process of several, where the kernel kills one at a time (upstream: singleProcessOOMKill)."""
    script = "tail /dev/zero & wait $!; echo $? > /tmp/code; sleep 600"
    await kube.create(PODS, pod("web", app(script=script, resources=SMALL), restartPolicy="Never"))
    await kube.running("web")

    async def code() -> str:
        return await kube.read("web", "/tmp/code")

    assert (await kube.until("the child has ended", code, 60)).strip() == "137"
    assert (await kube.pod("web"))["status"]["phase"] == "Running"
