"""A small world for the control plane: the real registry over a real store in memory, fake agents, virtual time.

The loop's clock jumps to the next timer when nothing else is to be done, so that a test of minutes takes milliseconds
and the same test always takes the same way.
"""

from __future__ import annotations

import asyncio
import functools
import random
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    ResourceType,
)
from testbed.client.informer import Informer
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import FAST, Profile
from testbed.errors import ApiError, Conflict, NotFound
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
HORIZON_S = 2000.0
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class JumpingSelector(selectors.DefaultSelector):
    """Never waits: the time it should have waited is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self.now_s += timeout
            if self.now_s > HORIZON_S:
                raise AssertionError(f"the test still waits after {HORIZON_S} virtual seconds")
        elif not ready and timeout is None:
            raise AssertionError("nothing will ever happen any more")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class LoopClock:
    """Wall time that runs with the loop. ``jump`` sets the clock as a person would."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return NOON + self.offset + timedelta(seconds=asyncio.get_running_loop().time())


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look through it and see a coroutine
    return run


class FakeAgent:
    """Plays a node: its lease, and pods that run and get ready after ``start_s``. ``healthy(pod)`` may say no."""

    def __init__(
        self, world: World, name: str, *, start_s: float = 0.2, stop_s: float = 0.2,
        healthy: Callable[[Json], bool] = lambda pod: True, run_s: float = 1.0,
        result: Callable[[Json], int | None] = lambda pod: None,
    ) -> None:
        self.world, self.name, self.start_s, self.stop_s, self.healthy = world, name, start_s, stop_s, healthy
        self.run_s, self.result = run_s, result
        self.connected = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()

    async def register(self) -> None:
        await self.world.client.create(NODES, {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
        })
        await self.report("True")

    async def report(self, ready: str) -> None:
        await self.world.client.patch(NODES, self.name, {"status": {
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [
                {"type": kind, "status": ready if kind == "Ready" else "False", "reason": "KubeletReady",
                 "lastTransitionTime": format_time(self.world.clock.now())}
                for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
            ],
        }}, subresource="status")

    async def run(self) -> None:
        await self.register()
        while True:
            if self.connected:
                await self.renew()
                node = await self.world.client.get(NODES, self.name)
                if any(item["type"] == "Ready" and item["status"] != "True" for item in node["status"]["conditions"]):
                    await self.report("True")
                for pod in await self.world.pods(on=self.name):
                    self._mind(pod)
            await asyncio.sleep(self.world.profile.lease_renew_interval_s)

    async def renew(self) -> None:
        lease = {"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": {
            "holderIdentity": self.name, "leaseDurationSeconds": 2,
            "renewTime": format_time(self.world.clock.now(), micro=True)}}
        try:
            await self.world.client.patch(LEASES, self.name, lease, "kube-node-lease")
        except NotFound:
            await self.world.client.create(LEASES, lease, "kube-node-lease")

    def heard(self, old: Json | None, new: Json | None) -> None:
        if new is not None and new["spec"].get("nodeName") == self.name and self.connected:
            self._mind(new)

    def _mind(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._busy:
            return
        stopping = bool(pod["metadata"].get("deletionTimestamp"))
        ended = phase(pod) in ("Succeeded", "Failed")
        if not stopping and (ended or (is_ready(pod) == self.healthy(pod) and self._result_of(pod) is None)):
            return
        self._busy.add(uid)
        task = asyncio.get_running_loop().create_task(self._stop(pod) if stopping else self._start(pod))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, pod: Json) -> None:
        await asyncio.sleep(self.start_s)
        meta = pod["metadata"]
        try:
            await self._write_status(meta, self.healthy(pod))
            if (code := self._result_of(pod)) is not None:
                await asyncio.sleep(self.run_s)
                await self._write_end(meta, code)
        except ApiError:
            pass
        finally:
            self._busy.discard(meta["uid"])
        try:
            self._mind_again(await self.world.client.get(PODS, meta["name"], meta["namespace"]))
        except NotFound:
            pass

    def _mind_again(self, pod: Json) -> None:
        if pod["metadata"].get("deletionTimestamp") and self.connected:
            self._mind(pod)

    async def _write_status(self, meta: Json, ready: bool) -> None:
        if not self.connected:
            return
        current = await self.world.client.get(PODS, meta["name"], meta["namespace"])
        if current["metadata"]["uid"] != meta["uid"]:
            return
        kept = [item for item in current["status"].get("conditions") or () if item["type"] != "Ready"]
        number = int(meta["uid"].replace("-", "")[:4], 16)
        status = {
            "phase": "Running", "podIP": current["status"].get("podIP") or f"10.1.{number // 256}.{number % 256}",
            "startTime": format_time(self.world.clock.now()),
            "conditions": [*kept, {
                "type": "Ready", "status": "True" if ready else "False",
                "lastTransitionTime": format_time(self.world.clock.now()),
            }],
        }
        await self.world.client.patch(PODS, meta["name"], {"status": status}, meta["namespace"], subresource="status")

    def _result_of(self, pod: Json) -> int | None:
        """Exit code of what does not run for ever."""
        return None if pod["spec"].get("restartPolicy") == "Always" else self.result(pod)

    async def _write_end(self, meta: Json, code: int) -> None:
        """As a kubelet does when all containers have ended for good."""
        current = await self.world.client.get(PODS, meta["name"], meta["namespace"])
        if not self.connected or current["metadata"]["uid"] != meta["uid"] or phase(current) in ("Succeeded", "Failed"):
            return
        now = format_time(self.world.clock.now())
        ended = {"name": "web", "state": {"terminated": {"exitCode": code, "finishedAt": now}}}
        conditions = [
            {**item, "status": "False", "lastTransitionTime": now} if item["type"] == "Ready" else item
            for item in current["status"].get("conditions") or ()
        ]
        status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [ended], "conditions": conditions}
        await self.world.client.patch(PODS, meta["name"], {"status": status}, meta["namespace"], subresource="status")

    async def _stop(self, pod: Json) -> None:
        await asyncio.sleep(self.stop_s)
        meta = pod["metadata"]
        try:
            if self.connected and pod["spec"].get("restartPolicy") != "Always":
                await self._write_end(meta, 143)
            if self.connected:
                await self.world.client.delete(
                    PODS, meta["name"], meta["namespace"], grace_period_s=0, uid=meta["uid"]
                )
        except (NotFound, Conflict):
            pass
        finally:
            self._busy.discard(meta["uid"])


