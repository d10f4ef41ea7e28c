"""Opens a ``Kube`` on the simulated engine, or on a cluster of real containers, both with upstream's constants."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from testbed.api.instance import Instance
from testbed.api.resources import NAMESPACES
from testbed.client.aio import HttpClient
from testbed.core.profile import KUBERNETES
from testbed.machines.client import RoomClient
from testbed.runtime.factory import open_engine
from testbed.runtime.simulated import SimulatedEngine
from testbed.simulation.api import Line, LineClient
from testbed.simulation.loop import VirtualLoop, run_virtual
from testbed.simulation.world import open_world

from .kube import Kube
from .registry import Case


def run_simulated(case: Case) -> None:
    """Runs the body in virtual time on a cluster of its own."""
    async def main(loop: VirtualLoop) -> None:
        profile = replace(KUBERNETES, **case.constants)
        async with open_world(loop, 1, nodes=case.nodes, profile=profile) as world:
            client = LineClient(world.api, Line(), random.Random(case.name))
            engine = SimulatedEngine(world.machine)
            kube = Kube(client, engine, world.room, world.instance_id, f"case-{case.name.lower()}", 0.1, world)
            await client.create(NAMESPACES, _namespace(kube.namespace))
            await case.body(kube)

    run_virtual(main)


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def run_on_docker(case: Case, instance: Instance) -> None:
    """Runs the body on a cluster that is up, in a namespace that is taken away afterwards."""
    async with _opened(case, instance) as kube:
        await case.body(kube)


@asynccontextmanager
async def _opened(case: Case, instance: Instance) -> AsyncIterator[Kube]:
    client, engine = HttpClient.of_instance(instance), open_engine()
    room = RoomClient(instance.room_socket)
    name = f"case-{case.name.lower()}-{secrets.token_hex(2)}"
    kube = Kube(client, engine, room, instance.id, name, 0.2)
    try:
        await client.create(NAMESPACES, _namespace(name))
        try:
            yield kube
        finally:
            await kube.take_away()
    finally:
        await client.close()
        await engine.close()
