"""PR and PS: container probes (test/e2e/common/node/container_probe.go), of regular containers and of sidecars.

One body each; upstream's times. A restart ends within the grace of 5 s, since scripts ignore SIGTERM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.api.resources import PODS

from .kube import Kube, condition, container_status, is_true, seconds_between
from .manifests import app, grpc, http, sh, tcp
from .places import REGULAR, SIDECAR, Place, PlacedBody, at

Json = dict[str, Any]

FOREVER = "sleep 600"
GRACE = {"terminationGracePeriodSeconds": 5}


def probing(number: str, *, real_s: float, quick: bool = False) -> Callable[[PlacedBody], PlacedBody]:
    """Registers PR-<number> and PS-<number>. ``quick``: of the regular container."""
    def register(body: PlacedBody) -> PlacedBody:
        at(REGULAR, f"PR-{number}", real_s=real_s, quick=quick)(body)
        at(SIDECAR, f"PS-{number}", real_s=real_s + 1)(body)
        return body

    return register


async def never_ready(kube: Kube, for_s: float = 60) -> None:
    async def unready() -> bool:
        return not is_true(await kube.pod("web"), "Ready")

    await kube.holds("it is not ready", unready, for_s)


async def main_waits(kube: Kube, place: Place) -> None:
    """A sidecar that has not started keeps the main container from starting."""
    if place.sidecar:
        status = container_status(await kube.pod("web"), "pause")
        assert status and "waiting" in status["state"] and not status.get("started"), status


@probing("01", real_s=25, quick=True)
async def ready_only_after_the_initial_delay(kube: Kube, place: Place) -> None:
    await kube.create(PODS, place.pod("web", app(readinessProbe=http("/readyz", initialDelaySeconds=15))))
    found = await kube.ready("web")
    started = (await kube.running("web"))["state"]["running"]["startedAt"]
    ready = condition(found, "Ready")
    assert ready and seconds_between(started, ready["lastTransitionTime"]) >= 15 - 1
    assert await kube.restarts("web") == 0


@probing("02", real_s=65)
async def never_ready_while_readiness_fails(kube: Kube, place: Place) -> None:
    await kube.create(PODS, place.pod("web", app(readinessProbe=sh("false"))))
    await kube.running("web")
    await never_ready(kube)
    assert await kube.restarts("web") == 0


@probing("03", real_s=25)
async def a_failing_exec_liveness_probe_restarts(kube: Kube, place: Place) -> None:
    script = "echo ok > /tmp/health; sleep 10; rm -f /tmp/health; sleep 600"
    probe = sh("cat /tmp/health", initialDelaySeconds=15, timeoutSeconds=5, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(script=script, livenessProbe=probe), **GRACE))
    await kube.restarted("web")


@probing("04", real_s=245)
async def a_good_exec_liveness_probe_does_not_restart(kube: Kube, place: Place) -> None:
    probe = sh("cat /tmp/health", initialDelaySeconds=15, timeoutSeconds=5, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(script="echo ok > /tmp/health; sleep 600", livenessProbe=probe)))
    await kube.never_restarted("web")


@probing("05", real_s=20)
async def a_failing_http_liveness_probe_restarts(kube: Kube, place: Place) -> None:
    probe = http("/healthz", initialDelaySeconds=15, failureThreshold=1, timeoutSeconds=5 if place.sidecar else 1)
    await kube.create(PODS, place.pod("web", app(env={"UNHEALTHY_AFTER_S": 10}, livenessProbe=probe)))
    await kube.restarted("web")


@probing("06", real_s=245)
async def an_open_port_is_enough_for_a_tcp_liveness_probe(kube: Kube, place: Place) -> None:
    probe = tcp(8080, initialDelaySeconds=15, failureThreshold=1, timeoutSeconds=5 if place.sidecar else 1)
    await kube.create(PODS, place.pod("web", app(env={"UNHEALTHY_AFTER_S": 10}, livenessProbe=probe)))
    await kube.never_restarted("web")


@probing("07", real_s=250)
async def the_restart_count_only_grows(kube: Kube, place: Place) -> None:
    probe = http("/healthz", initialDelaySeconds=5, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(env={"UNHEALTHY_AFTER_S": 10}, livenessProbe=probe)))
    await kube.restarted("web", times=5, within_s=14 * 60)


@probing("08", real_s=245)
async def a_good_http_liveness_probe_does_not_restart(kube: Kube, place: Place) -> None:
    probe = http("/", initialDelaySeconds=15, timeoutSeconds=5, failureThreshold=5)
    await kube.create(PODS, place.pod("web", app(livenessProbe=probe)))
    await kube.never_restarted("web")


@probing("09", real_s=30)
async def an_exec_liveness_probe_that_takes_too_long_restarts(kube: Kube, place: Place) -> None:
    probe = sh("sleep 10", initialDelaySeconds=15, timeoutSeconds=1, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(script=FOREVER, livenessProbe=probe), **GRACE))
    await kube.restarted("web")


@probing("10", real_s=65)
async def not_ready_while_the_exec_readiness_probe_takes_too_long(kube: Kube, place: Place) -> None:
    probe = sh("sleep 10", initialDelaySeconds=15, timeoutSeconds=1)
    await kube.create(PODS, place.pod("web", app(script=FOREVER, readinessProbe=probe)))
    await kube.running("web")
    await never_ready(kube)


@probing("11", real_s=30)
async def an_exec_liveness_probe_that_fails_late_restarts(kube: Kube, place: Place) -> None:
    probe = sh("sleep 10 & exit 1", initialDelaySeconds=15, timeoutSeconds=1, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(script=FOREVER, livenessProbe=probe), **GRACE))
    await kube.restarted("web")


@probing("12", real_s=20)
async def a_redirect_on_the_same_host_is_followed(kube: Kube, place: Place) -> None:
    probe = http("/redirect?to=/healthz", initialDelaySeconds=15, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(env={"UNHEALTHY_AFTER_S": 10}, livenessProbe=probe)))
    await kube.restarted("web")


def live_once_started(liveness: str, tries: int) -> Json:
    """A liveness probe, and a startup probe that finds a file within so many tries."""
    return {"livenessProbe": sh(liveness, initialDelaySeconds=15, failureThreshold=1),
            "startupProbe": sh("cat /tmp/startup", initialDelaySeconds=15, failureThreshold=tries)}


@probing("14", real_s=45)
async def a_failing_startup_probe_restarts(kube: Kube, place: Place) -> None:
    await kube.create(PODS, place.pod("web", app(script=FOREVER, **live_once_started("true", 3)), **GRACE))
    await kube.restarted("web")
    await main_waits(kube, place)


@probing("15", real_s=245)
async def liveness_waits_for_startup(kube: Kube, place: Place) -> None:
    await kube.create(PODS, place.pod("web", app(script=FOREVER, **live_once_started("false", 60)), **GRACE))
    await kube.never_restarted("web")
    await main_waits(kube, place)


@probing("16", real_s=45)
async def liveness_counts_once_started(kube: Kube, place: Place) -> None:
    script = "sleep 10; echo ok > /tmp/startup; sleep 600"
    await kube.create(PODS, place.pod("web", app(script=script, **live_once_started("false", 60)), **GRACE))
    await kube.running("web")
    await main_waits(kube, place)
    await kube.restarted("web")


@probing("18", real_s=30)
async def the_liveness_probes_own_grace_is_used(kube: Kube, place: Place) -> None:
    probe = sh("false", initialDelaySeconds=10, failureThreshold=1, terminationGracePeriodSeconds=5)
    made = place.pod("web", app(script=FOREVER, livenessProbe=probe), terminationGracePeriodSeconds=500)
    await kube.create(PODS, made)
    await kube.restarted("web", within_s=280)


@probing("19", real_s=30)
async def the_startup_probes_own_grace_is_used(kube: Kube, place: Place) -> None:
    probes = {"livenessProbe": sh("true", initialDelaySeconds=15, failureThreshold=1),
              "startupProbe": sh("false", initialDelaySeconds=10, failureThreshold=1, terminationGracePeriodSeconds=5)}
    await kube.create(PODS, place.pod("web", app(script=FOREVER, **probes), terminationGracePeriodSeconds=500))
    await kube.restarted("web", within_s=280)


@probing("20", real_s=245)
async def a_serving_grpc_liveness_probe_does_not_restart(kube: Kube, place: Place) -> None:
    probe = grpc(5000, initialDelaySeconds=15, timeoutSeconds=5, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(env={"GRPC_PORT": 5000}, livenessProbe=probe)))
    await kube.never_restarted("web")


@probing("21", real_s=68)
async def a_grpc_liveness_probe_to_a_closed_port_restarts(kube: Kube, place: Place) -> None:
    probe = grpc(2333, initialDelaySeconds=60, failureThreshold=1)
    await kube.create(PODS, place.pod("web", app(env={"GRPC_PORT": 5000}, livenessProbe=probe)))
    await kube.restarted("web")


TERMINATING = ("trap 'rm -f /tmp/ready /tmp/live; sleep 20; exit 0' TERM; touch /tmp/ready /tmp/live; "
               "while true; do sleep 1; done")


@probing("23", real_s=95)
async def a_terminating_pod_is_not_ready_and_not_checked_for_life(kube: Kube, place: Place) -> None:
    probes = {"readinessProbe": sh("cat /tmp/ready", failureThreshold=1, initialDelaySeconds=5, periodSeconds=2),
              "livenessProbe": sh("cat /tmp/live", failureThreshold=1, initialDelaySeconds=5, periodSeconds=1)}
    await kube.create(PODS, place.pod("web", app(script=TERMINATING, **probes)))
    await kube.ready("web")
    await kube.delete(PODS, "web")

    async def unready() -> bool:
        return not is_true(await kube.pod("web"), "Ready")

    await kube.until("it is not ready", unready, 60)

    async def no_event() -> bool:
        return not [event for event in await kube.events("web", "Unhealthy") if "Liveness" in event["message"]]

    await kube.holds("no liveness probe failed", no_event, 60)
