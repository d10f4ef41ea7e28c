"""Everything that the chaos daemon of one cluster acts through, opened and closed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.abilities import Tried
from faults.daemon import ChaosDaemon
from faults.deferred import engine_and_host
from faults.holders import ProcessHolders
from faults.ledger import Ledger
from faults.node_engines import NestedEngines
from faults.protocol import Site
from testbed.api.clock import SystemClock
from testbed.api.instance import Instance
from testbed.client.aio import HttpClient
from testbed.machines.client import RoomClient


def site_of(instance: Instance) -> Site:
    return Site(instance.id, instance.directory, instance.cgroup, f"https://127.0.0.1:{instance.api_port}",
                str(instance.room_socket), instance.name)


@asynccontextmanager
async def daemon_of(instance: Instance) -> AsyncIterator[ChaosDaemon]:
    """A daemon, to be run or to be asked to take something back. Neither API nor engine need be there yet."""
    engine, host = engine_and_host(instance.id, instance.engine_url)
    client = HttpClient.of_instance(instance)
    ledger, node_engines = Ledger(instance.ledger), NestedEngines(instance.directory)
    try:
        yield ChaosDaemon(
            client, engine, host, RoomClient(instance.room_socket), ledger, SystemClock(),
            random.Random(f"{instance.id} chaos"), site=site_of(instance), holders=ProcessHolders(instance.directory),
            abilities=Tried(engine), node_engines=node_engines,
        )
    finally:
        await client.close()
        await host.close()
        await node_engines.close()
        await engine.close()
        ledger.close()
