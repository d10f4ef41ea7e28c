"""A cluster for the runner's tests: the real API in process, a Deployment that is always ready, and a chaos daemon that
does as it is told. No container, no agent."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from faults.crd import definitions
from faults.kinds import FREEZE_CHAOS
from faults.registry import Registry as Faults
from testbed.api.clock import SystemClock
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, PODS, SERVICES
from testbed.client.inprocess import InProcessClient
from testbed.client.protocol import Client
from testbed.core.profile import FAST, Profile
from testbed.errors import NotFound
from testbed.experiment import method, phases, repetition
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.platforms.from_here import FromHere
from testbed.experiment.platforms.protocol import Platform, Timing
from testbed.experiment.result import Environment
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.variants import alone
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
WEB = (Path(__file__).parents[2] / "examples" / "web.yaml").read_text()
EXPERIMENT = """\
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  workload: [web.yaml]
  steadyState:
    - ready: {deployment: web}
      within: %(within)s
%(load)s  method:
    - name: hang
      fault:
        apiVersion: testbed.io/v1alpha1
        kind: FreezeChaos
        spec: {mode: one, selector: {labelSelectors: {app: web}}, duration: 30s}
      timeout: 1s
  objectives: [%(objectives)s]
  observe: 0.1s
  jitter: 0
