"""When the API hears that a pod is not ready: at the moment of death, however long the next container's start takes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from node_world import condition, pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import EVENTS, PODS, ResourceType
from testbed.client.protocol import Client
from testbed.runtime.containers import ContainerState

READY = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 60}}  # it must not help
AT_ONCE_S = 0.1
ALIVE = READY | {"livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1,
                                   "failureThreshold": 1}}


class HeldStarts:
    """Starts of an engine that do not return before they are let go."""

    def __init__(self, w: SimulatedWorld) -> None:
        self._start = w.engine.start
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()
        w.engine.start = self.start  # type: ignore[method-assign]

    async def start(self, container: str) -> ContainerState:
        self.asked.set()
        await self.let_go.wait()
        return await self._start(container)


class Noting:
    """A client that notes what it is asked to write, in order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.order: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name not in ("create", "patch"):
            return real

        async def call(resource: ResourceType, *args: Any, **more: Any) -> Any:
            if resource in (PODS, EVENTS):
                self.order.append(resource.plural)
            return await real(resource, *args, **more)

        return call


async def unready(w: SimulatedWorld) -> bool:
    return condition(await w.status("a"), "Ready") == "False"


def test_a_crash_is_told_while_the_next_container_is_being_started(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("a", container=READY))
        await until(lambda: w.ready("a"), 70)
        await asyncio.sleep(3)  # the next container was made in advance
        held = HeldStarts(w)
        await w.crash()
        await asyncio.wait_for(held.asked.wait(), 5)
        await until(lambda: unready(w), AT_ONCE_S)
        await until(lambda: w.events("ContainerUnready"), AT_ONCE_S)
        held.let_go.set()
        await until(lambda: w.ready("a"), 70)
        assert (await w.container("a"))["restartCount"] == 1

    simulated(tmp_path, body)


def test_a_container_that_liveness_ends_is_told_unready_when_it_ends(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("a", container=ALIVE))
        await until(lambda: w.ready("a"), 70)
        await asyncio.sleep(3)
        held = HeldStarts(w)
        w.running().application.unhealthy = True
        await asyncio.wait_for(held.asked.wait(), 60)
        await until(lambda: unready(w), AT_ONCE_S)
        held.let_go.set()

    simulated(tmp_path, body)


def test_the_status_goes_out_before_the_events_that_tell_of_it(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        client = Noting(w.client)
        await w.start_agent(client=client)
        probe = {"readinessProbe": READY["readinessProbe"] | {"periodSeconds": 1, "failureThreshold": 1}}
        await w.create(pod("a", container=probe))
        await until(lambda: w.ready("a"))
        await asyncio.sleep(3)
        client.order.clear()
        w.running().application.unready = True
        await until(lambda: w.events("Unhealthy") if len(client.order) > 1 else None)
        assert client.order[0] == "pods"
        w.running().application.unready = False
        await until(lambda: w.ready("a"))
        await asyncio.sleep(3)
        client.order.clear()
        await w.crash()
        await until(lambda: w.events("ContainerDied"))
        assert client.order[0] == "pods"

    simulated(tmp_path, body)
