"""Rows of the catalogue of real bugs that touch an agent, each in virtual time (tests/../reliability, section 2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from node_world import condition, make_registry, pod, until
from simulated_world import INSTANCE_ID, SimulatedWorld, simulated

from testbed.api.resources import LEASES, NODES, PODS
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import Client
from testbed.errors import ApiUnavailable
from testbed.runtime.containers import ContainerSpec

READY = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}
BOTH = READY | {"livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}


class CutClient:
    """A client behind a cable that can be cut: no call is answered then."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cut = False
        self.healed = asyncio.Event()

    def _check(self) -> None:
        if self.cut:
            raise ApiUnavailable("the cable is cut")

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            await asyncio.sleep(0.001)
            self._check()
            return await getattr(self._client, name)(*args, **more)

        return call

    async def watch(self, *args: Any, **more: Any) -> Any:
        self._check()
        async for event in self._client.watch(*args, **more):
            if self.cut:
                await self.healed.wait()
            yield event


async def two_ready_pods(w: SimulatedWorld) -> dict[str, str]:
    """Container ids by pod name."""
    for name in ("a", "b"):
        await w.create(pod(name, container=BOTH))
    for name in ("a", "b"):
        await until(lambda name=name: w.ready(name))  # type: ignore[misc]
    return {name: (await w.container(name))["containerID"] for name in ("a", "b")}