class World:
    def __init__(self, profile: Profile = FAST, seed: int = 1) -> None:
        self.profile, self.clock = profile, LoopClock()
        self.registry = Registry(
            Store(), clock=self.clock, random=random.Random(seed), profile=profile, service_range="10.96.0.0/16",
            node_ports=tuple(range(30000, 30016)),
        )
        ensure_system_objects(self.registry, "10.96.0.1")
        self.client = InProcessClient(self.registry)
        self.seed = seed
        self.agents: dict[str, FakeAgent] = {}
        self.control_plane = self._new_control_plane()
        self.running: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.history: list[tuple[str, Json | None, Json | None]] = []

    def _new_control_plane(self) -> ControlPlane:
        return ControlPlane(self.client, profile=self.profile, clock=self.clock, random=random.Random(self.seed))

    async def start_control_plane(self) -> None:
        self.control_plane = self._new_control_plane()
        self.running = asyncio.get_running_loop().create_task(self.control_plane.run())
        await self.control_plane.started.wait()

    async def kill_control_plane(self) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait([self.running])

    async def add_node(self, name: str, **agent: Any) -> FakeAgent:
        made = FakeAgent(self, name, **agent)
        self.agents[name] = made
        informer = Informer(self.client, PODS, on_change=made.heard)
        self._tasks += [asyncio.create_task(informer.run()), asyncio.create_task(made.run())]
        await self.until(lambda: self.node_ready(name))
        return made

    async def observe(self, resource: ResourceType, on_change: Callable[[Json | None, Json | None], None]) -> None:
        informer = Informer(self.client, resource, on_change=on_change)
        self._tasks.append(asyncio.create_task(informer.run()))
        await informer.synced.wait()

    # --- reading

    async def items(self, resource: ResourceType, namespace: str | None = "default") -> list[Json]:
        return list((await self.client.list(resource, namespace)).items)

    async def pods(self, *, on: str = "", active: bool = False) -> list[Json]:
        return [
            pod for pod in await self.items(PODS, None)
            if (not on or pod["spec"].get("nodeName") == on)
            and not (active and (pod["metadata"].get("deletionTimestamp") or phase(pod) in ("Failed", "Succeeded")))
        ]

    async def ready_pods(self) -> list[Json]:
        return [pod for pod in await self.pods(active=True) if is_ready(pod)]

    async def deployment(self, name: str = "web") -> Json:
        return await self.client.get(DEPLOYMENTS, name, "default")

    async def replica_sets(self) -> list[Json]:
        return await self.items(REPLICA_SETS)

    async def endpoints(self, service: str = "web") -> list[Json]:
        """All endpoints of all slices of a Service."""
        return [
            endpoint for item in await self.items(ENDPOINT_SLICES)
            if item["metadata"]["labels"].get("kubernetes.io/service-name") == service for endpoint in item["endpoints"]
        ]

    async def node_ready(self, name: str) -> bool:
        try:
            node = await self.client.get(NODES, name)
        except NotFound:
            return False
        conditions = node.get("status", {}).get("conditions") or ()
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    async def event_reasons(self, name: str = "") -> list[str]:
        return [
            item["reason"] for item in await self.items(EVENTS, None)
            if not name or item["involvedObject"]["name"] == name
        ]

    # --- doing

    async def apply_deployment(self, **spec: Any) -> Json:
        return await self.client.create(DEPLOYMENTS, deployment_json(**spec), "default")

    async def change_deployment(self, patch: Json, name: str = "web") -> Json:
        return await self.client.patch(DEPLOYMENTS, name, patch, "default")

    async def ship(self, image: str, name: str = "web") -> Json:
        return await self.change_deployment(
            {"spec": {"template": {"spec": {"containers": [container(image)]}}}}, name
        )

    async def create_service(self, **spec: Any) -> Json:
        return await self.client.create(SERVICES, {
            "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
        }, "default")

    async def until(self, condition: Callable[[], Awaitable[Any]], *, within_s: float = 60.0) -> float:
        """Waits until ``condition`` is true. Returns the seconds it took."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        while not await condition():
            assert loop.time() - start_s < within_s, f"not within {within_s} s"
            await asyncio.sleep(0.01)
        return loop.time() - start_s

    async def complete(self, name: str = "web") -> bool:
        """What ``kubectl rollout status`` waits for."""
        deployment = await self.deployment(name)
        status, replicas = deployment.get("status") or {}, deployment["spec"]["replicas"]
        return (
            status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == replicas == status.get("replicas", 0)
            and status.get("availableReplicas", 0) == replicas
        )

    async def settled(self, replicas: int) -> bool:
        return len(await self.ready_pods()) == replicas == len(await self.pods())

    async def close(self) -> None:
        for task in [*self._tasks, *([self.running] if self.running is not None else [])]:
            task.cancel()
        await asyncio.gather(
            *self._tasks, *([self.running] if self.running is not None else []), return_exceptions=True
        )


@asynccontextmanager
async def world(
    nodes: Iterable[str] = ("n1", "n2", "n3"), *, profile: Profile = FAST, seed: int = 1, **agent: Any
) -> AsyncIterator[World]:
    made = World(profile, seed)
    try:
        await made.start_control_plane()
        for name in nodes:
            await made.add_node(name, **agent)
        yield made
    finally:
        await made.close()


def container(image: str = "sample:v1") -> Json:
    return {"name": "web", "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}


def deployment_json(name: str = "web", replicas: int = 3, image: str = "sample:v1", **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "annotations": {"team": "blue"}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container(image)]}}, **spec,
        },
    }


def is_ready(pod: Json) -> bool:
    return any(
        item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions") or ()
    )


def phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def condition_of(obj: Json, kind: str) -> Json:
    return next((item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] == kind), {})


def image_of(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def template(app: str = "db", image: str = "sample:v1", **spec: Any) -> Json:
    """A pod template with the label ``app``."""
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container(image)], **spec}}


def workload_json(kind: str, name: str, image: str = "sample:v1", **spec: Any) -> Json:
    """A StatefulSet or DaemonSet."""
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, image), **spec},
    }


def name_of(obj: Json) -> str:
    return str(obj["metadata"]["name"])
