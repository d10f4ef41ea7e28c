"""A gateway of its own on a real engine, and how it is told what to do."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.machines import addresses
from testbed.machines.cleanup import remove_containers
from testbed.network.gateway import ensure_gateway, gateway_status
from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

Json = dict[str, Any]


@asynccontextmanager
async def open_gateway(stem: str, directory: Path) -> AsyncIterator[tuple[Instance, Engine, Host]]:
    """It answers; at the end all that carries its instance's label is removed."""
    engine = open_engine()
    identity = secrets.token_hex(6)
    source = random.Random()
    taken = [subnet for network in await engine.networks() for subnet in network.subnets]
    instance = Instance(
        f"{stem}-{identity[:6]}", identity, directory, addresses.choose_subnet(taken, source), 1,
        addresses.choose_node_ports(set(), source), ingress_ports=addresses.choose_ports(2, set(), source),
    )
    instance.gateway_directory.mkdir()
    host = open_host(identity, engine)
    try:
        await ensure_gateway(engine, host, instance)
        async with asyncio.timeout(20):
            while not gateway_status(instance):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield instance, engine, host
    finally:
        await remove_containers(engine, {labels.INSTANCE: identity})
        await engine.remove_network(instance.network)
        await host.remove_cgroup(instance.cgroup)
        await host.close()
        await engine.close()


async def tell(instance: Instance, message: Json) -> Json:
    """The answer to one message at its socket. Raises: AssertionError for an error."""
    reader, writer = await asyncio.open_unix_connection(instance.gateway_directory / "control.sock")
    writer.write(json.dumps(message).encode() + b"\n")
    answer: Json = json.loads(await reader.readline())
    writer.close()
    assert "error" not in answer, answer
    return answer
