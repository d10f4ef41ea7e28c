"""IC-08 to IC-14: restartable init containers, the order of everything, and the end of it
(test/e2e_node/container_lifecycle_test.go)."""

from __future__ import annotations

from testbed.api import labels
from testbed.api.resources import PODS

from .kube import Json, Kube, container_status
from .manifests import POLITE, app, pod, sh
from .registry import case
from .told import TOLD, ended_order, order, teller, told_pod


def sidecar(name: str, script: str = "", **fields: object) -> Json:
    """By default it tells that it began, and runs on."""
    return app(name, script=script or f"echo {name} began >> {TOLD}; {POLITE}", restartPolicy="Always", **fields)


def init(name: str) -> Json:
    return app(name, script=teller(name, "sleep 1"))


async def told_of(kube: Kube, *inits: Json) -> list[str]:
    """Runs them before an app, and returns what was told until that ended."""
    await kube.create(PODS, told_pod(app(script=teller("app", "sleep 1", last=True)), inits=inits,
                                     restartPolicy="Never"))
    return await ended_order(kube, "Succeeded")


@case("IC-08", "init-sidecar", real_s=8)
async def the_first_init_before_the_first_sidecar(kube: Kube) -> None:
    told = await told_of(kube, init("init1"), sidecar("side1"))
    assert told == ["init1 began", "init1 ended", "side1 began", "app began", "app ended"]


@case("IC-08", "all", real_s=12)
async def inits_and_sidecars_in_the_order_of_the_list(kube: Kube) -> None:
    told = await told_of(kube, init("init1"), sidecar("side1"), init("init2"), sidecar("side2"), init("init3"))
    assert told == ["init1 began", "init1 ended", "side1 began", "init2 began", "init2 ended", "side2 began",
                    "init3 began", "init3 ended", "app began", "app ended"]


@case("IC-08", "together", real_s=10)
async def sidecars_run_beside_what_comes_later(kube: Kube) -> None:
    """The first sidecar while the second init container runs; both while the app does."""
    beats = sidecar("side1", f"while true; do echo side1 beats >> {TOLD}; sleep 0.2; done")
    others = sidecar("side2", f"while true; do echo side2 beats >> {TOLD}; sleep 0.2; done")
    told = await told_of(kube, init("init1"), beats, init("init2"), others)
    assert "side1 beats" not in told[:told.index("init1 ended")]
    during = told[told.index("init2 began"):told.index("init2 ended")]
    assert "side1 beats" in during and "side2 beats" not in during
    during = told[told.index("app began"):told.index("app ended")]
    assert "side1 beats" in during and "side2 beats" in during


@case("IC-08", "regular", real_s=8)
async def a_sidecar_does_not_keep_a_pod_from_succeeding(kube: Kube) -> None:
    await told_of(kube, sidecar("side1"), sidecar("side2"))
    found = await kube.pod("web")
    assert all("terminated" in item["state"] for item in found["status"]["initContainerStatuses"])


@case("IC-09", "serial", real_s=15)
async def the_next_container_waits_for_the_sidecars_startup(kube: Kube) -> None:
    slow = sidecar("side1", f"echo side1 began >> {TOLD}; sleep 3; echo side1 started >> {TOLD}; touch /tmp/up; "
                   + POLITE, startupProbe=sh("test -f /tmp/up", periodSeconds=1, failureThreshold=30))
    told = await told_of(kube, slow, sidecar("side2"))
    assert told == ["side1 began", "side1 started", "side2 began", "app began", "app ended"]


@case("IC-09", "fails", real_s=30)
async def a_sidecar_that_does_not_start_is_stopped_and_started_again(kube: Kube) -> None:
    hook = {"preStop": sh(f"echo side1 hook >> {TOLD}")}
    sick = sidecar("side1", f"trap 'echo side1 term >> {TOLD}; exit 0' TERM; echo side1 began >> {TOLD}; "
                   "while true; do sleep 0.2; done", lifecycle=hook,
                   startupProbe=sh("false", initialDelaySeconds=5, periodSeconds=1, failureThreshold=1))
    await kube.create(PODS, told_pod(app(script=teller("app", "sleep 1")), inits=[sidecar("side0"), sick]))
    await kube.restarted("web", "side1")
    await kube.running("web", "side1")
    told = await order(kube, "side0")
    begun = told.index("side1 began")
    assert told[begun:begun + 4] == ["side1 began", "side1 hook", "side1 term", "side1 began"], told
    assert "app began" not in told
    assert "waiting" in (container_status(await kube.pod("web"), "app") or {"state": {}})["state"]


