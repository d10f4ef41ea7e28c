"""A cluster that is not ours, as awkward as a real one: the API over TLS, controllers, a kubelet that only writes
statuses, and Chaos Mesh. No annotations of ours anywhere, whole seconds in stamps, 429 and 410 now and then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent / "server"))

from http_world import make_instance

from faults.crd import definitions
from faults.kinds import POD_CHAOS
from faults.registry import Registry as Faults
from testbed.api.clock import SystemClock
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS, EVENTS, LEASES, NODES, PODS
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import KUBERNETES
from testbed.errors import ApiError
from testbed.server.authentication import Gatekeeper
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.http import Face
from testbed.server.kubeconfig import write_kubeconfig
from testbed.server.registry import Registry
from testbed.server.serving import serve
from testbed.store import Store

Json = dict[str, Any]
LOOK_S = 0.02
FINALIZER = "chaos-mesh/records"
RESTART_S = 0.2


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ForeignCluster:
    """``async with``. ``chaos_mesh``: whether it is installed. ``busy``: every how many-th request is refused by 429.

    Attributes: refused, expired: how many requests got 429, how many watches ended by 410. chaos: fault objects as
    Chaos Mesh got them. denied: (verb, plural) that nobody may.
    """

    def __init__(self, folder: Path, *, chaos_mesh: bool = True, busy: int = 7) -> None:
        self.instance = make_instance(folder)
        write_kubeconfig(self.instance)
        self.kubeconfig = self.instance.kubeconfig
        self.registry = Registry(Store(), clock=SystemClock(), random=random.Random(1), profile=KUBERNETES,
                                 service_range="10.9.128.0/17", node_ports=(30001,))
        ensure_system_objects(self.registry, "10.9.128.1")
        self.client = InProcessClient(self.registry)
        self._chaos_mesh, self._busy = chaos_mesh, busy
        self._face = Face(self.registry, Gatekeeper(self.instance.token_file.read_text()))
        self.requests = self.refused = self.expired = 0
        self.chaos: list[Json] = []
        self.denied: set[tuple[str, str]] = set()
        self.silent = False  # of access reviews
        self.injected = asyncio.Event()

    async def __aenter__(self) -> ForeignCluster:
        if self._chaos_mesh:
            for definition in definitions(Faults().faults()):
                if definition["spec"]["group"] == "chaos-mesh.org":
                    await self.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        node = {"metadata": {"name": "n1"}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}
        await self.client.create(NODES, node)
        await self.client.patch(NODES, "n1", {"status": node["status"]}, subresource="status")
        await self.client.create(LEASES, {"metadata": {"name": "n1"}, "spec": {
            "holderIdentity": "n1", "leaseDurationSeconds": 40,
            "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}},
            "kube-node-lease")
        await self.open_api()
        plane = ControlPlane(self.client, profile=KUBERNETES, clock=SystemClock(), random=random.Random(2))
        works = [plane.run(), self._kubelet(), *([self._mesh()] if self._chaos_mesh else [])]
        self._tasks = [asyncio.create_task(work) for work in works]
        await plane.started.wait()
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.close_api()

    async def open_api(self) -> None:
        self._runner = await serve(self._handle, "127.0.0.1", self.instance.api_port,
                                   certificate=self.instance.certificate, key=self.instance.certificate_key)

    async def close_api(self) -> None:
        """As when the machine that it is on is gone: connections end, and new ones are refused."""
        self.registry.store.end_watches()
        await self._runner.cleanup()

    # --- the API's awkwardness

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        watch = request.query.get("watch") == "true"
        if not watch and self.requests % self._busy == 0:
            self.refused += 1
            return self._status(429, "TooManyRequests", {"Retry-After": "0"})
        if watch and request.path.endswith("/pods") and not self.expired:
            self.expired += 1
            return await self._expire(request)
        if request.path.endswith("/selfsubjectaccessreviews"):
            return await self._review(request)
        return await self._face.handle(request)

    @staticmethod
    def _status(code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
        return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
                                  "reason": reason, "code": code}, status=code, headers=headers)

    async def _expire(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        bookmark = {"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1",
                                                   "metadata": {"resourceVersion": "1", "creationTimestamp": None}}}
        gone = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                                            "reason": "Expired", "message": "too old resource version"}}
        await answer.write("".join(json.dumps(event) + "\n" for event in (bookmark, gone)).encode())
        return answer

    async def _review(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.silent:
            return self._status(404, "NotFound")
        review = await request.json()
        asked = review["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in self.denied
        return web.json_response({**review, "status": {"allowed": allowed}}, status=201)

    # --- the kubelet: containers exist in statuses only

    async def _kubelet(self) -> None:
        while True:
            for pod in (await self.client.list(PODS)).items:
                with contextlib.suppress(ApiError):
                    await self._pod(pod)
            await asyncio.sleep(LOOK_S)

    async def _pod(self, pod: Json) -> None:
        meta, status = pod["metadata"], pod.get("status") or {}
        if meta.get("deletionTimestamp"):
            await self.client.delete(PODS, meta["name"], meta["namespace"], grace_period_s=0)
        elif pod["spec"].get("nodeName") and not status.get("podIP"):
            await self.run(pod, 0)
            await self._tell(pod, "Started", "Started container")

    async def run(self, pod: Json, restarts: int, *, ready: bool = True) -> None:
        """Its status: runs, after so many restarts."""
        state: Json = {"running": {"startedAt": stamp()}} if ready else {"terminated": {"exitCode": 137}}
        number = int(pod["metadata"]["uid"][-4:], 16) % 250 + 1
        status = {
            "phase": "Running", "podIP": f"10.244.0.{number}", "hostIP": "127.0.0.1",
            "conditions": [{"type": kind, "status": "True" if ready else "False"}
                           for kind in ("Ready", "ContainersReady")] + [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": item["name"], "image": item["image"], "imageID": "", "ready": ready,
                                   "restartCount": restarts, "state": state}
                                  for item in pod["spec"]["containers"]]}
        await self.client.patch(PODS, pod["metadata"]["name"], {"status": status}, pod["metadata"]["namespace"],
                                subresource="status")

    async def _tell(self, pod: Json, reason: str, message: str) -> None:
        """As the kubelet of a real cluster: whole seconds, no annotation."""
        meta = pod["metadata"]
        await self.client.create(EVENTS, {
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]}, "type": "Normal",
            "reason": reason, "message": message, "count": 1, "firstTimestamp": stamp(), "lastTimestamp": stamp(),
            "source": {"component": "kubelet"}, "involvedObject": {
                "kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}},
            meta["namespace"])

    # --- Chaos Mesh: container-kill of the pods that are named

    async def _mesh(self) -> None:
        while True:
            for fault in (await self.client.list(POD_CHAOS)).items:
                with contextlib.suppress(ApiError):
                    await self._fault(fault)
            await asyncio.sleep(LOOK_S)

    async def _fault(self, fault: Json) -> None:
        meta = fault["metadata"]
        if meta.get("deletionTimestamp"):
            await self.client.patch(POD_CHAOS, meta["name"], {"metadata": {"finalizers": None}}, meta["namespace"])
            return
        if fault.get("status"):
            return
        self.chaos.append(fault)
        await self.client.patch(POD_CHAOS, meta["name"], {"metadata": {"finalizers": [FINALIZER]}}, meta["namespace"])
        records = []
        for namespace, names in fault["spec"]["selector"]["pods"].items():
            for name in names:
                await self._kill(await self.client.get(PODS, name, namespace))
                records.append({
                    "id": f"{namespace}/{name}/web", "selectorKey": ".", "phase": "Injected", "injectedCount": 1,
                    "recoveredCount": 0, "events": [{"type": "Succeeded", "operation": "Apply", "timestamp": stamp()}]})
        conditions = [{"type": kind, "status": "True"} for kind in ("Selected", "AllInjected")]
        conditions += [{"type": kind, "status": "False"} for kind in ("AllRecovered", "Paused")]
        await self.client.patch(POD_CHAOS, meta["name"], {"status": {
            "conditions": conditions, "experiment": {"desiredPhase": "Run", "containerRecords": records}}},
            meta["namespace"], subresource="status")
        self.injected.set()

    async def _kill(self, pod: Json) -> None:
        await self.run(pod, 0, ready=False)
        asyncio.get_running_loop().call_later(RESTART_S, self._restart, pod)

    def _restart(self, pod: Json) -> None:
        async def restart() -> None:
            await self.run(pod, 1)
            await self._tell(pod, "Started", "Started container")

        self._tasks.append(asyncio.create_task(restart()))
