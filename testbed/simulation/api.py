"""The simulated API server's process and the ways to it.

The registry, control plane and feeder are the real ones, over a store on disk, so that a kill and a restart lose what
is lost and keep what is kept. A ``Line`` stands for a process's way to the API: its node's cable.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from testbed.api.clock import WallClock
from testbed.api.resources import ResourceType
from testbed.client.events import EventRecorder
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import Client, Json, ObjectList, PatchType, WatchEvent
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import Profile
from testbed.errors import ApiUnavailable
from testbed.network.feeder import GatewayFeeder
from testbed.network.ingress_feeder import IngressFeeder
from testbed.runtime.simulated import SimulatedMachine
from testbed.runtime.simulated_machine import Process
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.simulation.line import FROM_API, TO_API
from testbed.simulation.line import Line as Line
from testbed.simulation.loop import SimulatedProcess, VirtualLoop
from testbed.store import Store

Result = TypeVar("Result")

CALL_DEADLINE_S = 10.0
WATCH_SILENCE_S = 90.0
_LOOK_S = 0.05
_LATENCY_S = (0.0005, 0.003)
GATEWAY_ADDRESS = "10.200.0.2"
NODE_PORTS = tuple(range(30000, 30016))


class SimulatedApi:
    """``log``: takes a line for each write that was made. ``machine``, ``cgroup``: where its process is, which may be
    killed and frozen as any other. ``died``: called when a signal has ended it; who keeps it starts it again."""

    def __init__(
        self, loop: VirtualLoop, path: Path, *, profile: Profile, clock: WallClock, seed: str, service_range: str,
        kubernetes_address: str, gateway_socket: Path, log: Callable[[str], None], machine: SimulatedMachine,
        cgroup: str,
    ) -> None:
        self._loop, self._machine, self.cgroup = loop, machine, cgroup
        self._path, self.profile, self.clock, self._seed = path, profile, clock, seed
        self._service_range, self._kubernetes_address = service_range, kubernetes_address
        self._gateway_socket = gateway_socket
        self.log = log
        self.up = False
        self.epoch = 0
        self.registry: Registry | None = None
        self.client: Client | None = None
        self.control_plane: ControlPlane | None = None
        self.process: SimulatedProcess | None = None
        self.in_kernel: Process | None = None
        self.died: Callable[[], None] = lambda: None
        self._running: asyncio.Task[None] | None = None

    @property
    def frozen(self) -> bool:
        return self._machine.is_frozen(self.cgroup)

    async def start(self) -> None:
        """Harmless when it runs."""
        if self.up:
            return
        self.epoch += 1
        draw = random.Random(f"{self._seed} api {self.epoch}")
        self.registry = Registry(
            Store(self._path), clock=self.clock, random=draw, profile=self.profile,
            service_range=self._service_range, node_ports=NODE_PORTS,
        )
        ensure_system_objects(self.registry, self._kubernetes_address)
        self.client = LoggedClient(InProcessClient(self.registry), self.log)
        self.control_plane = ControlPlane(self.client, profile=self.profile, clock=self.clock, random=draw)
        self.in_kernel = self._machine.spawn(self.cgroup, self._signalled)
        self.process = SimulatedProcess(self._loop, lambda: self.frozen)
        self._machine.thaws.append(self.process.thawed)
        self._running = asyncio.create_task(
            self._run(self.client, self.control_plane, draw), name="api", context=self.process.context()
        )
        self.up = True
        self.log("api start")

    async def _run(self, client: Client, control_plane: ControlPlane, draw: random.Random) -> None:
        recorder = EventRecorder(client, "gateway", self.clock, random=draw)
        feeder = GatewayFeeder(client, self._gateway_socket, recorder)
        ingresses = IngressFeeder(client, self._gateway_socket, recorder, GATEWAY_ADDRESS)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(control_plane.run())
                group.create_task(feeder.run())
                group.create_task(ingresses.run())
        finally:
            await recorder.close()

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGKILL, signal.SIGTERM) and self.up:
            self.kill()
            self.died()

    def kill(self) -> None:
        """As by SIGKILL: nothing is written or said any more. It stays down until somebody starts it."""
        if not self.up or self._running is None or self.registry is None:
            return
        self.up = False
        self.log("api kill")
        if self.process is not None:
            self.process.dead = True
            self._machine.thaws.remove(self.process.thawed)
        if self.in_kernel is not None:
            self._machine.end(self.in_kernel)
        self.registry.store.close()

    @property
    def failure(self) -> BaseException | None:
        """Why the control plane ended by itself, which it must not."""
        if self.up and self._running is not None and self._running.done() and not self._running.cancelled():
            return self._running.exception()
        return None


class LoggedClient:
    """The API process's own client: every write leaves a line, without wall time."""

    def __init__(self, inner: Client, log: Callable[[str], None]) -> None:
        self._inner, self._log = inner, log

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        return await self._inner.get(resource, name, namespace)

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        return await self._inner.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )

    def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        return self._inner.watch(
            resource, namespace, resource_version=resource_version, label_selector=label_selector,
            field_selector=field_selector,
        )

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        made = await self._inner.create(resource, obj, namespace)
        self._note("create", resource, made["metadata"]["name"])
        return made

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        self._note("update", resource, obj["metadata"]["name"], subresource)
        return await self._inner.update(resource, obj, subresource=subresource)

    async def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Json:
        self._note("patch", resource, name, subresource)
        return await self._inner.patch(
            resource, name, patch, namespace, patch_type=patch_type, subresource=subresource
        )

    async def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, *, grace_period_s: int | None = None,
        propagation: str = "Background", uid: str = "",
    ) -> None:
        self._note("delete", resource, name)
        await self._inner.delete(
            resource, name, namespace, grace_period_s=grace_period_s, propagation=propagation, uid=uid
        )

    async def delete_collection(
        self, resource: ResourceType, namespace: str, *, label_selector: str = "", grace_period_s: int | None = None,
    ) -> None:
        self._note("deletecollection", resource, label_selector)
        await self._inner.delete_collection(
            resource, namespace, label_selector=label_selector, grace_period_s=grace_period_s)

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json:
        self._note("create", resource, name, subresource)
        return await self._inner.create_subresource(resource, name, subresource, body, namespace)

    async def close(self) -> None:
        return

    def _note(self, verb: str, resource: ResourceType, name: str, subresource: str = "") -> None:
        self._log(" ".join(part for part in (verb, resource.plural, name, subresource) if part))


