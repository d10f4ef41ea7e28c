"""Where a run takes place: the cluster as its API tells it, and the machine that its clients are on."""

from __future__ import annotations

import os
import platform

from testbed import __version__
from testbed.api.resources import NODES
from testbed.client.protocol import Client
from testbed.experiment.result import Environment


async def environment_of(client: Client, name: str, cluster: str) -> Environment:
    """``name``: of the platform. Raises: ApiError."""
    nodes = await client.list(NODES)
    info = (nodes.items[0].get("status") or {}).get("nodeInfo") or {} if nodes.items else {}
    return Environment(
        testbed_version=__version__, platform=name, cluster=cluster, nodes=len(nodes.items),
        api_version=str(info.get("kubeletVersion", "")), engine=str(info.get("containerRuntimeVersion", "")),
        kernel=platform.release(), python=platform.python_version(), cpus=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load_average=round(os.getloadavg()[0], 2),
    )
