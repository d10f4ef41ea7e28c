"""LH: lifecycle hooks and termination (test/e2e/common/node/lifecycle_hook.go, test/e2e/node/pre_stop.go,
test/e2e_node/container_lifecycle_test.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.certificates import self_signed

from testbed.api.resources import PODS, SECRETS

from .kube import Kube, container_status
from .manifests import POLITE, app, http, pod, sh
from .places import REGULAR, SIDECAR, Place, PlacedBody, at
from .registry import case

Json = dict[str, Any]

TLS_PORT = 8443
FOREVER = "sleep 10000"  # as process 1 the shell ignores SIGTERM


def hooked(identity: str, what: str, *, variant: str = "", quick: bool = False) -> Callable[[PlacedBody], PlacedBody]:
    """Registers the case, and the same with a sidecar as LH-06."""
    def register(body: PlacedBody) -> PlacedBody:
        at(REGULAR, identity, variant, real_s=10, quick=quick)(body)
        at(SIDECAR, "LH-06", what, real_s=12)(body)
        return body

    return register


async def helper(kube: Kube, *, tls: bool = False) -> str:
    """The server that remembers which hooks have called; its address."""
    container = app(readinessProbe=http("/readyz", periodSeconds=1))
    spec: Json = {}
    if tls:
        certificate, key = self_signed("localhost")
        await kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"},
                                    "type": "kubernetes.io/tls",
                                    "stringData": {"tls.crt": certificate, "tls.key": key}})
        container |= {"env": [{"name": "TLS_PORT", "value": str(TLS_PORT)}],
                      "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
        spec = {"volumes": [{"name": "tls", "secret": {"secretName": "tls"}}]}
    await kube.create(PODS, pod("helper", container, **spec))
    return str((await kube.ready("helper"))["status"]["podIP"])


def calls(address: str, word: str) -> Json:
    """A hook by exec. The shell's program is busybox's wget, which the sample's image has."""
    return sh(f"busybox wget -q -O /dev/null http://{address}:8080/remember?what={word}")


def requests(address: str, word: str, *, tls: bool = False) -> Json:
    """A hook by HTTP to another pod's host and port."""
    hook = http(f"/remember?what={word}", TLS_PORT if tls else 8080, host=address)
    if tls:
        hook["httpGet"]["scheme"] = "HTTPS"
    return hook


async def heard(kube: Kube, address: str, word: str, within_s: float) -> None:
    async def look() -> bool:
        return word in await kube.remembered(address)

    await kube.until(f"the helper heard of {word}", look, within_s)


async def post_start(kube: Kube, place: Place, address: str, hook: Json) -> None:
    await kube.create(PODS, place.pod("web", app(script=POLITE, lifecycle={"postStart": hook})))
    await kube.phase("web", "Running")
    await heard(kube, address, "poststart", 120)
    await kube.delete(PODS, "web", grace_s=15)
    await kube.gone(PODS, "web", 300)


async def pre_stop(kube: Kube, place: Place, address: str, hook: Json) -> None:
    await kube.create(PODS, place.pod("web", app(script=POLITE, lifecycle={"preStop": hook})))
    await kube.phase("web", "Running")
    await kube.running("web")
    await kube.delete(PODS, "web", grace_s=15)
    await heard(kube, address, "prestop", 30)
    await kube.gone(PODS, "web", 300)


@hooked("LH-01", "poststart-exec")
async def post_start_exec(kube: Kube, place: Place) -> None:
    address = await helper(kube)
    await post_start(kube, place, address, calls(address, "poststart"))


@hooked("LH-02", "prestop-exec", quick=True)
async def pre_stop_exec(kube: Kube, place: Place) -> None:
    address = await helper(kube)
    await pre_stop(kube, place, address, calls(address, "prestop"))


@hooked("LH-03", "poststart-http")
async def post_start_http(kube: Kube, place: Place) -> None:
    address = await helper(kube)
    await post_start(kube, place, address, requests(address, "poststart"))


@hooked("LH-04", "prestop-http")
async def pre_stop_http(kube: Kube, place: Place) -> None:
    address = await helper(kube)
    await pre_stop(kube, place, address, requests(address, "prestop"))


@hooked("LH-05", "poststart-https", variant="poststart")
async def post_start_https(kube: Kube, place: Place) -> None:
    address = await helper(kube, tls=True)
    await post_start(kube, place, address, requests(address, "poststart", tls=True))


