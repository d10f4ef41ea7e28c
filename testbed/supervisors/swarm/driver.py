"""The driver of a swarm: makes one of the cluster's engines, carries Deployments into it as services, and shows what it
makes of them. It never heals: what dies is the swarm's to start again.

A pod that is deleted through the API is a `docker stop` of its container, after which the swarm starts another task.
What a silent engine or a swarm without a majority cannot be asked stays as it was seen last: unknown is not dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from testbed.api import labels
from testbed.api.instance import Instance, NodeInstance
from testbed.errors import ApiError, EngineError, EngineUnavailable
from testbed.runtime.factory import engine_address, open_swarm_engine
from testbed.runtime.swarm import SwarmEngine
from testbed.supervisors.check_program import provide_check
from testbed.supervisors.mirror import Mirror, Picture
from testbed.supervisors.swarm import membership, seen
from testbed.supervisors.swarm.services import Services
from testbed.supervisors.swarm.timers import timers_of
from testbed.supervisors.swarm.translate import left_out
from testbed.supervisors.swarm.watch import GossipWatch, ManagerWatch, NodeWatch
from testbed.supervisors.tasks import Task
from testbed.supervisors.wishes import Wishes, lasting

log = logging.getLogger("supervisor")

RESTART_DELAY = "RestartDelay"  # reason of an Event: Swarm waits before it starts this task
_AGAIN_S = 0.2
_LOOK_S = 1.0
_SETTLE_S = 0.01
_MEMBERS_S = 5.0


def open_driver(instance: Instance, wishes: Wishes, mirror: Mirror) -> SwarmDriver:
    return SwarmDriver(instance, wishes, mirror)


class SwarmDriver:
    def __init__(self, instance: Instance, wishes: Wishes, mirror: Mirror) -> None:
        self._instance, self._wishes, self._mirror = instance, wishes, mirror
        self._timers = timers_of(instance)
        machine_url = engine_address(instance.engine_url)
        mine = {labels.INSTANCE: instance.id, labels.ROLE: labels.ROLE_CONTAINER}

        def opened(node: NodeInstance) -> SwarmEngine:
            return open_swarm_engine(f"unix://{instance.node_socket(node.name, 'engine')}", machine_url,
                                     instance.directory / "images.turn")

        self._nodes = [NodeWatch(node.name, opened(node), mine, self._news) for node in instance.nodes]
        self._engines = {node.name: opened(node) for node in instance.nodes}
        self._addresses = {node.name: instance.uplink_address(node.pod_cidr) for node in instance.nodes}
        self._manager = ManagerWatch(self._engines, wishes.wake)
        self._manager.silent_nodes = self._silent
        self._gossip = GossipWatch(self._nodes, self._addresses, wishes.wake)
        self._services = Services(instance, wishes, mirror, self._timers)
        self._ran: set[str] = set()  # keys of those that ran at the last look
        self._shown: set[str] = set()  # keys of those that had a pod then
        self._deleted: set[str] = set()  # keys of those whose pod was deleted without a grace
        self._ordered: set[str] = set()  # keys of those whose end was told
        self._delayed: set[str] = set()  # keys of those whose delay was told
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._due = asyncio.Event()  # a Deployment differs from what the swarm was told

    async def run(self) -> None:
        try:
            await provide_check(self._instance)
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(node.run())
                group.create_task(self._keep_members())
                group.create_task(self._manager.run())
                group.create_task(self._gossip.run())
                group.create_task(self._keep_services())
                group.create_task(self._follow())
        finally:
            for task in self._stops.values():
                task.cancel()
            for engine in (*self._engines.values(), *(node.engine for node in self._nodes)):
                await engine.close()

    def _news(self) -> None:
        """A node's engine told something."""
        self._manager.wake()
        self._wishes.wake()

    def _silent(self) -> list[str]:
        return [node.name for node in self._nodes if node.silent]

    async def _keep_members(self) -> None:
        """Until all are members; and again while one is silent, for it may come back knowing nothing."""
        while True:
            try:
                await membership.ensure(self._instance, self._engines, self._timers)
                self._manager.wake()
                pause_s = _MEMBERS_S
            except (EngineError, EngineUnavailable) as error:
                log.debug("the swarm is not whole yet: %s", error)
                pause_s = _AGAIN_S if self._manager.managed is None else _MEMBERS_S
            await asyncio.sleep(pause_s)

    # --- acting

    async def _keep_services(self) -> None:
        while True:
            managed = await self._manager.looked()  # so that nothing is done twice
            if managed is not None and managed.nodes:
                try:
                    await self._services.keep(self._manager.engine, managed, self._nodes)
                except (EngineError, EngineUnavailable) as error:
                    log.info("the swarm does not take it now: %s", error)
            self._due.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._due.wait()

    def _behind(self) -> bool:
        wanted = lasting(self._wishes.deployments())
        return any(int(item["metadata"].get("generation") or 1) != self._services.observed.get(key)
                   for key, item in wanted.items()) or bool(set(self._services.observed) - set(wanted))

    def _order_stops(self, tasks: Sequence[Task]) -> list[Task]:
        """Of running tasks whose pod was deleted, by anybody but the swarm. Returns those that are still to be shown:
        not what is gone from the API at once."""
        deployments = lasting(self._wishes.deployments())  # pods of the others end with their service
        self._deleted &= {task.key for task in tasks}
        for task in tasks:
            if not task.running or task.stopping or task.owner not in deployments or task.key in self._stops:
                continue
            pod = self._wishes.pods().get(task.key)
            vanished = task.key in self._shown and not self._mirror.knows(task.key)
            if vanished:
                self._deleted.add(task.key)
            if vanished or (pod is not None and pod["metadata"].get("deletionTimestamp")):
                grace_s = int((pod or {"metadata": {}})["metadata"].get("deletionGracePeriodSeconds") or 0)
                self._stops[task.key] = asyncio.create_task(self._stop(task, grace_s), name=f"stop {task.key}")
        return [task for task in tasks if task.key not in self._deleted]

    async def _stop(self, task: Task, grace_s: int) -> None:
        try:
            await self._engines[task.node].stop(task.id, grace_s)
        except (EngineError, EngineUnavailable) as error:
            log.info("%s is not stopped yet: %s", task.key, error)
        finally:
            self._stops.pop(task.key, None)

    # --- showing

    async def _follow(self) -> None:
        while True:
            if self._manager.managed is not None:
                await self._show(self._manager.managed)
                if self._behind():
                    self._due.set()
            await asyncio.sleep(_SETTLE_S)
            await self._wishes.wait(_LOOK_S)

    async def _show(self, managed: seen.Managed) -> None:
        containers = {task: state for node in self._nodes for task, state in node.containers.items()}
        told_to_end = {container: at for node in self._nodes for container, at in node.told_to_end.items()}
        tasks = self._order_stops(
            seen.tasks(seen.Scene(managed, containers, self._gossip.members, told_to_end), self._ran))
        await self._tell_ends(tasks, told_to_end)
        deployments = self._wishes.deployments()
        infos = {node.name: node.info for node in self._nodes}
        lost = managed.lost()
        await self._mirror.show(Picture(
            tasks, seen.machines(managed, infos, self._addresses), observed=dict(self._services.observed),
            left_out={key: left_out(item, self._timers) for key, item in deployments.items()},
            stuck=self._services.stuck | seen.stuck(seen.services(managed, self._instance.id).values()),
            silent=[name for name in self._silent() if name not in lost]))
        self._tell_delays(managed)
        self._ran = {task.key for task in tasks if task.running}
        self._shown = {task.key for task in tasks if self._mirror.knows(task.key)}

    async def _tell_ends(self, tasks: Sequence[Task], told_to_end: Mapping[str, datetime]) -> None:
        """A task that the swarm, or anybody, orders to end counts as ending from now on."""
        for task in self._newly_ordered(tasks):
            self._ordered.add(task.key)
            pod = self._wishes.pods().get(task.key) or {}
            grace_s = int((pod.get("spec") or {}).get("terminationGracePeriodSeconds", 10))
            why = "" if task.healthy else ", which is unhealthy"
            self._mirror.tell(task.key, "Killing", f"Stopping container {task.container}{why}",
                              at=told_to_end.get(task.id))
            try:
                await self._mirror.end_pod(task.key, grace_s)
            except ApiError as error:  # away, perhaps: the pod goes when its container is gone
                log.info("the end of %s is not shown yet: %s", task.key, error.message)
        self._ordered &= {task.key for task in tasks}

    def _tell_delays(self, managed: seen.Managed) -> None:
        """Of pods that are there by now."""
        waiting = seen.delayed(managed) if self._timers.restart_delay_s else {}
        for key in set(waiting) - self._delayed:
            if self._mirror.knows(key):
                self._delayed.add(key)
                self._mirror.tell(key, RESTART_DELAY, f"restart delay {self._timers.restart_delay_s:g} s",
                                  at=waiting[key])
        self._delayed &= set(waiting)

    def _newly_ordered(self, tasks: Sequence[Task]) -> Iterable[Task]:
        return [task for task in tasks if task.stopping and task.running and task.key not in self._ordered]