async def restarted_during_initialization(kube: Kube, policy: str) -> None:
    """A sidecar that exits again and again while a later init container runs."""
    made = told_pod(app(script=teller("app", "sleep 1")), restartPolicy=policy, inits=[
        app("init1", script=teller("init1", "sleep 1")),
        sidecar("side1", f"echo side1 began >> {TOLD}; sleep 1; exit 1"),
        app("init2", script=f"echo init2 began >> {TOLD}; sleep 1000"),
    ])
    await kube.create(PODS, made)
    await kube.running("web", "init2")
    await kube.restarted("web", "side1", times=2, within_s=120)
    told = await order(kube, "init2")
    assert told.count("side1 began") >= 3 and told.count("init1 began") == told.count("init2 began") == 1, told
    assert "app began" not in told
    assert (await kube.pod("web"))["status"]["phase"] == "Pending"


@case("IC-10", "always", real_s=25)
async def a_sidecar_is_restarted_during_initialization_always(kube: Kube) -> None:
    await restarted_during_initialization(kube, "Always")


@case("IC-10", "on-failure", real_s=25)
async def a_sidecar_is_restarted_during_initialization_on_failure(kube: Kube) -> None:
    await restarted_during_initialization(kube, "OnFailure")


@case("IC-10", "never", real_s=25)
async def a_sidecar_is_restarted_during_initialization_never(kube: Kube) -> None:
    await restarted_during_initialization(kube, "Never")


@case("IC-12", "hooks", real_s=40)
async def sidecars_end_together_when_their_hooks_do_not(kube: Kube) -> None:
    """Each has the grace of 30 s and the 2 s after its hook, all at the same time."""
    hook = {"preStop": sh("echo began > /tmp/hook; sleep 10000")}
    names = ["side1", "side2", "side3"]
    inits = [sidecar(name, "sleep 10000", lifecycle=hook) for name in names]
    await kube.create(PODS, pod("web", app(script=POLITE), initContainers=inits, terminationGracePeriodSeconds=30))
    await kube.ready("web")
    begun = kube.now()
    await kube.delete(PODS, "web")
    hooks, ends = await hooks_and_ends(kube, names)
    assert max(hooks.values()) - begun < 5 and max(hooks.values()) - min(hooks.values()) < 2, hooks
    assert all(31 <= end - begun <= 33 for end in ends.values()), ends


async def hooks_and_ends(kube: Kube, names: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """When each container's hook was seen to have begun, and when it had ended."""
    hooks: dict[str, float] = {}
    ends: dict[str, float] = {}

    async def all_ended() -> bool:
        running = {state.labels[labels.CONTAINER_NAME] for state in await kube.containers("web") if state.running}
        for name in names:
            if name not in running:
                ends.setdefault(name, kube.now())
            elif name not in hooks and await kube.read("web", "/tmp/hook", name):
                hooks[name] = kube.now()
        return len(ends) == len(names)

    await kube.until("all sidecars have ended", all_ended, 60, pause_s=0.2)
    return hooks, ends


@case("IC-14", "initializing", real_s=40)
async def a_pod_ends_while_it_is_being_initialized(kube: Kube) -> None:
    hook = {"preStop": sh("sleep 10000")}
    made = pod("web", app(script=POLITE), terminationGracePeriodSeconds=30, initContainers=[
        sidecar("side1", "sleep 10000", lifecycle=hook), app("init1", script="sleep 10000")])
    await kube.create(PODS, made)
    await kube.running("web", "init1")
    begun = kube.now()
    await kube.delete(PODS, "web")
    assert await kube.gone(PODS, "web", 120) - begun <= 30 + 8


@case("IC-14", "reboot", real_s=25)
async def a_lost_sandbox_begins_everything_again_in_order(kube: Kube) -> None:
    """What a reboot of the node leaves: nothing runs (upstream stops the sandbox, as a reboot would)."""
    made = told_pod(app(script=f"echo app began >> {TOLD}; {POLITE}"), inits=[init("init1"), sidecar("side1")],
                    terminationGracePeriodSeconds=2)
    await kube.create(PODS, made)
    await kube.ready("web")
    first = ["init1 began", "init1 ended", "side1 began", "app began"]
    await kube.until("the app told", lambda: told_is(kube, first), 20)
    for state in await kube.containers("web"):
        if state.labels[labels.ROLE] == labels.ROLE_SANDBOX:
            await kube.engine.signal(state.id, "SIGKILL")
    await kube.until("all began again in order", lambda: told_is(kube, first + first), 120)


async def told_is(kube: Kube, wanted: list[str]) -> bool:
    try:
        return await order(kube) == wanted
    except AssertionError:  # the container does not run just now
        return False