%(more)s"""


def quicken(monkeypatch: pytest.MonkeyPatch, *, baseline_s: float) -> None:
    """Waits of a run as short as this world is quick."""
    monkeypatch.setattr(phases, "BASELINE_S", baseline_s)
    monkeypatch.setattr(method, "VERIFY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(phases, "UNDO_TIMEOUT_S", 1.0)


def write_experiment(
    folder: Path, *, load: str = "", objectives: str = "", more: str = "", within: str = "20s",
) -> LoadedExperiment:
    """``within``: how long its steady state may take; short where it is meant not to hold."""
    (folder / "web.yaml").write_text(WEB)
    file = folder / "small.yaml"
    file.write_text(EXPERIMENT % {"load": load, "objectives": objectives, "more": more, "within": within})
    return load_experiment(file)


class FakePlatform(FromHere):
    name = "fake"
    cluster = "in-process"

    def __init__(self, client: Client, address: str = "127.0.0.1:1") -> None:
        self._client, self._address = client, address

    @property
    def client(self) -> Client:
        return self._client

    @property
    def profile(self) -> Profile:
        return FAST

    def timing(self) -> Timing:
        return (("profile", "fast"),)

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        return self._address

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        return ""

    async def environment(self) -> Environment:
        return Environment(platform=self.name, cluster=self.cluster, nodes=1)


class Daemon:
    """What the chaos daemon and the controllers would do.

    Attributes:
        effect: "injected", "refused", "not in effect" or "silent". ready: whether the Deployment is complete.
        stuck: undo never ends.
    """

    def __init__(self, client: InProcessClient) -> None:
        self.client = client
        self.effect, self.ready, self.stuck = "injected", True, False
        self.undone: list[str] = []
        self.seen: list[Json] = []
        self.injected = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(self._deployments(), self._faults())

    async def _deployments(self) -> None:
        """Keeps every Deployment's status, and one pod of it, as ``ready`` says."""
        while True:
            for found in (await self.client.list(DEPLOYMENTS)).items:
                replicas = found["spec"]["replicas"]
                count = replicas if self.ready else 0
                status = {"observedGeneration": found["metadata"]["generation"], "replicas": replicas,
                          "updatedReplicas": replicas, "readyReplicas": count, "availableReplicas": count}
                if any((found.get("status") or {}).get(key) != value for key, value in status.items()):
                    await self.client.patch(DEPLOYMENTS, found["metadata"]["name"], {"status": status},
                                            found["metadata"]["namespace"], subresource="status")
                if "foregroundDeletion" in (found["metadata"].get("finalizers") or ()):
                    await self.client.patch(DEPLOYMENTS, found["metadata"]["name"],
                                            {"metadata": {"finalizers": None}}, found["metadata"]["namespace"])
            await asyncio.sleep(0.02)

    async def _faults(self) -> None:
        while True:
            for fault in (await self.client.list(FREEZE_CHAOS)).items:
                with contextlib.suppress(NotFound):
                    await self._fault(fault)
            await asyncio.sleep(0.02)

    async def _fault(self, fault: Json) -> None:
        meta = fault["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        if meta.get("deletionTimestamp"):
            if not self.stuck:
                self.undone.append(name)
                await self.client.patch(FREEZE_CHAOS, name, {"metadata": {"finalizers": None}}, namespace)
            return
        if fault.get("status") or self.effect == "silent":
            return
        self.seen.append(fault)
        await self.client.patch(FREEZE_CHAOS, name, {"metadata": {"finalizers": ["test/records"]}}, namespace)
        now = datetime.now(UTC).isoformat()
        if self.effect == "refused":
            status: Json = {"conditions": [{"type": "Selected", "status": "False", "reason": "NothingSelected",
                                            "message": "no pod matches"}]}
        elif self.effect == "not in effect":
            failed = {"operation": "Apply", "type": "Failed", "timestamp": now, "monotonicNs": time.monotonic_ns(),
                      "message": "not frozen"}
            status = {"conditions": [
                {"type": "Selected", "status": "True"},
                {"type": "AllInjected", "status": "False", "reason": "NotInEffect", "message": "not frozen"},
            ], "experiment": {"desiredPhase": "Run", "containerRecords": [{
                "id": "default/web-1", "selectorKey": ".", "phase": "Not Injected", "injectedCount": 0,
                "recoveredCount": 0, "events": [failed]}]}}
        else:
            events = [{"operation": "Apply", "type": kind, "timestamp": now, "monotonicNs": time.monotonic_ns()}
                      for kind in ("Started", "Succeeded")]
            status = {"conditions": [{"type": "Selected", "status": "True"}], "experiment": {
                "desiredPhase": "Run", "containerRecords": [{
                    "id": "default/web-1", "selectorKey": ".", "phase": "Injected", "injectedCount": 1,
                    "recoveredCount": 0, "events": events}]}}
        await self.client.patch(FREEZE_CHAOS, name, {"status": status}, namespace, subresource="status")
        if self.effect == "injected":
            self.injected.set()


class RunnerWorld:
    """``async with``: the API, the daemon and a small HTTP server stand ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        registry = Registry(Store(), clock=SystemClock(), random=random.Random(1), profile=FAST,
                            service_range="10.9.128.0/17", node_ports=(30001,))
        ensure_system_objects(registry, "10.9.128.1")
        self.client = InProcessClient(registry)
        self.daemon = Daemon(self.client)
        self.status = 200
        self.hurts = False  # whether a fault in force keeps the server from answering rightly
        self.said: list[str] = []
        self.closed = False

    async def __aenter__(self) -> RunnerWorld:
        for definition in definitions(Faults().faults()):
            await self.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.platform: Platform = FakePlatform(self.client, f"127.0.0.1:{port}")
        self._task = asyncio.create_task(self.daemon.run())
        # API, daemon and runner share this loop, and the machine with other tests: how late it is says nothing here.
        self._trusting = mock.patch.object(repetition, "doubts", return_value=[])
        self._trusting.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._trusting.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            status = 503 if self.hurts and self.daemon.injected.is_set() and not self.daemon.undone else self.status
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
            await writer.drain()
        writer.close()

    @asynccontextmanager
    async def open(self, spec: ClusterSpec) -> AsyncIterator[Platform]:
        try:
            yield self.platform
        finally:
            self.closed = True

    def job(self, loaded: LoadedExperiment, **more: Any) -> ExperimentRun:
        return ExperimentRun(alone(loaded), lambda platform: self.open, self.folder / "runs", self.said.append, **more)

    async def waited(self, holds: Callable[[], bool], within_s: float = 60.0) -> None:
        """Raises: TimeoutError when it does not come to hold."""
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.02)

    async def left(self) -> list[str]:
        """Names of what a run left behind in the API."""
        services = (await self.client.list(SERVICES)).items
        ours = [item for item in services if item["metadata"]["name"] != "kubernetes"]
        found = [*ours, *(await self.client.list(DEPLOYMENTS)).items, *(await self.client.list(FREEZE_CHAOS)).items,
                 *(await self.client.list(PODS)).items]
        return [item["metadata"]["name"] for item in found]
