"""How a container begins and ends: hooks and their share of the grace, endpoints before SIGTERM, probes of the dead."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from node_world import pod, until
from simulated_world import SimulatedWorld, simulated

from probes.protocol import Outcome, ProbeTarget, Sample
from testbed.api.labels import DRAIN_BEFORE_STOP, SERVICE_NAME
from testbed.api.resources import ENDPOINT_SLICES, PODS
from testbed.node.drain import LONGEST_S, SETTLE_S

IGNORES_TERM = {"command": ["sleep", "infinity"]}
READY = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}


def sleeping(seconds: int) -> dict[str, Any]:
    return {"exec": {"command": ["sleep", str(seconds)]}}


async def deleted(w: SimulatedWorld, name: str) -> list[tuple[float, int]]:
    """Deletes the pod; (seconds after that, signal) of all that its container was sent until it was gone."""
    loop = asyncio.get_running_loop()
    container, begun = w.running(), loop.time()
    await w.client.delete(PODS, name, "default")
    await until(lambda: not container.running, within_s=120)
    return [(at_s - begun, number) for at_s, number, _ in container.signals]


@pytest.mark.parametrize(("grace_s", "hook_s", "term_after_s", "kill_after_s"), [
    (10, 3, 3, 10),  # the hook spends the grace
    (10, 9, 9, 11),  # 1 s would be left: 2 s are given
    (4, 60, 4, 6),  # the hook is abandoned with the grace, and SIGTERM still comes, 2 s before SIGKILL
])
def test_a_pre_stop_hook_spends_the_grace_down_to_two_seconds(
    tmp_path: Path, grace_s: int, hook_s: int, term_after_s: float, kill_after_s: float
) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container={**IGNORES_TERM, "lifecycle": {"preStop": sleeping(hook_s)}},
                           spec={"terminationGracePeriodSeconds": grace_s}))
        await until(lambda: w.ready("web"))
        got = await deleted(w, "web")
        assert [number for _, number in got][:2] == [signal.SIGTERM, signal.SIGKILL]
        assert term_after_s <= got[0][0] < term_after_s + 0.5
        assert kill_after_s <= got[1][0] < kill_after_s + 0.5

    simulated(tmp_path, body)


def test_a_pre_stop_hook_that_fails_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container={"lifecycle": {"preStop": {"exec": {"command": ["false"]}}}}))
        await until(lambda: w.ready("web"))
        got = await deleted(w, "web")
        assert [number for _, number in got] == [signal.SIGTERM]
        assert got[0][0] < 1
        assert "exited with 1" in (await w.events("FailedPreStopHook"))[0]["message"]

    simulated(tmp_path, body)


def test_a_container_that_died_gets_no_pre_stop_hook(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container={"lifecycle": {"preStop": sleeping(60)}}))
        await until(lambda: w.ready("web"))
        old = w.running()
        await w.crash()
        await until(lambda: w.containers(status="running") and w.running() is not old, within_s=5)

    simulated(tmp_path, body)


def test_a_post_start_hook_is_part_of_the_start_and_its_failure_restarts(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("slow", spec={"containers": [
            {"name": "app", "image": "sample:v1", "lifecycle": {"postStart": sleeping(3)}},
            {"name": "next", "image": "sample:v1", "env": [{"name": "PORT", "value": "8081"}]},
        ]}))
        await until(lambda: w.ready("slow"))
        assert w.running("next").started_s >= w.running("app").started_s + 3
        await w.client.delete(PODS, "slow", "default", grace_period_s=1)
        await until(lambda: not w.machine.containers, within_s=30)
        await w.create(pod("bad", container={"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}))
        await until(lambda: w.events("FailedPostStartHook"))

        async def restarted() -> bool:
            return bool((await w.container("bad")).get("restartCount", 0) >= 1)

        await until(restarted)

    simulated(tmp_path, body)


def offers(ready: bool, uid: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "labels": {SERVICE_NAME: "web"}}, "addressType": "IPv4", "ports": [],
        "endpoints": [{"addresses": ["10.99.1.2"], "conditions": {"ready": ready},
                       "targetRef": {"kind": "Pod", "name": "web", "uid": uid}}],
    }


@pytest.mark.parametrize("out_after_s", [1.5, None])
def test_row47_i11_with_the_annotation_sigterm_waits_for_the_endpoints(
    tmp_path: Path, out_after_s: float | None
) -> None:
    """Out of the endpoints, then SIGTERM; where the endpoints never change it comes all the same, after a while."""

    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        made = await w.create(pod("web", metadata={"annotations": {DRAIN_BEFORE_STOP: "true"}}))
        uid = made["metadata"]["uid"]
        await until(lambda: w.ready("web"))
        await w.client.create(ENDPOINT_SLICES, offers(True, uid), "default")

        async def take_out() -> None:
            if out_after_s is not None:
                await asyncio.sleep(out_after_s)
                await w.client.patch(ENDPOINT_SLICES, "web-1", {"endpoints": offers(False, uid)["endpoints"]},
                                     "default")

        taking = asyncio.get_running_loop().create_task(take_out())
        got = await deleted(w, "web")
        await taking
        wanted_s = LONGEST_S if out_after_s is None else out_after_s + SETTLE_S
        assert wanted_s <= got[0][0] < wanted_s + 0.5
        assert got[0][1] == signal.SIGTERM

    simulated(tmp_path, body)


class HeldKind:
    """A probe kind whose first answer is held back, and good; all later ones are bad."""

    def __init__(self) -> None:
        self.asked, self.release = 0, asyncio.Event()

    async def sample(self, fields: Mapping[str, Any], target: ProbeTarget, timeout_s: float) -> Sample:
        self.asked += 1
        if self.asked == 1:
            await self.release.wait()
            return Sample(Outcome.SUCCESS)
        return Sample(Outcome.FAILURE, "no")


def test_row29_i6_an_answer_of_the_container_before_does_not_make_its_successor_ready(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        kind = HeldKind()
        await w.start_agent(kinds=lambda name: kind)
        await w.create(pod("web", container={"readinessProbe": {**READY["readinessProbe"], "timeoutSeconds": 60}}))
        await until(lambda: kind.asked)
        old = w.running()
        await w.crash()
        await until(lambda: w.containers(status="running") and w.running() is not old)
        kind.release.set()
        await until(lambda: kind.asked > 3)
        assert not await w.ready("web")
        assert not await w.events("ContainerReady")

    simulated(tmp_path, body)


def test_row57_a_loop_of_an_agent_that_breaks_begins_again_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        await w.create(pod("web", container=READY))
        await until(lambda: w.ready("web"))

        async def broken(*_: Any) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(agent.view, "relist", broken)
            await until(lambda: "broke" in caplog.text, within_s=60)
        assert agent.healthy
        old = w.running()
        await w.crash()
        await until(lambda: w.containers(status="running") and w.running() is not old, within_s=60)
        await w.kill_agent()
        assert not agent.healthy  # and /healthz says so

    simulated(tmp_path, body)


def test_row37_an_image_that_vanishes_before_the_next_start_is_named_and_waited_for(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=READY))
        await until(lambda: w.ready("web"))
        image = w.machine.images.pop("sample:v1")
        for spare in w.containers(status="created"):  # else the crash would need no image
            await w.engine.remove(spare.id)
        await w.crash()

        async def told() -> bool:
            waiting = ((await w.container("web")).get("state") or {}).get("waiting") or {}
            return "sample:v1" in waiting.get("message", "")

        await until(told, within_s=60)
        w.machine.images["sample:v1"] = image
        await until(lambda: w.ready("web"), within_s=120)

    simulated(tmp_path, body)


def test_row38_a_herd_of_restarts_is_bounded_and_comes_back_without_another_kill(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        names = [f"p{number}" for number in range(40)]
        await w.start_agent()
        for name in names:
            await w.create(pod(name, container={**READY, "livenessProbe": {
                "httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}}))
        for name in names:
            await until(lambda name=name: w.ready(name), within_s=120)
        most = 0
        for item in w.containers(status="running"):
            await w.host.signal(await w.host.identify(item.process.pid), signal.SIGKILL)
        await until(lambda: len(w.containers(status="running")) < 40)
        while len(w.containers(status="running")) < 40:
            await asyncio.sleep(0.005)
            most = max(most, w.machine.starting)
        assert 0 < most <= 4
        for name in names:
            await until(lambda name=name: w.ready(name), within_s=60)
        await asyncio.sleep(5)
        assert [(await w.container(name))["restartCount"] for name in names] == [1] * 40

    simulated(tmp_path, body)