class LineClient:
    """A client of another process: its calls take their time, its way may be cut or slow, the API may be down or
    frozen."""

    def __init__(self, api: SimulatedApi, line: Line, draw: random.Random) -> None:
        self._api, self._line, self._draw = api, line, draw
        self._idle = 0  # open connections that nobody uses; one on which it waited in vain is closed

    async def _call(self, call: Callable[[Client], Awaitable[Result]]) -> Result:
        fresh = not self._idle
        self._idle = max(0, self._idle - 1)
        await self._line.cross(TO_API, CALL_DEADLINE_S, fresh=fresh)
        await asyncio.sleep(self._draw.uniform(*_LATENCY_S))
        await self._line.cross(TO_API, CALL_DEADLINE_S, fresh=fresh)
        await self._thawed(CALL_DEADLINE_S)
        result = await call(self._reached())
        await self._line.cross(FROM_API, CALL_DEADLINE_S)  # done, but the answer may never come
        self._idle += 1
        return result

    async def connect(self) -> None:
        """A new connection, and one question on it. Raises: ApiUnavailable."""
        self._idle = 0

        async def answer(client: Client) -> None:
            return

        await self._call(answer)

    async def _thawed(self, deadline_s: float) -> None:
        """A frozen process is connected to, by its kernel, and does not answer. Raises: ApiUnavailable."""
        deadline = asyncio.get_running_loop().time() + deadline_s
        while self._api.up and self._api.frozen:
            if asyncio.get_running_loop().time() >= deadline:
                raise ApiUnavailable(f"no answer within {deadline_s:g} s")
            await asyncio.sleep(_LOOK_S)

    def _reached(self) -> Client:
        if not self._api.up or self._api.client is None:
            raise ApiUnavailable("the API cannot be reached: connection refused")
        return self._api.client

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        return await self._call(lambda client: client.get(resource, name, namespace))

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        return await self._call(lambda client: client.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        ))

    async def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        await self._line.cross(TO_API, CALL_DEADLINE_S, fresh=True)
        await self._thawed(CALL_DEADLINE_S)
        epoch = self._api.epoch
        async for event in self._reached().watch(
            resource, namespace, resource_version=resource_version, label_selector=label_selector,
            field_selector=field_selector,
        ):
            await self._line.cross(FROM_API, WATCH_SILENCE_S)
            if self._api.epoch != epoch or not self._api.up:
                raise ApiUnavailable("the watch was broken off")
            yield event

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        return await self._call(lambda client: client.create(resource, obj, namespace))

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        return await self._call(lambda client: client.update(resource, obj, subresource=subresource))

    async def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Json:
        return await self._call(lambda client: client.patch(
            resource, name, patch, namespace, patch_type=patch_type, subresource=subresource
        ))

    async def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, *, grace_period_s: int | None = None,
        propagation: str = "Background", uid: str = "",
    ) -> None:
        await self._call(lambda client: client.delete(
            resource, name, namespace, grace_period_s=grace_period_s, propagation=propagation, uid=uid
        ))

    async def delete_collection(
        self, resource: ResourceType, namespace: str, *, label_selector: str = "", grace_period_s: int | None = None,
    ) -> None:
        await self._call(lambda client: client.delete_collection(
            resource, namespace, label_selector=label_selector, grace_period_s=grace_period_s))

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json:
        return await self._call(lambda client: client.create_subresource(
            resource, name, subresource, body, namespace
        ))

    async def close(self) -> None:
        return
