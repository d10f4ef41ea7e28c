"""What a scrape costs: of the control plane with 200 pods over the real registry, when all of them have changed since
the scrape before and when a few have; and of an agent with as many containers as a node may have, which reads the
kernel's files for each. In this process, without sockets."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.reconcile import open_registry
from benchmarks.rows import Row, spread
from testbed.api import labels
from testbed.api.clock import SystemClock
from testbed.api.resources import PODS
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import KUBERNETES
from testbed.node.facts import MAX_PODS
from testbed.node.metrics_containers import ContainerText
from testbed.node.record import Record
from testbed.node.usage import NodeUsage, Traffic, Usage
from testbed.runtime.cgroup_usage import read_interfaces, read_usage
from testbed.runtime.containers import ContainerState, Limits
from testbed.runtime.usage import GroupUsage
from testbed.server.metrics import Exposition
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts

Json = dict[str, Any]
PODS_WANTED, FEW, SCRAPES = 200, 10, 15
LIMIT_MS = 100.0
Took = list[tuple[float, float]]
AT = "2026-11-29T12:00:00Z"


def measure_alone() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="testbed-bench-") as folder:
        yield from asyncio.run(_control_plane(Path(folder)))
    yield _row(f"a scrape of an agent with {MAX_PODS} pods", _agent())


async def _control_plane(folder: Path) -> list[Row]:
    registry = open_registry(folder)
    plane = ControlPlane(InProcessClient(registry), profile=KUBERNETES, clock=SystemClock(), random=Random(2))
    exposed = Exposition(registry, plane, RequestCounts())
    for number in range(PODS_WANTED):
        registry.create(PODS, _pod(number), "default")
    try:
        every = _scrapes(exposed, lambda turn: _report(registry, range(PODS_WANTED), turn))
        few = _scrapes(exposed, lambda turn: _report(registry, range(FEW), turn))
        size = len(exposed()[0])
    finally:
        await exposed.close()
        registry.store.close()
    return [_row(f"a scrape of {PODS_WANTED} pods, all of which have changed", every),
            _row(f"the same, {FEW} of which have changed", few, f"; {size / 1e6:.1f} MB")]


def _scrapes(scrape: Callable[[], object], before: Callable[[int], None]) -> Took:
    """Milliseconds of each, and of processor time; the first, which loads the Prometheus client, does not count."""
    found = []
    for turn in range(SCRAPES + 1):
        before(turn)
        started, used = time.perf_counter(), time.process_time()
        scrape()
        found.append((1000 * (time.perf_counter() - started), 1000 * (time.process_time() - used)))
    return found[1:]


def _pod(number: int) -> Json:
    resources = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": True}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"web-{number}", "labels": {"app": "web"}, "ownerReferences": [owner]},
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "sample:v1", "resources": resources}]},
    }


def _report(registry: Registry, numbers: range, turn: int) -> None:
    """As an agent does."""
    for number in numbers:
        registry.patch(PODS, f"web-{number}", {"status": {
            "phase": "Running", "podIP": f"10.1.0.{number}", "hostIP": "10.0.0.1", "startTime": AT, "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": AT}
                for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [{
                "name": "web", "image": "sample:v1", "imageID": "sha256:1", "containerID": f"docker://{number}",
                "ready": True, "restartCount": turn, "state": {"running": {"startedAt": AT}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "startedAt": AT, "finishedAt": AT}}}],
        }}, "default", subresource="status")


# --- an agent


def _agent() -> Took:
    """Reads the machine's own cgroup and network once for each pod that there might be; a pod's network has fewer
    interfaces."""
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    records = {record.id: record for number in range(MAX_PODS) for record in (
        _record(number, sandbox=True), _record(number, sandbox=False))}
    text = ContainerText(lambda record: Limits(cpu_shares=2, memory_bytes=1))

    def scrape() -> None:
        usage = NodeUsage(
            tuple(Usage(record, read_usage(root, "", unified=unified) or GroupUsage(0.0))
                  for record in records.values() if not record.sandbox),
            tuple(Traffic(record, read_interfaces(os.getpid())[:1]) for record in records.values() if record.sandbox))
        "".join(text.text(usage, records, 0.0)).encode()

    return _scrapes(scrape, lambda turn: None)


def _record(number: int, *, sandbox: bool) -> Record:
    role = labels.ROLE_SANDBOX if sandbox else labels.ROLE_CONTAINER
    state = ContainerState(
        id=f"{number}{role}", name=f"web-{number}-{role}", image="sample:v1", image_id="sha256:1", status="running",
        started_at=datetime(2026, 11, 29, tzinfo=UTC), labels={
            labels.POD_NAMESPACE: "default", labels.POD_NAME: f"web-{number}", labels.POD_UID: str(number),
            labels.CONTAINER_NAME: "web", labels.ROLE: role})
    return Record(state, 0.0, cgroup=f"/testbed-1/node-1/{number}{role}")


def _row(what: str, took: Took, more: str = "") -> Row:
    whole, used = [item[0] for item in took], [item[1] for item in took]
    return Row(what, statistics.median(whole), LIMIT_MS, "ms",
               f"{spread(whole)}; {statistics.median(used):.1f} ms of processor time{more}")
