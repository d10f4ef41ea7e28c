"""A cluster as a conformance case sees it: the same on the simulated and on the real engine.

Decides how a case waits, looks and acts; what must come true is the case's own. Times are seconds of the loop: virtual
on the simulated engine, real on Docker. Everything of a case lives in a namespace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from testbed.api import labels
from testbed.api.resources import EVENTS, NAMESPACES, NODES, PODS, ResourceType
from testbed.client.protocol import Client, PatchType
from testbed.errors import ApiError, EngineError, EngineUnavailable, NotFound
from testbed.runtime.containers import ContainerState, ExecResult
from testbed.runtime.protocol import Engine

Json = dict[str, Any]
Look = Callable[[], Any]


class Room(Protocol):
    """Power and cables of nodes."""

    async def set_power(self, name: str, *, on: bool) -> None: ...

    async def set_cable(self, name: str, *, cut: bool, deadline_s: float | None = None) -> None: ...


@dataclass
class Kube:
    """``pause_s``: between two looks. ``instance_id``: whose containers are the cluster's. ``world``: the simulated
    cluster, None on a real one; only what a case cannot say otherwise goes through it."""

    client: Client
    engine: Engine
    room: Room
    instance_id: str
    namespace: str
    pause_s: float
    world: Any = None

    @property
    def real(self) -> bool:
        return self.world is None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # --- waiting

    async def until(self, what: str, look: Look, within_s: float, *, pause_s: float = 0.0) -> Any:
        """Waits until ``look`` (plain or a coroutine) gives something true, and returns it. An object that is not
        there yet is waited for. Raises: AssertionError saying what did not come."""
        began, last = self.now(), ""
        while True:
            try:
                if found := await _looked(look):
                    return found
                last = ""
            except (NotFound, EngineError) as error:
                last = f" ({error})"
            if self.now() - began > within_s:
                raise AssertionError(f"not within {within_s:g} s: {what}{last}")
            await asyncio.sleep(pause_s or self.pause_s)

    async def holds(self, what: str, look: Look, for_s: float, *, pause_s: float = 1.0) -> None:
        """Every look for so long gives something true. Raises: AssertionError."""
        began = self.now()
        while self.now() - began < for_s:
            assert await _looked(look), f"after {self.now() - began:.1f} s it no longer held: {what}"
            await asyncio.sleep(pause_s)

    async def until_taken(self, what: str, act: Callable[[], Awaitable[Any]], within_s: float,
                          *refusals: type[ApiError]) -> None:
        """Tries ``act`` again as long as the API refuses it with one of these."""
        async def taken() -> bool:
            try:
                await act()
            except refusals:
                return False
            return True

        await self.until(what, taken, within_s)

    # --- objects

    def _place(self, resource: ResourceType) -> str | None:
        return self.namespace if resource.namespaced else None

    async def create(self, resource: ResourceType, obj: Mapping[str, Any]) -> Json:
        made: Json = await self.client.create(resource, obj, self._place(resource))
        return made

    async def get(self, resource: ResourceType, name: str) -> Json:
        return await self.client.get(resource, name, self._place(resource))

    async def list(self, resource: ResourceType, selector: str = "") -> list[Json]:
        found = await self.client.list(resource, self._place(resource), label_selector=selector)
        return list(found.items)

    async def patch(self, resource: ResourceType, name: str, patch: Any, *, subresource: str = "",
                    patch_type: PatchType = PatchType.MERGE) -> Json:
        return await self.client.patch(
            resource, name, patch, self._place(resource), patch_type=patch_type, subresource=subresource)

    async def update(self, resource: ResourceType, name: str, change: Callable[[Json], None], *,
                     subresource: str = "") -> Json:
        """Reads, changes, writes."""
        obj = await self.get(resource, name)
        change(obj)
        return await self.client.update(resource, obj, subresource=subresource)

    async def delete(self, resource: ResourceType, name: str, *, grace_s: int | None = None,
                     propagation: str = "Background") -> None:
        await self.client.delete(
            resource, name, self._place(resource), grace_period_s=grace_s, propagation=propagation)

    async def gone(self, resource: ResourceType, name: str, within_s: float) -> float:
        """Waits until it is gone. Returns when (loop time)."""
        async def look() -> bool:
            try:
                await self.get(resource, name)
            except NotFound:
                return True
            return False

        await self.until(f"{resource.kind} {name} is gone", look, within_s)
        return self.now()

    async def refused(self, act: Awaitable[Any]) -> ApiError:
        """The error of an act that must fail."""
        try:
            await act
        except ApiError as error:
            return error
        raise AssertionError("it was not refused")

    async def nodes(self) -> list[str]:
        return sorted(node["metadata"]["name"] for node in await self.list(NODES))

    async def events(self, name: str, reason: str = "") -> list[Json]:
        """Those about the object of that name."""
        return [event for event in await self.list(EVENTS)
                if event["involvedObject"].get("name") == name and reason in ("", event["reason"])]

    # --- pods

    async def pod(self, name: str) -> Json:
        return await self.get(PODS, name)

    async def phase(self, name: str, *phases: str, within_s: float = 300) -> Json:
        """Waits for one of the phases and returns the pod."""
        async def look() -> Json | None:
            pod = await self.pod(name)
            return pod if pod.get("status", {}).get("phase") in phases else None

        found: Json = await self.until(f"pod {name} is {' or '.join(phases)}", look, within_s)
        return found

    async def ready(self, name: str, within_s: float = 300) -> Json:
        async def look() -> Json | None:
            pod = await self.pod(name)
            return pod if is_true(pod, "Ready") else None

        found: Json = await self.until(f"pod {name} is ready", look, within_s)
        return found

    async def ready_pods(self, selector: str, count: int, within_s: float = 300) -> list[Json]:
        """Waits until exactly so many pods are ready and none is being deleted."""
        async def look() -> list[Json] | None:
            pods = await self.list(PODS, selector)
            ready = [pod for pod in pods if is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")]
            return ready if len(ready) == count == len(pods) else None

        if count == 0:
            await self.until(f"no pods {selector}", lambda: _none(self.list(PODS, selector)), within_s)
            return []
        found: list[Json] = await self.until(f"{count} ready pods {selector}", look, within_s)
        return found

    async def restarts(self, name: str, container: str = "app") -> int:
        status = container_status(await self.pod(name), container)
        return int(status["restartCount"]) if status else 0

    async def restarted(self, name: str, container: str = "app", *, times: int = 1, within_s: float = 240) -> float:
        """Waits for so many restarts; the count never drops. Returns when the last was seen."""
        seen = await self.restarts(name, container)
        goal = seen + times

        async def look() -> bool:
            nonlocal seen
            now = await self.restarts(name, container)
            assert now >= seen, f"the restart count dropped from {seen} to {now}"
            seen = now
            return now >= goal

        await self.until(f"{container} of {name} was restarted {times} times", look, within_s, pause_s=0.5)
        return self.now()

    async def never_restarted(self, name: str, container: str = "app", *, for_s: float = 240) -> None:
        await self.running(name, container)

        async def look() -> bool:
            return await self.restarts(name, container) == 0

        await self.holds(f"{container} of {name} was not restarted", look, for_s, pause_s=2)

    async def running(self, name: str, container: str = "app", within_s: float = 300) -> Json:
        """Waits until the container runs and returns its status."""
        async def look() -> Json | None:
            status = container_status(await self.pod(name), container)
            return status if status and "running" in status["state"] else None

        found: Json = await self.until(f"{container} of {name} runs", look, within_s)
        return found

    async def kill_pods(self) -> None:
        """All pods of this namespace at once, without grace."""
        for pod in await self.list(PODS):
            with contextlib.suppress(NotFound):
                await self.delete(PODS, pod["metadata"]["name"], grace_s=0)

    # --- containers

    async def containers(self, pod: str, container: str = "") -> list[ContainerState]:
        """As the engine knows them, running or not."""
        wanted = {labels.INSTANCE: self.instance_id, labels.POD_NAMESPACE: self.namespace, labels.POD_NAME: pod}
        if container:
            wanted[labels.CONTAINER_NAME] = container
        return list(await self.engine.list(wanted))

    async def run(self, pod: str, *argv: str, container: str = "app", timeout_s: float = 10) -> ExecResult:
        """A program inside the running container. Raises: AssertionError when none runs."""
        found = [state for state in await self.containers(pod, container) if state.running]
        assert found, f"{container} of {pod} does not run"
        return await self.engine.exec(found[0].id, argv, timeout_s=timeout_s)

    async def read(self, pod: str, path: str, container: str = "app") -> str:
        """A file's content inside the container, ``""`` when there is none."""
        try:
            result = await self.run(pod, "cat", path, container=container)
        except (EngineError, EngineUnavailable):
            return ""
        return result.output.decode() if result.exit_code == 0 else ""

    async def logs(self, pod: str, container: str = "app") -> str:
        """Of its newest container."""
        states = sorted(await self.containers(pod, container), key=lambda state: state.created_at)
        assert states, f"{container} of {pod} has no container"
        return b"".join([line async for line in self.engine.logs(states[-1].id)]).decode()

    # --- requests from outside

    async def fetch(self, address: str, path: str = "/", port: int = 8080, timeout_s: float = 5) -> tuple[int, str]:
        """Status and body of a GET. Raises: OSError, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(int(line.split(":")[1]) for line in head.split("\r\n")
                              if line.lower().startswith("content-length:"))
                return int(head.split()[1]), (await reader.readexactly(length)).decode()
            except EOFError as error:
                raise ConnectionResetError("closed in the middle") from error
            finally:
                writer.close()

    async def remembered(self, address: str) -> list[str]:
        """The words that were sent to a sample application's ``/remember``."""
        found: list[str] = json.loads((await self.fetch(address, "/remembered"))[1])
        return found

    async def take_away(self) -> None:
        """The namespace with all in it."""
        with contextlib.suppress(ApiError):
            await self.kill_pods()
        await self.client.delete(NAMESPACES, self.namespace)
        end = self.now() + 60
        while self.now() < end:
            with contextlib.suppress(ApiError):
                await self.kill_pods()
            try:
                await self.client.get(NAMESPACES, self.namespace)
            except NotFound:
                return
            await asyncio.sleep(self.pause_s)
        raise AssertionError(f"namespace {self.namespace} does not go")


async def _looked(look: Look) -> Any:
    found = look()
    return await found if inspect.isawaitable(found) else found


async def _none(found: Awaitable[list[Json]]) -> bool:
    return not await found


def container_status(pod: Json, container: str) -> Json | None:
    """Of a container or init container; None before the node has said anything."""
    status = pod.get("status", {})
    for item in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())):
        if item["name"] == container:
            found: Json = item
            return found
    return None


def condition(obj: Json, kind: str) -> Json | None:
    found: list[Json] = [item for item in obj.get("status", {}).get("conditions", ()) if item["type"] == kind]
    return found[0] if found else None


def is_true(obj: Json, kind: str) -> bool:
    return (condition(obj, kind) or {}).get("status") == "True"


def is_ending(obj: Json) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds_between(earlier: str, later: str) -> float:
    """Of two API timestamps (whole seconds each)."""
    return (moment(later) - moment(earlier)).total_seconds()
