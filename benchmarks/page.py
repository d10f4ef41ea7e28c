"""What watching costs: processor time of the control plane for one viewer of the live page and a scrape of /metrics
each second, with a hundred pods.

The control plane is the real process; nodes and pods are only told to it, as agents tell, so that no engine is needed.
Watched and unwatched stretches take turns, at rest and while an experiment runs that breaks pods; the difference is
what watching costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.idle import cpu_s
from benchmarks.rows import Row
from testbed.api.instance import Instance
from testbed.api.instance_files import save_instance
from testbed.api.meta import format_time
from testbed.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    EXPERIMENTS,
    LEASES,
    NODES,
    PODS,
    SERVICES,
)
from testbed.client.aio import HttpClient
from testbed.client.live_feed import LiveFeed
from testbed.errors import ApiError
from testbed.experiment.schema import experiment_definition
from testbed.server.certificates import write_credentials

Json = dict[str, Any]
PODS_WANTED, NODES_WANTED = 100, 3
STRETCH_S, PAIRS = 8.0, 4
TARGET_PERCENT = 5.0
RECENT = [[1_800_000_000 + second, 98, 1, 1, 2.345, 12.345] for second in range(60)]
BUCKETS = {bound: 12_345 for bound in ("0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0",
                                       "2.5", "5.0", "10.0", "+Inf")}


def measure_alone() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="testbed-bench-") as name, _control_plane(Path(name)) as (instance, pid):
        yield from asyncio.run(_measure(instance, pid))


async def _measure(instance: Instance, pid: int) -> list[Row]:
    cluster = ToldCluster(HttpClient.of_instance(instance))
    async with asyncio.TaskGroup() as group:
        agents = group.create_task(cluster.renew())
        try:
            await cluster.fill()
            at_rest = await _turns(instance, pid)
            story = group.create_task(cluster.story())
            in_story = await _turns(instance, pid)
            story.cancel()
        finally:
            agents.cancel()
    await cluster.client.close()
    what = f"page and /metrics of {PODS_WANTED} pods, a viewer, a scrape a second"
    return [at_rest.row(f"{what}, at rest"), in_story.row("the same, while pods are broken and mended")]


@dataclass
class Watched:
    """Shares of a core in per cent, and what the watchers got meanwhile: on a busy machine it may be less."""

    unwatched: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    watched_s: float = 0.0
    scrapes: int = 0
    messages: int = 0

    def row(self, what: str) -> Row:
        quiet, busy = statistics.median(self.unwatched), statistics.median(self.watched)
        return Row(what, busy - quiet, TARGET_PERCENT, "%", f"of a core: {quiet:.1f} % unwatched, {busy:.1f} % "
                   f"watched, medians of {PAIRS} stretches; {self.scrapes / self.watched_s:.2f} scrapes and "
                   f"{self.messages / self.watched_s:.1f} changes a second")


async def _turns(instance: Instance, pid: int) -> Watched:
    """Unwatched and watched in turns (ABBA)."""
    found = Watched()
    for turn in range(2 * PAIRS):
        is_watched = turn % 2 == (turn // 2) % 2
        async with _watching(instance, found) if is_watched else contextlib.nullcontext():
            await asyncio.sleep(1.0)
            before, began_s = cpu_s(pid), asyncio.get_running_loop().time()
            await asyncio.sleep(STRETCH_S)
            took_s = asyncio.get_running_loop().time() - began_s
            (found.watched if is_watched else found.unwatched).append(100 * (cpu_s(pid) - before) / took_s)
    return found


@asynccontextmanager
async def _watching(instance: Instance, found: Watched) -> AsyncIterator[None]:
    """One viewer of the feed, and a Prometheus that scrapes each second."""
    import ssl

    import aiohttp

    tls = ssl.create_default_context(cafile=str(instance.ca_certificate))
    headers = {"Authorization": f"Bearer {instance.token_file.read_text().strip()}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), headers=headers) as session:

        async def look() -> None:
            async for messages in LiveFeed(instance).messages():
                found.messages += len(messages)

        async def scrape() -> None:
            async with session.get(f"https://127.0.0.1:{instance.api_port}/metrics") as answer:
                await answer.read()
                found.scrapes += 1

        began_s = asyncio.get_running_loop().time()
        tasks = [asyncio.create_task(look()), asyncio.create_task(_each(1.0, scrape))]
        try:
            yield
        finally:
            found.watched_s += asyncio.get_running_loop().time() - began_s
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _each(seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does it at the beginning of each stretch of so many seconds."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        with contextlib.suppress(ApiError):
            await act()
        due_s = max(due_s + seconds, loop.time())
        await asyncio.sleep(due_s - loop.time())


# --- the control plane


@contextmanager
def _control_plane(folder: Path) -> Iterator[tuple[Instance, int]]:
    """A real one, of a cluster that has no engine; its process's id."""
    instance = Instance(name="page", id="0123456789ab", directory=folder / "page", subnet="10.9.0.0/16",
                        api_port=_free_port(), node_ports=(30001, 30002), profile="kubernetes")
    write_credentials(instance)
    save_instance(instance)
    process = subprocess.Popen([sys.executable, "-m", "testbed.server", "--instance", str(instance.directory)],
                               stderr=(folder / "api.log").open("w"))
    try:
        yield instance, process.pid
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what it is told