def test_row13_a_lost_or_broken_checkpoint_kills_nothing(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        for content in (None, "{broken", "[]"):
            await w.kill_agent()
            file = tmp_path / "node" / "checkpoint.json"
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_text(content)
            await w.start_agent()
            await asyncio.sleep(5)
            for name in ("a", "b"):
                assert (await w.container(name))["containerID"] == before[name]
                assert (await w.container(name))["restartCount"] == 0

    simulated(tmp_path, body)


def test_row13_a_lost_database_kills_nothing(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await two_ready_pods(w)
        running = {item.id for item in w.containers(status="running")}
        await w.kill_agent()
        empty = InProcessClient(make_registry(tmp_path / "new.sqlite", w.profile, w.clock, seed=2))
        await w.start_agent(client=empty)
        await asyncio.sleep(30)
        assert {item.id for item in w.containers(status="running")} == running

    simulated(tmp_path, body)


def test_row14_one_container_that_vanished_while_the_agent_was_down_stops_nobody(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        await w.kill_agent()
        await w.engine.remove(before["a"].removeprefix("docker://"))
        await w.start_agent()

        async def healed() -> bool:
            container = await w.container("a")
            return bool(container["containerID"] != before["a"] and container["ready"])

        await until(healed)
        assert (await w.container("a"))["restartCount"] == 1
        assert (await w.container("b"))["containerID"] == before["b"]

    simulated(tmp_path, body)


def test_row16_helpers_in_a_pod_survive_garbage_collection(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await two_ready_pods(w)
        helpers = [
            await w.engine.create(ContainerSpec(name=f"helper-{number}", image="sample:v1", labels=more))
            for number, more in enumerate((
                {"testbed.io/instance": INSTANCE_ID, "testbed.io/node": "n1", "testbed.io/role": "holder",
                 "io.kubernetes.pod.uid": "some-pod-that-is-gone"},
                {"testbed.io/instance": "other", "testbed.io/node": "n1", "testbed.io/role": "container"},
                {},
            ))
        ]
        await asyncio.sleep(20)
        for helper in helpers:
            assert (await w.engine.inspect(helper)).status == "created"

    simulated(tmp_path, body)


def test_row17_an_agents_restart_changes_no_readiness(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await two_ready_pods(w)
        flips: list[str] = []
        version = (await w.client.list(PODS, "default")).resource_version

        async def follow() -> None:
            async for event in w.client.watch(PODS, "default", resource_version=version):
                flips.append(condition(event.object["status"], "Ready"))

        watching = asyncio.get_running_loop().create_task(follow())
        for _ in range(3):
            await w.kill_agent()
            await asyncio.sleep(1)
            await w.start_agent()
            await asyncio.sleep(5)
        watching.cancel()
        assert "False" not in flips
        assert not await w.events("ContainerUnready")

    simulated(tmp_path, body)


def test_row17_a_start_whose_answer_is_lost_is_not_done_again(tmp_path: Path) -> None:
    """Neither the answer nor an event tells that the container runs; the next try finds it, and ends nothing."""
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("a"))
        await until(lambda: bool(w.containers(status="running")))
        w.machine.hiccups.failed_start_answers = w.machine.hiccups.lost_events = 1.0
        w.machine.break_event_streams()
        crashed = w.running().id
        await w.crash()
        await until(lambda: [item for item in w.containers(status="running") if item.id != crashed])
        started = w.running().id
        w.machine.hiccups.failed_start_answers = w.machine.hiccups.lost_events = 0.0
        await asyncio.sleep(10)
        assert w.running().id == started
        assert (await w.container("a"))["restartCount"] == 1

    simulated(tmp_path, body)


def test_row19_one_container_that_hangs_the_engine_leaves_the_node_ready(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        w.machine.hiccups.hung.add(before["a"].removeprefix("docker://"))
        first = (await w.client.get(LEASES, "n1", "kube-node-lease"))["spec"]["renewTime"]
        await asyncio.sleep(10)
        assert (await w.client.get(LEASES, "n1", "kube-node-lease"))["spec"]["renewTime"] > first
        assert condition((await w.client.get(NODES, "n1"))["status"], "Ready") == "True"
        old = w.machine.find(before["b"].removeprefix("docker://"))
        process = await w.host.identify(old.process.pid)
        await w.host.signal(process, 9)

        async def healed() -> bool:
            return bool((await w.container("b"))["containerID"] != before["b"] and await w.ready("b"))

        await until(healed)

    simulated(tmp_path, body)


def test_unknown_is_not_dead_a_silent_engine_freezes_decisions(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        w.machine.hiccups.down = True
        await asyncio.sleep(30)
        w.machine.hiccups.down = False
        await asyncio.sleep(5)
        for name in ("a", "b"):
            assert (await w.container(name))["containerID"] == before[name]
            assert await w.ready(name)
        assert len(w.containers(status="running")) == 2

    simulated(tmp_path, body)


def test_cut_off_an_agent_goes_on_alone_and_tells_later(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        client = CutClient(w.client)
        await w.start_agent(client=client)  # type: ignore[arg-type]
        await w.create(pod("a", container=BOTH))
        await until(lambda: w.ready("a"))
        client.cut = True
        old = w.running()
        await w.crash()
        await until(lambda: w.containers(status="running") and w.running() is not old)
        await asyncio.sleep(20)
        assert (await w.container("a"))["restartCount"] == 0  # the API does not know yet
        client.cut = False
        client.healed.set()

        async def told() -> bool:
            return bool((await w.container("a"))["restartCount"] == 1 and await w.ready("a"))

        await until(told)

    simulated(tmp_path, body)


def test_row28_probes_spread_over_their_period_after_a_restart(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        for number in range(8):
            await w.create(pod(f"p{number}", container={
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
            }))
        for number in range(8):
            await until(lambda number=number: w.ready(f"p{number}"))  # type: ignore[misc]
        await w.kill_agent()
        agent = await w.start_agent()
        loop = asyncio.get_running_loop()
        phases: list[float] = []
        before = agent.shared.measures.probed

        def note(kind: Any, sample: Any) -> None:
            phases.append(loop.time())
            before(kind, sample)

        agent.shared.measures.probed = note  # type: ignore[method-assign]
        await asyncio.sleep(0.1)
        for worker in agent.workers.values():
            object.__setattr__(worker.probes.prober._around, "measured", note)
        await asyncio.sleep(11)
        assert len(phases) >= 8
        assert max(phases[:8]) - min(phases[:8]) > 4

    simulated(tmp_path, body)


def test_row29_addresses_are_not_given_again_at_once(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        seen = []
        for number in range(4):
            if number == 2:
                await w.kill_agent()
                await w.start_agent()
            await w.create(pod("web", container=READY))
            await until(lambda: w.ready("web"))
            seen.append((await w.status("web"))["podIP"])
            await w.client.delete(PODS, "web", "default", grace_period_s=1)
            await until(lambda: not w.machine.containers)
        assert len(set(seen)) == 4

    simulated(tmp_path, body)


def test_a_node_that_comes_back_is_cleaned_of_pods_that_were_given_away(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await two_ready_pods(w)
        await w.kill_agent()
        await w.client.delete(PODS, "a", "default", grace_period_s=0)
        await w.start_agent()
        await until(lambda: len(w.containers("POD")) == 1, within_s=30)
        await asyncio.sleep(3)
        assert await w.ready("b")
        assert len(w.containers(status="running")) == 1

    simulated(tmp_path, body)


def test_pods_that_lost_everything_in_a_reboot_are_made_anew(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        await w.kill_agent()
        for item in list(w.machine.containers.values()):
            await w.engine.remove(item.id)
        await w.start_agent()

        async def back() -> bool:
            return all([(await w.container(name))["containerID"] != before[name] and await w.ready(name)
                        for name in ("a", "b")])

        await until(back, within_s=30)
        assert (await w.container("a"))["restartCount"] == 1
        assert {e["reason"] for e in await w.events()} >= {"SandboxChanged"}

    simulated(tmp_path, body)


def test_a_second_deletion_shortens_the_grace(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("slow", container={"command": ["sleep", "infinity"]},
                           spec={"terminationGracePeriodSeconds": 300}))
        await until(lambda: w.ready("slow"))
        await w.client.delete(PODS, "slow", "default")
        await asyncio.sleep(5)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await w.client.delete(PODS, "slow", "default", grace_period_s=3)
        await until(lambda: not w.machine.containers, within_s=60)
        assert loop.time() - begun < 6

    simulated(tmp_path, body)


def test_a_wall_clock_jump_changes_nothing(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        before = await two_ready_pods(w)
        for seconds in (3600.0, -7200.0, 315360000.0):
            w.clock.jump(seconds)  # type: ignore[attr-defined]
            await asyncio.sleep(10)
        for name in ("a", "b"):
            assert (await w.container(name))["containerID"] == before[name]
            assert await w.ready(name)

    simulated(tmp_path, body)
