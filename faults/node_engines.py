"""The container engines of nodes that have their own, as the chaos daemon reaches them: by their sockets in the
cluster's directory. What a node's engine says of a process, it says with the numbers of the node's container.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from faults.deferred import late_engine
from testbed.api.instance import ENGINE
from testbed.api.instance_files import load_instance
from testbed.runtime.protocol import Engine


class NodeEngines(Protocol):
    def of(self, node: str) -> Engine | None:
        """None: its containers are the machine's engine's. Raises: TestbedError when the cluster has no such node."""
        ...

    async def close(self) -> None: ...


class NoNodeEngines:
    """All nodes are shares of the machine's engine."""

    def of(self, node: str) -> Engine | None:
        return None

    async def close(self) -> None:
        return


class NestedEngines:
    """``directory``: the cluster's. Nodes come and go, so its file is read each time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, Engine] = {}

    def of(self, node: str) -> Engine | None:
        instance = load_instance(self._directory)
        if instance.foreign and not instance.nodes:  # what its driver shows as a node is this machine
            return None
        if instance.node(node).kind != ENGINE:
            return None
        url = f"unix://{instance.node_socket(node, 'engine')}"
        if url not in self._open:
            self._open[url] = late_engine(url)
        return self._open[url]

    async def close(self) -> None:
        for engine in self._open.values():
            await engine.close()