class ToldCluster:
    """Nodes, pods and a run, as agents, containers and a runner would tell of them."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self._pods: list[str] = []

    async def renew(self) -> None:
        """The nodes' leases, for ever."""
        while True:
            for number in range(NODES_WANTED):
                with contextlib.suppress(ApiError):
                    await self.client.patch(LEASES, f"node-{number}", {"spec": {
                        "renewTime": _stamp()}}, "kube-node-lease")
            await asyncio.sleep(10)

    async def fill(self) -> None:
        await self._until_there()
        for number in range(NODES_WANTED):
            name = f"node-{number}"
            amounts = {"cpu": "64", "memory": "64Gi", "pods": "110"}
            await self.client.create(NODES, {"metadata": {"name": name}, "status": {
                "capacity": amounts, "allocatable": amounts,
                "addresses": [{"type": "InternalIP", "address": "10.9.1.1"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                                "lastHeartbeatTime": _stamp(), "lastTransitionTime": _stamp()}]}})
            await self.client.create(LEASES, {"metadata": {"name": name}, "spec": {
                "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _stamp()}}, "kube-node-lease")
        probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        container = {"name": "web", "image": "sample:v1", "ports": [{"containerPort": 8080}], "readinessProbe": probe,
                     "livenessProbe": probe, "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}
        labels = {"app": "web"}
        await self.client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}, "default")
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": {
            "replicas": PODS_WANTED, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}, "default")
        while len(self._pods) < PODS_WANTED:
            await asyncio.sleep(0.2)
            placed = [pod for pod in (await self.client.list(PODS, "default")).items if pod["spec"].get("nodeName")]
            self._pods = [pod["metadata"]["name"] for pod in placed]
        for index in range(PODS_WANTED):
            await self._tell(index, ready=True, restarts=0)
        await self.client.create(CUSTOM_RESOURCE_DEFINITIONS, experiment_definition())
        await self.client.create(EXPERIMENTS, {"apiVersion": "testbed.io/v1alpha1", "kind": "Experiment",
                                               "metadata": {"name": "crash-1"}, "spec": {}}, "default")
        await asyncio.sleep(3)

    async def _until_there(self) -> None:
        for _ in range(600):
            with contextlib.suppress(ApiError):
                await self.client.look("/version")
                return
            await asyncio.sleep(0.1)
        raise SystemExit("the control plane did not start")

    async def story(self) -> None:
        """Each second: two pods break, two are well again, five events, and the run tells how it goes."""
        second = 0

        async def a_second() -> None:
            nonlocal second
            second += 1
            for index in (0, 50):
                await self._tell((second + index) % PODS_WANTED, ready=False, restarts=second)
                await self._tell((second + index - 1) % PODS_WANTED, ready=True, restarts=second)
            for number in range(5):
                await self._event(f"story-{second}-{number}", self._pods[number])
            await self.client.patch(EXPERIMENTS, "crash-1", {"status": _run(second)}, "default", subresource="status")

        await _each(1.0, a_second)

    async def _tell(self, index: int, *, ready: bool, restarts: int) -> None:
        state = {"running": {"startedAt": _stamp()}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
        await self.client.patch(PODS, self._pods[index], {"status": {
            "phase": "Running", "podIP": f"10.9.1.{index + 2}", "podIPs": [{"ip": f"10.9.1.{index + 2}"}],
            "startTime": _stamp(),
            "conditions": [{"type": kind, "status": str(ready or kind == "PodScheduled"),
                            "lastTransitionTime": _stamp()} for kind in ("Ready", "ContainersReady", "PodScheduled")],
            "containerStatuses": [{"name": "web", "image": "sample:v1", "imageID": "sha256:0", "ready": ready,
                                   "started": ready, "restartCount": restarts, "state": state, "lastState": {}}]}},
            "default", subresource="status")

    async def _event(self, name: str, pod: str) -> None:
        await self.client.create(EVENTS, {
            "metadata": {"name": name}, "reason": "Unhealthy", "type": "Warning", "count": 1,
            "message": "Readiness probe failed: HTTP probe failed with statuscode: 503", "eventTime": _stamp(),
            "firstTimestamp": _stamp()[:19] + "Z", "lastTimestamp": _stamp()[:19] + "Z",
            "involvedObject": {"kind": "Pod", "name": pod, "namespace": "default"}}, "default")


def _run(second: int) -> Json:
    """As its runner publishes it, of an experiment that has gone on for long."""
    disruption = {"run": 1, "step": "crash", "fault": "PodChaos/container-kill", "target": "default/web-1/web",
                  "injectedAt": _stamp(), "restored": True, "outage_s": 0.1, "failed": 3,
                  "marks": {name: 1.2345 for name in ("detected", "isolated", "acted", "running", "ready", "restored")}}
    return {"phase": "Running", "startedAt": _stamp(), "experiment": "crash", "platform": "testbed", "folder": "",
            "run": {"number": 1, "of": 10, "phase": "observe", "step": "crash"},
            "load": [{"target": "pulse", "rate": 100, "sent": 100 * second, "ok": 98 * second, "failed": second,
                      "late": second, "unsent": 0, "latency": {"buckets": BUCKETS, "sum_s": 1.5}, "recent": RECENT}],
            "disruptions": [disruption] * 20, "objectives": [], "verdicts": {"passed": 3}}


def _stamp() -> str:
    return format_time(datetime.now(UTC), micro=True)


