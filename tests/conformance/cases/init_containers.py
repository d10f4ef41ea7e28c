"""IC-01 to IC-07: init containers (test/e2e/common/node/init_container.go,
test/e2e_node/container_lifecycle_test.go). Sidecars are in ``sidecars``."""

from __future__ import annotations

from testbed.api.resources import PODS

from .kube import Json, Kube, condition, container_status, is_true
from .manifests import POLITE, app, pod, sh
from .registry import case
from .told import TOLD, ended_order, order, teller, told_pod, watched


def inits_done(found: Json) -> None:
    for status in found["status"]["initContainerStatuses"]:
        assert status["ready"] and status["state"]["terminated"]["exitCode"] == 0, status


@case("IC-01", real_s=5, quick=True)
async def init_containers_of_a_pod_that_runs_once(kube: Kube) -> None:
    made = pod("web", app(script="true"), restartPolicy="Never",
               initContainers=[app("init1", script="true"), app("init2", script="true")])
    async with watched(kube, "web") as seen:
        await kube.create(PODS, made)
        found = await kube.phase("web", "Succeeded")
    assert is_true(found, "Initialized")
    inits_done(found)
    app_after_initialized(seen)


@case("IC-02", real_s=5)
async def init_containers_of_a_pod_that_stays(kube: Kube) -> None:
    made = pod("web", app(script=POLITE), initContainers=[app("init1", script="true"), app("init2", script="true")])
    async with watched(kube, "web") as seen:
        await kube.create(PODS, made)
        await kube.phase("web", "Running")
        await kube.running("web")
    found = await kube.pod("web")
    assert is_true(found, "Initialized")
    inits_done(found)
    app_after_initialized(seen)


def app_after_initialized(seen: list[Json]) -> None:
    for found in seen:
        state = (container_status(found, "app") or {"state": {"waiting": {}}})["state"]
        assert "waiting" in state or is_true(found, "Initialized"), found["status"]


@case("IC-04", real_s=6)
async def a_failed_init_container_fails_the_pod(kube: Kube) -> None:
    made = pod("web", app(script=POLITE), restartPolicy="Never",
               initContainers=[app("init1", script="true"), app("init2", script="exit 1")])
    async with watched(kube, "web") as seen:
        await kube.create(PODS, made)
        found = await kube.phase("web", "Failed")
    initialized = condition(found, "Initialized")
    assert initialized and initialized["status"] == "False"
    assert initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [init2]"
    inits = {item["name"]: item["state"]["terminated"]["exitCode"] for item in found["status"]["initContainerStatuses"]}
    assert inits == {"init1": 0, "init2": 1}
    assert all("waiting" in (container_status(each, "app") or {"state": {"waiting": {}}})["state"] for each in seen)


@case("IC-05", real_s=10)
async def init_containers_one_after_another(kube: Kube) -> None:
    await kube.create(PODS, told_pod(app(script=teller("app", "sleep 1", last=True)), restartPolicy="Never",
                                     inits=[app(f"init{n}", script=teller(f"init{n}", "sleep 1")) for n in (1, 2, 3)]))
    told = await ended_order(kube, "Succeeded")
    assert told == [f"{name} {what}" for name in ("init1", "init2", "init3", "app") for what in ("began", "ended")]


@case("IC-06", "inits", real_s=8)
async def init_containers_before_post_start(kube: Kube) -> None:
    hook = {"postStart": sh(f"echo app hook >> {TOLD}")}
    await kube.create(PODS, told_pod(app(script=teller("app", "sleep 3", last=True), lifecycle=hook),
                                     restartPolicy="Never", inits=[app("init1", script=teller("init1", "sleep 1"))]))
    told = await ended_order(kube, "Succeeded")
    assert told.index("init1 ended") < told.index("app hook") < told.index("app ended"), told


@case("IC-06", "second", real_s=10)
async def the_second_container_after_the_firsts_post_start(kube: Kube) -> None:
    hook = {"postStart": sh(f"echo hook began >> {TOLD}; sleep 2; echo hook ended >> {TOLD}")}
    await kube.create(PODS, told_pod(app("first", script=teller("first", "sleep 6", last=True), lifecycle=hook),
                                     app(script=teller("app", "sleep 1")), restartPolicy="Never"))
    told = await ended_order(kube, "Succeeded", "first")
    assert told.index("hook ended") < told.index("app began") < told.index("first ended"), told


@case("IC-07", real_s=50)
async def init_containers_are_not_run_again_for_a_restart(kube: Kube) -> None:
    await kube.create(PODS, told_pod(app(script=f"echo app began >> {TOLD}; sleep 1; exit 1"),
                                     app("stays", script=POLITE),
                                     inits=[app("init1", script=teller("init1", "sleep 1"))]))
    await kube.restarted("web", times=3, within_s=120)
    told = await order(kube, "stays")
    assert told.count("init1 began") == 1 and told.count("app began") >= 4, told
    assert await kube.restarts("web", "init1") == 0
