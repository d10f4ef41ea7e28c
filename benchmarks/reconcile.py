"""How long the control plane's own part of one look at a Deployment of 100 pods takes, claims, cache look-ups and plan
included, over the real registry in this process: at rest, and just after one pod's status has changed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.cluster import BenchCluster
from benchmarks.rows import Row, spread
from testbed.api.clock import SystemClock
from testbed.api.resources import DEPLOYMENTS, NODES, PODS
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.controller import Controller
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import KUBERNETES
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]
REPLICAS, LOOKS = 100, 200
LIMIT_MS = 5.0


def measure(cluster: BenchCluster) -> list[Row]:
    """``cluster`` is not asked: nothing but this process's own code is measured."""
    with tempfile.TemporaryDirectory(prefix="testbed-bench-") as folder:
        return asyncio.run(_measure(Path(folder)))


def open_registry(folder: Path) -> Registry:
    """One in this process, over a database in ``folder``."""
    registry = Registry(
        Store(folder / "store.sqlite"), clock=SystemClock(), random=Random(1), profile=KUBERNETES,
        service_range="10.96.0.0/16", node_ports=tuple(range(30000, 30016)),
    )
    ensure_system_objects(registry, "10.96.0.1")
    return registry


async def _measure(folder: Path) -> list[Row]:
    registry = open_registry(folder)
    client = InProcessClient(registry)
    plane = ControlPlane(client, profile=KUBERNETES, clock=SystemClock(), random=Random(2))
    running = asyncio.get_running_loop().create_task(plane.run())
    try:
        await plane.started.wait()
        await _populate(client, plane)
        by_name = {controller.name: controller for controller in plane.controllers}
        deployments, sets = by_name["deployment-controller"], by_name["replicaset-controller"]
        at_rest = await _looks(deployments, "default/web", lambda turn: _nothing())
        names = [pod["metadata"]["name"] for pod in (await client.list(PODS, "default")).items]
        set_key = f"default/{names[0].rpartition('-')[0]}"

        async def flip(turn: int) -> None:
            await _report(client, names[turn % REPLICAS], ready=turn // REPLICAS % 2 == 1)
            await _idle(plane)

        changed = await _looks(deployments, "default/web", flip)
        owners = await _looks(sets, set_key, flip)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        registry.store.close()
    return [
        _row(f"one look at a Deployment of {REPLICAS} pods, at rest", at_rest),
        _row("the same, after a pod has changed", changed),
        _row("one look at its ReplicaSet, after a pod has changed", owners),
    ]


async def _looks(controller: Controller, key: str, before: Callable[[int], Awaitable[None]]) -> list[float]:
    """Milliseconds of each look."""
    found = []
    for turn in range(LOOKS):
        await before(turn)
        started = time.perf_counter()
        await controller.reconcile(key)
        found.append(1000 * (time.perf_counter() - started))
    return found


async def _nothing() -> None:
    return


async def _populate(client: InProcessClient, plane: ControlPlane) -> None:
    for number in range(2):
        await client.create(NODES, {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"},
            "status": {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })
    container = {"name": "web", "image": "sample:v1", "ports": [{"containerPort": 8080}]}
    await client.create(DEPLOYMENTS, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}},
    }, "default")
    while len(pods := (await client.list(PODS, "default")).items) < REPLICAS or not plane.idle:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for pod in pods:
        await _report(client, pod["metadata"]["name"], ready=True)
    await _idle(plane)


async def _report(client: InProcessClient, name: str, *, ready: bool) -> None:
    """As an agent does."""
    await client.patch(PODS, name, {"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2026-11-29T12:00:00Z"},
    ]}}, "default", subresource="status")


async def _idle(plane: ControlPlane) -> None:
    """Until the control plane has done what the change asked for."""
    for _ in range(3):
        await asyncio.sleep(0.001)
        while not plane.idle:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def _row(what: str, took_ms: list[float]) -> Row:
    return Row(what, sorted(took_ms)[len(took_ms) // 2], LIMIT_MS, "ms", spread(took_ms))
