"""A pod's life on its node, in virtual time: start, restart, back-off, probes, deletion."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from node_world import condition, pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.labels import MONOTONIC_NS
from testbed.api.resources import NODES, PODS
from testbed.core.profile import KUBERNETES

PROBES = {
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 1},
}


def test_a_pod_gets_ready_and_its_status_says_all(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES))
        await until(lambda: w.ready("web"))
        status = await w.status("web")
        assert status["phase"] == "Running"
        assert status["podIP"] == "10.99.1.2"
        app = await w.container("web")
        assert (app["ready"], app["started"], app["restartCount"]) == (True, True, 0)
        assert {e["reason"] for e in await w.events()} >= {"Pulled", "Created", "Started", "ContainerReady"}
        moments = {e["reason"]: int(e["metadata"]["annotations"][MONOTONIC_NS]) for e in await w.events()}
        assert moments["Pulled"] <= moments["Created"] < moments["Started"]
        node = await w.client.get(NODES, "n1")
        assert condition(node["status"], "Ready") == "True"

    simulated(tmp_path, body)


def test_a_crashed_container_is_started_again_from_its_spare(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        await w.create(pod("web", container=PROBES))
        await until(lambda: w.ready("web"))
        await until(lambda: len(w.containers(status="created")) == 1, what="a spare")
        loop = asyncio.get_running_loop()
        old = w.running()
        begun = loop.time()
        await w.crash()
        await until(lambda: w.containers(status="running") and w.running() is not old)
        assert loop.time() - begun < 0.12
        assert agent.measures.spares_used == 1
        await until(lambda: w.ready("web"))
        app = await w.container("web")
        assert app["restartCount"] == 1
        assert app["lastState"]["terminated"]["exitCode"] == 137
        died = (await w.events("ContainerDied"))[0]
        assert int(died["metadata"]["annotations"]["testbed.io/monotonic-ns"]) <= int((begun + 0.01) * 1e9)

    simulated(tmp_path, body)


def test_every_crash_finds_a_spare(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        await w.create(pod("web"))
        await until(lambda: w.ready("web"))
        for number in range(1, 5):
            await until(lambda: w.containers(status="created"), what="a spare")
            await asyncio.sleep(65)  # longer than the reset window: no back-off
            await w.crash()
            await until(lambda number=number: agent.measures.spares_used == number)  # type: ignore[misc]
            await until(lambda: w.containers(status="running"))

    simulated(tmp_path, body)


def start_times(w: SimulatedWorld, seen: dict[str, float]) -> list[float]:
    for item in w.containers():
        if item.started_at is not None:
            seen.setdefault(item.id, item.started_s)
    return sorted(seen.values())


def test_row35_backoff_of_an_always_failing_container_has_upstreams_start_times(tmp_path: Path) -> None:
    """0, 0, 10, 30, 70, 150, 310 s (kubernetes: test/e2e_node/container_restart_test.go), agent restarts or not."""

    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("bad", container={"command": ["sh", "-c", "exit 1"]}))
        seen: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() < begun + 330:
            await asyncio.sleep(0.5)
            start_times(w, seen)
            if 95 < loop.time() - begun < 96:
                await w.kill_agent()
                await w.start_agent()
        times = start_times(w, seen)
        first = times[0]
        assert len(times) == 7
        assert all(abs(t - first - due) < 1 for t, due in zip(times, (0, 0, 10, 30, 70, 150, 310), strict=True))
        app = await w.container("bad")
        assert app["restartCount"] == 6
        waiting = app["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        assert "back-off 5m0s restarting failed container=app" in waiting["message"]
        assert (await w.events("BackOff"))[0]["type"] == "Warning"

    simulated(tmp_path, body, profile=KUBERNETES)


def test_row36_a_crash_loop_keeps_a_bounded_number_of_containers(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("bad", container={"command": ["sh", "-c", "exit 1"]}))
        for _ in range(60):
            await asyncio.sleep(1)
            assert len(w.containers()) <= 5
        await asyncio.sleep(3)
        assert len(w.containers()) <= 3  # the last two, and one made in advance

    simulated(tmp_path, body)


def test_restart_policies(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        for policy in ("Never", "OnFailure"):
            for code in (0, 3):
                await w.create(pod(f"{policy.lower()}-{code}", spec={"restartPolicy": policy},
                                   container={"command": ["sh", "-c", f"exit {code}"]}))
        await asyncio.sleep(20)
        assert (await w.status("never-0"))["phase"] == "Succeeded"
        assert (await w.status("never-3"))["phase"] == "Failed"
        assert (await w.container("never-3"))["state"]["terminated"]["exitCode"] == 3
        assert (await w.status("onfailure-0"))["phase"] == "Succeeded"
        assert (await w.container("onfailure-0"))["restartCount"] == 0
        assert (await w.status("onfailure-3"))["phase"] == "Running"
        assert (await w.container("onfailure-3"))["restartCount"] >= 3

    simulated(tmp_path, body)


def test_liveness_failure_kills_and_restarts(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES, spec={"terminationGracePeriodSeconds": 3}))
        await until(lambda: w.ready("web"))
        old = w.running()
        old.application.hung = True
        await until(lambda: w.containers(status="running") and old.status != "running", within_s=30)
        await until(lambda: w.ready("web"), within_s=30)
        killing = (await w.events("Killing"))[0]
        assert killing["message"] == "Container app failed liveness probe, will be restarted"
        assert (await w.container("web"))["restartCount"] == 1

    simulated(tmp_path, body)


def test_a_frozen_container_is_caught_by_liveness_and_killed_from_the_host(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES, spec={"terminationGracePeriodSeconds": 3}))
        await until(lambda: w.ready("web"))
        old = w.running()
        await w.host.freeze(old.cgroup)
        await until(lambda: w.events("Killing"), within_s=30)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await until(lambda: old.status != "running" and w.containers(status="running"), within_s=60)
        assert loop.time() - begun > 2.5  # it cannot answer SIGTERM, and has its grace all the same
        await until(lambda: w.ready("web"), within_s=30)

    simulated(tmp_path, body)


def test_a_frozen_container_that_is_thawed_in_its_grace_ends_though_its_agent_died(tmp_path: Path) -> None:
    """The next agent finds it healthy and asks nothing of it: that it was asked once must be enough."""
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES, spec={"terminationGracePeriodSeconds": 5}))
        await until(lambda: w.ready("web"))
        old = w.running()
        await w.host.freeze(old.cgroup)
        await until(lambda: old.signals, within_s=30)
        await w.kill_agent()
        await w.host.thaw(old.cgroup)
        await w.start_agent()
        await until(lambda: not old.running and w.containers(status="running"), within_s=30)
        assert [number for _, number, _ in old.signals] == [signal.SIGTERM]

        async def told() -> bool:
            return (await w.container("web"))["lastState"].get("terminated", {}).get("exitCode") == 0

        await until(told, within_s=30)

    simulated(tmp_path, body)


def test_readiness_flips_are_patched_at_once(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES))
        await until(lambda: w.ready("web"))
        w.running().application.unready = True
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def unready() -> bool:
            return not await w.ready("web")

        await until(unready)
        assert loop.time() - begun < 3.5  # three failures, a second apart
        assert (await w.container("web"))["restartCount"] == 0
        w.running().application.unready = False
        await until(lambda: w.ready("web"))
        assert {e["reason"] for e in await w.events()} >= {"ContainerReady", "ContainerUnready", "Unhealthy"}

    simulated(tmp_path, body)


def test_startup_probe_holds_the_others_back(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        started = {"path": "/startupz", "port": 8080}
        await w.create(pod("slow", container={
            **PROBES, "env": [{"name": "START_DELAY_S", "value": "8"}],
            "startupProbe": {"httpGet": started, "periodSeconds": 1, "failureThreshold": 20},
            "livenessProbe": {"httpGet": started, "periodSeconds": 1, "failureThreshold": 1},
        }))
        await until(lambda: w.ready("slow"), within_s=40)
        assert (await w.container("slow"))["restartCount"] == 0

    simulated(tmp_path, body)


def test_deletion_ends_containers_gracefully_and_removes_the_object_after(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        await w.create(pod("web", container={**PROBES, "env": [{"name": "DRAIN_S", "value": "4"}]}))
        await until(lambda: w.ready("web"))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await w.client.delete(PODS, "web", "default")
        await until(lambda: not w.containers(status="running"))
        ended = loop.time()

        async def gone() -> bool:
            return not (await w.client.list(PODS, "default")).items

        await until(gone)
        assert 3.9 < ended - begun < 5
        assert loop.time() >= ended
        await until(lambda: not w.machine.containers)
        await until(lambda: not agent.workers)
        assert not list((tmp_path / "node" / "pods").iterdir())

    simulated(tmp_path, body)


def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("stubborn", container={"command": ["sleep", "infinity"]},
                           spec={"terminationGracePeriodSeconds": 6}))
        await until(lambda: w.ready("stubborn"))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await w.client.delete(PODS, "stubborn", "default")
        await until(lambda: not w.containers(status="running"))
        assert 5.9 < loop.time() - begun < 7

    simulated(tmp_path, body)


def test_a_missing_config_map_is_waited_for(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        from testbed.api.resources import CONFIG_MAPS

        await w.start_agent()
        await w.create(pod("web", container={"env": [
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "colors", "key": "main"}}},
        ]}))

        async def refused() -> Any:
            state = (await w.container("web")).get("state") or {}
            return (state.get("waiting") or {}).get("reason") == "CreateContainerConfigError"

        await until(refused)
        await w.client.create(CONFIG_MAPS, {"metadata": {"name": "colors"}, "data": {"main": "red"}}, "default")
        await until(lambda: w.ready("web"))
        assert ("COLOR", "red") in w.running().spec.env

    simulated(tmp_path, body)


def test_a_missing_image_says_so_and_backs_off(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", image="nowhere:v9"))

        async def reason() -> str:
            state = (await w.container("web")).get("state") or {}
            return str((state.get("waiting") or {}).get("reason"))

        seen = set()
        for _ in range(40):
            await asyncio.sleep(0.25)
            seen.add(await reason())
        assert seen >= {"ErrImagePull", "ImagePullBackOff"}
        w.machine.add_image("nowhere:v9")
        await until(lambda: w.ready("web"), within_s=60)

    simulated(tmp_path, body)


def test_privileged_and_host_network_are_refused_in_words(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("rude", container={"securityContext": {"privileged": True}}))
        await w.create(pod("cap", container={"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}))

        async def refused() -> bool:
            messages = [((await w.container(name)).get("state") or {}).get("waiting", {}).get("message", "")
                        for name in ("rude", "cap")]
            return "privileged containers are refused" in messages[0] and "SYS_ADMIN is refused" in messages[1]

        await until(refused)
        assert not w.containers()

    simulated(tmp_path, body)


def test_init_containers_run_one_after_the_other_before_the_rest(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("staged", spec={"initContainers": [
            {"name": "one", "image": "sample:v1", "command": ["sh", "-c", "exit 0"]},
            {"name": "two", "image": "sample:v1", "command": ["sleep", "3"]},
        ]}))
        await until(lambda: w.containers("two", "running"))
        assert not w.containers("app", "running")
        assert (await w.status("staged"))["phase"] == "Pending"
        await until(lambda: w.ready("staged"))
        one, two, app = w.containers("one")[0], w.containers("two")[0], w.running()
        assert one.started_s < two.started_s < app.started_s
        assert condition(await w.status("staged"), "Initialized") == "True"

    simulated(tmp_path, body)


def test_sidecars_start_first_and_end_last(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("job", spec={
            "restartPolicy": "Never",
            "initContainers": [{"name": "side", "image": "sample:v1", "restartPolicy": "Always"}],
        }, container={"command": ["sleep", "5"]}))
        await until(lambda: w.containers("app", "running"))
        assert w.containers("side", "running")
        await until(lambda: not w.containers("side", "running"), within_s=60)
        assert w.containers("app")[0].status == "exited"

        async def succeeded() -> bool:
            return (await w.status("job"))["phase"] == "Succeeded"

        await until(succeeded)

    simulated(tmp_path, body)


def test_a_killed_sandbox_is_made_anew_with_its_containers(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("web", container=PROBES))
        await until(lambda: w.ready("web"))
        address = (await w.status("web"))["podIP"]
        await w.crash("POD")

        async def moved() -> bool:
            return await w.ready("web") and (await w.status("web"))["podIP"] != address

        await until(moved, within_s=60)
        assert "SandboxChanged" in {e["reason"] for e in await w.events()}
        assert (await w.container("web"))["restartCount"] == 1

    simulated(tmp_path, body)
