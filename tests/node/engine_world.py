"""The agent's world on a real engine, in a network and cgroup of its own that are taken away afterwards."""

from __future__ import annotations

import ipaddress
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from node_world import World, world

from testbed.api import labels
from testbed.api.instance import memory_directory
from testbed.machines.addresses import choose_subnet, machine_networks
from testbed.runtime.factory import open_engine, open_host


@asynccontextmanager
async def engine_world(tmp_path: Path, instance_id: str, name: str) -> AsyncIterator[World]:
    """``name``: short, of the network and its bridge."""
    engine = open_engine()
    host = open_host(instance_id, engine)
    network = f"testbed-test-{name}"
    tags = {labels.INSTANCE: instance_id, labels.INSTANCE_NAME: f"test-{name}"}

    async def clean() -> None:
        for _ in range(3):
            for state in await engine.list({labels.INSTANCE: instance_id}):
                await engine.remove(state.id)
        await engine.remove_network(network)
        await host.remove_cgroup(f"/testbed-{instance_id}")
        shutil.rmtree(memory_directory(instance_id), ignore_errors=True)

    await clean()
    taken = [subnet for item in await engine.networks() for subnet in item.subnets]
    whole = ipaddress.IPv4Network(choose_subnet([*taken, *machine_networks()], random.Random()))
    lower = next(whole.subnets(prefixlen_diff=1))
    cidr, address = str(list(lower.subnets(new_prefix=24))[1]), str(lower[1])
    await engine.create_network(network, subnet=str(lower), gateway=address, bridge=f"tb-t-{name}", labels=tags)
    await host.create_cgroup(f"/testbed-{instance_id}/n1")
    try:
        async with world(tmp_path, engine, host, instance_id=instance_id, network=network, cidr=cidr,
                         address=address) as made:
            yield made
    finally:
        await clean()
        await host.close()
        await engine.close()
