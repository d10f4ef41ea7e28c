"""PR: container probes (test/e2e/common/node/container_probe.go)."""

from __future__ import annotations

from testbed.api.resources import PODS

from .kube import Kube, condition, is_true, seconds_between
from .manifests import app, http, pod, sh
from .registry import case


@case("PR-01", real_s=25, quick=True)
async def ready_only_after_the_initial_delay(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(readinessProbe=http("/readyz", initialDelaySeconds=15))))
    found = await kube.ready("web")
    started = (await kube.running("web"))["state"]["running"]["startedAt"]
    ready = condition(found, "Ready")
    assert ready and seconds_between(started, ready["lastTransitionTime"]) >= 15 - 1
    assert await kube.restarts("web") == 0


@case("PR-02", real_s=65)
async def never_ready_while_readiness_fails(kube: Kube) -> None:
    await kube.create(PODS, pod("web", app(readinessProbe=sh("false"))))
    await kube.running("web")

    async def unready() -> bool:
        return not is_true(await kube.pod("web"), "Ready")

    await kube.holds("it is not ready", unready, 60)
    assert await kube.restarts("web") == 0


@case("PR-03", real_s=50)
async def a_failing_exec_liveness_probe_restarts(kube: Kube) -> None:
    script = "echo ok > /tmp/health; sleep 10; rm -f /tmp/health; sleep 600"
    probe = sh("cat /tmp/health", initialDelaySeconds=15, timeoutSeconds=5, failureThreshold=1)
    await kube.create(PODS, pod("web", app(script=script, livenessProbe=probe), terminationGracePeriodSeconds=5))
    await kube.restarted("web")
