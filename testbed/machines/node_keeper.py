"""Keeps the containers of nodes of kind engine running, by errands: what a machine's power supply does.

Which nodes have power is decided in ``room``; what such a container is, in ``node_container``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from testbed.api.process_logs import about
from testbed.errors import TestbedError
from testbed.machines.processes import SETTLED_S, ended, pause_before_restart_s
from testbed.machines.protocol import ProcessState

log = logging.getLogger("room")

Json = dict[str, Any]
Errand = Callable[[str, str], Awaitable[Json]]


class NodeKeeper:
    """``errand``: does an act for a node."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting: dict[str, asyncio.Future[Json]] = {}
        self._states: dict[str, ProcessState] = {}

    def keep(self, node: str) -> None:
        """Twice is harmless."""
        if node not in self._tasks:
            self._tasks[node] = asyncio.get_running_loop().create_task(self._keep(node), name=f"keep {node}")

    async def _keep(self, node: str) -> None:
        loop = asyncio.get_running_loop()
        deaths = restarts = 0
        while True:
            began = loop.time()
            try:
                answer = await self._started(node)
                self._states[node] = ProcessState(f"agent-{node}", int(answer["pid"]), True, restarts)
                log.info("%s: its container runs as pid %s", node, answer["pid"], extra=about(node=node))
                await ended(int(answer["pid"]), int(answer["ticks"]))
                log.warning("%s: its container ended", node, extra=about(node=node))
            except TestbedError as error:
                log.warning("%s: %s", node, error, extra=about(node=node))
            deaths = 1 if loop.time() - began > SETTLED_S else deaths + 1
            restarts += 1
            self._states[node] = ProcessState(f"agent-{node}", 0, False, restarts)
            await asyncio.sleep(pause_before_restart_s(deaths))

    async def _started(self, node: str) -> Json:
        """Its process 1. Cancelled, the errand goes on: a start that was asked for cannot be called back, and whoever
        switches the power off must come after it. Raises: TestbedError."""
        starting = self._starting[node] = asyncio.ensure_future(self._errand("node", node))
        return await asyncio.shield(starting)

    async def release(self, node: str) -> None:
        """Stops keeping it and leaves it as it is. A start that is under way ends first."""
        await _over(self._tasks.pop(node, None))
        if (starting := self._starting.pop(node, None)) is not None:
            await asyncio.gather(starting, return_exceptions=True)
        self._states.pop(node, None)

    def states(self) -> tuple[ProcessState, ...]:
        """Each container's, under the name of its agent."""
        return tuple(self._states.values())

    async def close(self) -> None:
        """Stops watching; everything goes on running."""
        for task in self._tasks.values():
            await _over(task)
        for starting in self._starting.values():
            await _over(starting)
        self._tasks.clear()


async def _over(task: asyncio.Future[Any] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