@hooked("LH-05", "prestop-https", variant="prestop")
async def pre_stop_https(kube: Kube, place: Place) -> None:
    address = await helper(kube, tls=True)
    await pre_stop(kube, place, address, requests(address, "prestop", tls=True))


async def deletion_s(kube: Kube, *, grace_s: int | None = None, within_s: float = 300) -> float:
    """How long the deletion of ``web`` takes."""
    begun = kube.now()
    await kube.delete(PODS, "web", grace_s=grace_s)
    return await kube.gone(PODS, "web", within_s) - begun


def sleeping(seconds: int) -> Json:
    return {"preStop": {"sleep": {"seconds": seconds}}}


@case("LH-07", real_s=10, quick=True)
async def pre_stop_sleeps(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE, lifecycle=sleeping(5))))
    await kube.running("web")
    assert 5 <= await deletion_s(kube) <= 30


@case("LH-09", real_s=5)
async def no_hook_of_a_container_that_has_ended(kube: Kube) -> None:
    made = pod("web", app(script="exit 0", lifecycle=sleeping(20)), app("pause", script=POLITE), restartPolicy="Never")
    await kube.create(PODS, made)

    async def ended() -> bool:
        status = container_status(await kube.pod("web"), "app")
        return status is not None and "terminated" in status["state"]

    await kube.until("the container has ended", ended, 300)
    assert await deletion_s(kube) < 15


@case("LH-10", real_s=5)
async def pre_stop_sleeps_for_no_time(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=POLITE, lifecycle=sleeping(0))))
    await kube.running("web")
    assert await deletion_s(kube) < 15


@case("LH-11", "called", real_s=8)
async def pre_stop_is_called_when_a_pod_is_killed(kube: Kube) -> None:
    address = await helper(kube)
    await kube.create(PODS, pod("web", app(script=FOREVER, lifecycle={"preStop": calls(address, "prestop")}),
                                terminationGracePeriodSeconds=5))
    await kube.running("web")
    await kube.delete(PODS, "web")
    await heard(kube, address, "prestop", 60)


@case("LH-11", "waits", real_s=20)
async def a_pod_runs_until_its_hook_has_ended(kube: Kube) -> None:
    hook = sh("while true; do echo preStop; sleep 1; done")
    await kube.create(PODS, pod("web", app(script=POLITE, lifecycle={"preStop": hook})))
    await kube.running("web")
    await kube.delete(PODS, "web", grace_s=30)

    async def runs() -> bool:
        found = await kube.pod("web")
        return found["status"]["phase"] == "Running" and bool(found["metadata"]["deletionTimestamp"])

    await kube.holds("it is running", runs, 15)


@case("LH-12", "ignores", real_s=35)
async def a_grace_is_respected(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=FOREVER)))
    await kube.running("web")
    assert 30 <= await deletion_s(kube, grace_s=30, within_s=60) <= 60


@case("LH-12", "long-hook", real_s=40)
async def a_grace_is_respected_with_a_long_hook(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(script=FOREVER, lifecycle={"preStop": sh("sleep 10000")})))
    await kube.running("web")
    assert 30 <= await deletion_s(kube, grace_s=30, within_s=60) <= 60


async def ended_by_its_probe(kube: Kube, probe: Json) -> None:
    """The container's message is what happened to it, in order."""
    script = "trap 'echo term >> /tmp/told; cat /tmp/told > /dev/termination-log; exit 1' TERM; " \
        "while true; do sleep 0.2; done"
    container = app(script=script, lifecycle={"preStop": sh("sleep 2; echo prestop >> /tmp/told")}, **probe)
    await kube.create(PODS, pod("web", container, restartPolicy="Never"))
    found = await kube.phase("web", "Failed")
    ended = (container_status(found, "app") or {})["state"]["terminated"]
    assert ended["message"].split() == ["prestop", "term"], ended
    assert await kube.restarts("web") == 0


@case("LH-13", "startup", real_s=15)
async def the_hook_runs_when_startup_fails(kube: Kube) -> None:
    await ended_by_its_probe(kube, {"startupProbe": sh("false", initialDelaySeconds=10, failureThreshold=1)})


@case("LH-13", "liveness", real_s=15)
async def the_hook_runs_when_liveness_fails(kube: Kube) -> None:
    await ended_by_its_probe(kube, {"livenessProbe": sh("false", initialDelaySeconds=10, failureThreshold=1)})
