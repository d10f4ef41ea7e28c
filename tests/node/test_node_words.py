"""What a pod says of itself, in virtual time: termination messages, gates, conditions, exit reasons, images."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from node_world import condition, pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import PODS
from testbed.client.protocol import PatchType
from testbed.core.profile import KUBERNETES

FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}


def sh(script: str, **fields: Any) -> dict[str, Any]:
    return {"command": ["sh", "-c", script], **fields}


async def ended(w: SimulatedWorld, name: str) -> dict[str, Any]:
    """The terminated state of a pod that is over, as the first status that says so has it."""
    async def over() -> bool:
        return (await w.status(name)).get("phase") in ("Succeeded", "Failed")

    await until(over, within_s=60)
    state: dict[str, Any] = (await w.container(name))["state"]["terminated"]
    return state


@pytest.mark.parametrize(("container", "code", "message"), [
    pytest.param(sh("echo -n DONE > /dev/termination-log"), 0, "DONE", id="RT-02"),
    pytest.param(sh("echo -n DONE > /dev/custom", terminationMessagePath="/dev/custom",
                    securityContext={"runAsUser": 1000}), 0, "DONE", id="RT-02-custom"),
    pytest.param(sh("echo -n DONE; exit 1", **FALLBACK), 1, "DONE", id="RT-03"),
    pytest.param(sh("echo -n DONE; exit 0", **FALLBACK), 0, None, id="RT-04-succeeds"),
    pytest.param(sh("echo -n OK > /dev/termination-log; echo -n DONE; exit 1", **FALLBACK), 1, "OK", id="RT-04-file"),
    pytest.param(sh("echo -n DONE; exit 1"), 1, None, id="policy File"),
])
def test_termination_messages(tmp_path: Path, container: dict[str, Any], code: int, message: str | None) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", spec={"restartPolicy": "Never"}, container=container))
        state = await ended(w, "p")
        assert (state["exitCode"], state.get("message")) == (code, message)

    simulated(tmp_path, body)


def test_a_log_that_cannot_be_read_holds_no_pod_back(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()

        async def silent(*args: Any, **more: Any) -> Any:
            await asyncio.sleep(1000)
            yield b""

        agent.engine.logs = silent  # type: ignore[method-assign,assignment]
        await w.create(pod("p", spec={"restartPolicy": "Never"}, container=sh("exit 1", **FALLBACK)))
        assert (await ended(w, "p"))["message"].startswith("Error on reading termination message from logs")

    simulated(tmp_path, body)


def test_readiness_gates_are_opened_by_who_patches_the_status(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", spec={"readinessGates": [{"conditionType": "example.com/ready"}]}))

        async def contained() -> bool:
            return condition(await w.status("p"), "ContainersReady") == "True"

        async def say(status: str) -> None:
            patch = {"status": {"conditions": [{"type": "example.com/ready", "status": status}]}}
            await w.client.patch(PODS, "p", patch, "default", patch_type=PatchType.STRATEGIC, subresource="status")

        await until(contained)
        ready = next(item for item in (await w.status("p"))["conditions"] if item["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
        assert "does not exist" in ready["message"]
        await say("True")
        await until(lambda: w.ready("p"))
        await say("False")

        async def closed() -> bool:
            return not await w.ready("p")

        await until(closed)
        assert condition(await w.status("p"), "example.com/ready") == "False"

    simulated(tmp_path, body)


@pytest.mark.parametrize("init", [False, True])
def test_pd_09_conditions_come_in_order(tmp_path: Path, init: bool) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        more = {"initContainers": [{"name": "first", "image": "sample:v1", **sh("sleep 3")}]} if init else {}
        await w.create(pod("p", spec=more, container={
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "initialDelaySeconds": 4}}))
        await until(lambda: w.ready("p"), within_s=60)
        at = {item["type"]: item["lastTransitionTime"] for item in (await w.status("p"))["conditions"]}
        early = ("PodReadyToStartContainers", "Initialized") if init else ("Initialized", "PodReadyToStartContainers")
        order = [at[kind] for kind in (*early, "ContainersReady", "Ready")]
        assert order == sorted(order)
        assert at["PodReadyToStartContainers"] < at["ContainersReady"]

    simulated(tmp_path, body)


def test_rt_06_a_failing_container_has_a_reason(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", spec={"restartPolicy": "Never"}, container=sh("false")))
        state = await ended(w, "p")
        assert (state["exitCode"], state["reason"]) == (1, "Error")

    simulated(tmp_path, body)


@pytest.mark.parametrize(("image", "policy", "reason", "message"), [
    ("nowhere.example/a:v9", "IfNotPresent", "ImagePullBackOff",
     'Back-off pulling image "nowhere.example/a:v9": ErrImagePull: '),
    ("nowhere.example/a:v9", "Never", "ErrImageNeverPull",
     'Container image "nowhere.example/a:v9" is not present with pull policy of Never'),
    ("UPPER:v1", "IfNotPresent", "InvalidImageName", 'Failed to apply default image tag "UPPER:v1": couldn\'t parse '
     'image name "UPPER:v1": invalid reference format: repository name (library/UPPER) must be lowercase'),
])
def test_rt_05_an_image_that_cannot_be_had(
    tmp_path: Path, image: str, policy: str, reason: str, message: str
) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", image=image, container={"imagePullPolicy": policy}))

        async def waits() -> Any:
            waiting = ((await w.container("p")).get("state") or {}).get("waiting") or {}
            return waiting if waiting.get("reason") == reason else None

        waiting = await until(waits, within_s=60)
        assert waiting["message"].startswith(message)
        assert (await w.status("p"))["phase"] == "Pending"
        assert any(event["message"] == f"Error: {reason}" for event in await w.events("Failed"))
        await w.client.patch(PODS, "p", {"spec": {"containers": [{"name": "app", "image": "sample:v2"}]}}, "default",
                             patch_type=PatchType.STRATEGIC)
        await until(lambda: w.ready("p"), within_s=5, what="the new image does not wait for the old one's back-off")

    simulated(tmp_path, body, profile=KUBERNETES)


def test_rt_07_an_image_update_resets_the_backoff(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", container=sh("sleep 5; exit 1")))
        loop = asyncio.get_running_loop()

        async def next_delay(least: int) -> float:
            """Of the restart with at least that number."""
            async def waits() -> bool:
                app = await w.container("p")
                return app.get("restartCount", 0) >= least and "waiting" in app["state"]

            await until(waits, within_s=600)
            begun = loop.time()
            await until(lambda: any(item.running for item in w.containers()), within_s=600)
            return loop.time() - begun

        early = await next_delay(1)
        assert await next_delay(5) > 60
        await w.client.patch(PODS, "p", {"spec": {"containers": [{"name": "app", "image": "sample:v2"}]}}, "default",
                             patch_type=PatchType.STRATEGIC)
        count = (await w.container("p"))["restartCount"]
        assert await next_delay(count + 1) <= 2 * early

    simulated(tmp_path, body, profile=KUBERNETES)


def test_rt_08_the_backoff_is_capped_and_begins_anew_after_ten_good_minutes(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", container=sh("test -f /keep/on && sleep 700; exit 1", volumeMounts=[
            {"name": "keep", "mountPath": "/keep"}]), spec={"volumes": [{"name": "keep", "emptyDir": {}}]}))
        seen: dict[str, float] = {}
        loop = asyncio.get_running_loop()

        async def times_for(seconds: float) -> list[float]:
            until_s = loop.time() + seconds
            while loop.time() < until_s:
                await asyncio.sleep(0.5)
                for item in w.containers():
                    if item.started_at is not None:
                        seen.setdefault(item.id, item.started_s)
            return sorted(seen.values())

        def gaps(times: list[float]) -> list[float]:
            return [b - a for a, b in zip(times, times[1:], strict=False)]

        longest = gaps(await times_for(27 * 60))[-3:]
        assert all(300 <= gap < 316 for gap in longest)
        uid = (await w.get("p"))["metadata"]["uid"]
        (w.facts.directory / "pods" / uid / "volumes" / "keep" / "on").write_text("")
        times = await times_for(320 + 700 + 60)
        after = gaps(times)[-3:]
        assert any(699 < gap < 705 for gap in after)  # it ran long enough: started again at once
        assert (await w.container("p"))["restartCount"] == len(times) - 1

    simulated(tmp_path, body, profile=KUBERNETES)


def test_a_pod_past_its_deadline_is_failed_once_its_containers_have_ended(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", spec={"activeDeadlineSeconds": 5, "terminationGracePeriodSeconds": 4},
                           container=sh("trap '' TERM; while true; do sleep 0.2; done")))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await until(lambda: w.events("DeadlineExceeded"))
        assert (await w.status("p"))["phase"] == "Running"

        async def failed() -> bool:
            return (await w.status("p"))["phase"] == "Failed"

        await until(failed)
        assert 8.5 < loop.time() - begun < 11
        status = await w.status("p")
        assert (status["reason"], status["message"]) == (
            "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        assert not w.containers(status="running")

    simulated(tmp_path, body)
