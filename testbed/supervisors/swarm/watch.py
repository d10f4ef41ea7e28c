"""Looking: one watch on the engine of each node, one on whichever manager answers, and one on the gossip.

Levels: events only say when to look. A node that does not answer keeps what it said last and counts as silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from testbed.errors import EngineError, EngineUnavailable
from testbed.runtime.containers import ContainerState
from testbed.runtime.swarm import SwarmEngine
from testbed.supervisors.swarm.seen import TASK_ID, Managed, unsettled

log = logging.getLogger("supervisor")

Json = dict[str, Any]
_INGRESS = "ingress"  # the network that every member of a swarm is in
_RELIST_S = 2.0
_SILENT_AGAIN_S = 0.2
_SETTLE_S = 0.01  # one change is told by several events
_ANSWER_S = 4.0
_MANAGER_ANSWER_S = 1.5  # there are others
_CALM_S, _BUSY_S = 1.0, 0.1  # between two looks at the manager
_BUSY_FOR_S = 3.0  # after an event


class NodeWatch:
    """``mine``: labels of our containers. ``changed``: called after each look that found something else.

    ``told_to_end``: ids of containers that the node's engine was asked to end, by whomever, and when.
    """

    def __init__(self, name: str, engine: SwarmEngine, mine: Mapping[str, str], changed: Callable[[], None]) -> None:
        self.name, self.engine = name, engine
        self.told_to_end: dict[str, datetime] = {}
        self.containers: Mapping[str, ContainerState] = {}  # by the task's id
        self.info: Json = {}
        self.silent = True
        self._mine, self._changed = mine, changed
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            group.create_task(self._follow())

    async def _hear(self) -> None:
        async for event in self.engine.events(self._mine):
            if event.action == "kill":
                self.told_to_end.setdefault(event.container_id, datetime.fromtimestamp(event.time_ns / 1e9, UTC))
            if not event.action.startswith(("exec_create", "exec_start")):
                self._news.set()

    async def _follow(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_SETTLE_S)
            try:
                async with asyncio.timeout(_SILENT_AGAIN_S if self.silent else _RELIST_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                found = await self.engine.look(self._mine)
                if self.silent:
                    self.info = await self.engine.info()
        except (EngineError, EngineUnavailable, TimeoutError):
            if not self.silent:
                log.info("%s: its engine does not answer", self.name)
                self.silent = True
                self._changed()
            return
        there = {state.id for state in found}
        self.told_to_end = {container: at for container, at in self.told_to_end.items() if container in there}
        states = {state.labels[TASK_ID]: state for state in found if TASK_ID in state.labels}
        if self.silent or states != self.containers:
            self.silent, self.containers = False, states
            self._changed()


class ManagerWatch:
    """``engines``: of all nodes, not those that look at containers: without a leader a manager's calls hang. The first
    that answers as a manager is asked until it does not any more."""

    def __init__(self, engines: Mapping[str, SwarmEngine], changed: Callable[[], None]) -> None:
        self._engines, self._changed = engines, changed
        self.managed: Managed | None = None
        self.manager = ""  # the one that answered last
        self.silent_nodes: Callable[[], list[str]] = list
        self._news = asyncio.Event()
        self._busy_until = 0.0
        self._next: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the look that begins next

    def wake(self) -> None:
        """Something is under way."""
        self._busy_until = asyncio.get_running_loop().time() + _BUSY_FOR_S
        self._news.set()

    async def looked(self) -> Managed | None:
        """What it says from now on, not what it said a moment ago. None: no manager has answered yet."""
        self._news.set()
        await asyncio.shield(self._next)
        return self.managed

    @property
    def engine(self) -> SwarmEngine:
        """Of the manager. Raises: EngineUnavailable when none has answered yet."""
        if not self.manager:
            raise EngineUnavailable("no manager of the swarm answers")
        return self._engines[self.manager]

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            waiting, self._next = self._next, loop.create_future()
            await self._look()
            if not waiting.done():
                waiting.set_result(None)
            busy = loop.time() < self._busy_until or (
                self.managed is not None and unsettled(self.managed, self.silent_nodes()))
            await asyncio.sleep(_SETTLE_S)
            try:
                async with asyncio.timeout(_BUSY_S if busy else _CALM_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    async def _look(self) -> None:
        order = sorted(self._engines, key=lambda name: name != self.manager)
        for name in order:
            try:
                found = await _asked(self._engines[name])
            except (EngineError, EngineUnavailable):
                continue
            if found != self.managed or name != self.manager:
                self.managed, self.manager = found, name
                self._changed()
            return


async def _asked(engine: SwarmEngine) -> Managed:
    nodes, tasks, services = await asyncio.gather(
        engine.swarm_nodes(timeout_s=_MANAGER_ANSWER_S), engine.tasks(timeout_s=_MANAGER_ANSWER_S),
        engine.services(timeout_s=_MANAGER_ANSWER_S))
    known = (node for node in nodes if (node.get("Description") or {}).get("Hostname"))  # one that joins has none yet
    return Managed(tuple(tasks), tuple(known), tuple(services))


def most_agreed(told: Iterable[frozenset[str]]) -> frozenset[str]:
    """What most say; of as many, the larger: one that has just come back knows only itself."""
    counts = Counter(one for one in told if one)
    return max(counts, key=lambda one: (counts[one], len(one)), default=frozenset())


class GossipWatch:
    """Which nodes the swarm's engines count among them, by their own gossip: what decides where its balancers send. It
    goes on without managers. ``addresses``: of nodes, by name."""

    def __init__(self, nodes: Sequence[NodeWatch], addresses: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._nodes, self._changed = nodes, changed
        self._names = {address: name for name, address in addresses.items()}
        self.members: frozenset[str] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            told = await asyncio.gather(*(self._told(node) for node in self._nodes if not node.silent))
            members = most_agreed(told)
            if members and members != self.members:
                log.info("gossip: %s", ", ".join(sorted(members)))
                self.members = members
                self._changed()
            await asyncio.sleep(_BUSY_S if any(node.silent for node in self._nodes) else _CALM_S)

    async def _told(self, node: NodeWatch) -> frozenset[str]:
        """Empty where it does not say."""
        try:
            peers = await node.engine.peers(_INGRESS, timeout_s=_MANAGER_ANSWER_S)
        except (EngineError, EngineUnavailable):
            return frozenset()
        return frozenset(self._names[peer] for peer in peers if peer in self._names)
