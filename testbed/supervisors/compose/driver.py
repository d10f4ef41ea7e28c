"""The driver of plain Docker: one `docker compose up` for each change of a Deployment, and after that only looking.

What dies afterwards is Docker's to start again (``restart: always``), what hangs is nobody's, or autoheal's where that
is on. A pod that is deleted through the API is a ``docker rm`` of its container, and nothing makes another one until
the next `up`. Nothing here heals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from testbed.api import labels
from testbed.api.instance import SLICE, Instance, NodeInstance
from testbed.core.environment import MissingConfig
from testbed.errors import ApiError, EngineError, EngineUnavailable, TestbedError
from testbed.runtime.architecture import architecture
from testbed.runtime.containers import ContainerState
from testbed.runtime.factory import engine_address, open_nested_supervising_engine, open_supervising_engine
from testbed.runtime.supervision import SupervisingEngine
from testbed.supervisors.check_program import check_file, provide_check
from testbed.supervisors.compose.autoheal import Autoheal
from testbed.supervisors.compose.done import read_done, write_done
from testbed.supervisors.compose.project import Project
from testbed.supervisors.compose.proxies import Proxies
from testbed.supervisors.compose.seen import ended, task_of
from testbed.supervisors.compose.timers import timers_of
from testbed.supervisors.compose.translate import left_out
from testbed.supervisors.containers import Place
from testbed.supervisors.mirror import Mirror, Picture
from testbed.supervisors.tasks import Machine, Task
from testbed.supervisors.wishes import Wishes

log = logging.getLogger("supervisor")

Json = dict[str, Any]
NODE = "machine"
_LOOK_S = 1.0  # health checks come without an event
_SETTLE_S = 0.02  # one change wakes more than once
_AGAIN_S = 2.0  # after a failed `up`


def open_driver(instance: Instance, wishes: Wishes, mirror: Mirror) -> ComposeDriver:
    return ComposeDriver(instance, wishes, mirror)


class ComposeDriver:
    """``engine`` looks; ``hands`` acts, so that no stop with its grace keeps anybody from looking."""

    def __init__(self, instance: Instance, wishes: Wishes, mirror: Mirror) -> None:
        self._instance, self._wishes, self._mirror = instance, wishes, mirror
        node = instance.nodes[0] if instance.nodes else None
        self._engine = _open(instance, node)
        self._hands = _open(instance, node)
        self._healer = _open(instance, node)  # autoheal's own
        self._timers = timers_of(instance)
        place = _place(instance, node)
        self._project = Project(instance, self._hands, wishes, mirror, place, instance.host_address,
                                random.Random(f"{instance.id} names"), self._timers)
        self._proxies = None if instance.routed else Proxies(instance, self._hands)
        self._tasks: list[Task] = []  # as they were seen last
        self._observed: dict[str, int] = {}  # by Deployment
        self._uids: dict[str, str] = {}
        self._done = read_done(instance)
        self._stuck: dict[str, str] = {}
        self._exits: dict[str, int] = {}  # by container
        self._died: set[str] = set()  # ids, not shown yet
        self._ups: dict[str, asyncio.Task[None]] = {}
        self._acts: set[asyncio.Task[None]] = set()
        self._machine = Machine(
            place.node, instance.uplink_address(node.pod_cidr) if node else instance.host_address, False, "", "",
            str(os.cpu_count() or 1), _memory(), kind=node.kind if node else SLICE,
            architecture=architecture())

    async def run(self) -> None:
        try:
            await self._prepare()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear())
                group.create_task(self._follow())
                if self._timers.autoheal:
                    group.create_task(Autoheal(self._healer, self._project.mine(), self._timers, self._healing).run())
        finally:
            for task in (*self._ups.values(), *self._acts):
                task.cancel()
            await self._engine.close()
            await self._hands.close()
            await self._healer.close()

    async def _prepare(self) -> None:
        """The machine as it is shown, and the program for health checks. Waits for the engine as long as it takes.

        Raises: EnvironmentProblem when the program cannot be had.
        """
        await provide_check(self._instance)
        while True:
            try:
                version = await self._engine.version()
                break
            except EngineUnavailable as error:
                log.info("%s", error)
                await asyncio.sleep(_AGAIN_S / 8)
        self._machine = replace(
            self._machine, ready=True, runs=f"docker://{version.version}", kernel=version.kernel,
            supervisor=f"Docker {version.version}, restart: always" + (", autoheal" if self._timers.autoheal else ""))
        for key, deployment in self._wishes.deployments().items():
            self._uids[key] = deployment["metadata"]["uid"]
            self._observed[key] = self._done.get(deployment["metadata"]["uid"], 0)

    # --- looking

    async def _hear(self) -> None:
        """Docker's events wake the loop up; of a death they alone know the exit code for good."""
        async for event in self._engine.events(self._project.mine()):
            if event.action == "die" and event.exit_code is not None:
                self._exits[event.container_id] = event.exit_code
                self._died.add(event.container_id)
            if not event.action.startswith("exec_") or event.exit_code:
                self._wishes.wake()

    async def _follow(self) -> None:
        silence = ""
        while True:
            try:
                await self._turn()
                silence = ""
            except (EngineUnavailable, EngineError) as error:
                if error.message != silence:
                    log.info("the engine cannot be looked at: %s", error.message)
                silence = error.message
                await self._show_silence(silence)
            await asyncio.sleep(_SETTLE_S)
            await self._wishes.wait(_LOOK_S)

    async def _show_deaths(self) -> None:
        """Docker may have restarted a container before the next look, and it was out of the DNS all the same."""
        died, self._died = self._died, set()
        states = {}
        for container in died & {task.id for task in self._tasks if task.running}:
            with contextlib.suppress(EngineError):
                states[container] = await self._engine.inspect(container)
        if states:
            self._tasks = [ended(task, states[task.id], self._exits[task.id]) if task.id in states else task
                           for task in self._tasks]
            await self._mirror.show(self._picture(self._machine))

    async def _turn(self) -> None:
        await self._show_deaths()
        made = frozenset(self._project.made)
        states = await self._engine.look(self._project.mine())
        deployments = dict(self._wishes.deployments())
        self._project.looked(made)
        self._order_ups(deployments)
        self._order_removals(states)
        stopping = self._project.stopping
        for gone in stopping - {state.id for state in states}:
            stopping.discard(gone)
            self._exits.pop(gone, None)
        self._tasks = [task_of(state, stopping=self._project.ends(state), last_exit=self._exits.get(state.id))
                       for state in states]
        await asyncio.gather(self._mirror.show(self._picture(self._machine)), self._keep_proxies(deployments))

    def _picture(self, machine: Machine) -> Picture:
        missing = {key: left_out(item, self._timers) for key, item in self._wishes.deployments().items()}
        return Picture(self._tasks, (machine,), self._project.being_made, dict(self._observed), missing,
                       dict(self._stuck), silent=() if machine.ready else (machine.name,))

    async def _show_silence(self, why: str) -> None:
        """What ran is unknown now, not gone: it is shown as it was, on a node that is not ready."""
        await self._mirror.show(self._picture(replace(self._machine, ready=False, why_not_ready=why)))

    async def _keep_proxies(self, deployments: Mapping[str, Json]) -> None:
        if self._proxies is not None:
            with contextlib.suppress(EngineUnavailable):
                await self._proxies.keep(self._wishes.services(), list(deployments.values()))

    # --- acting

    def _order_ups(self, deployments: Mapping[str, Json]) -> None:
        """One at a time for each Deployment, for each of its generations, as a person types it after an edit."""
        for key, deployment in deployments.items():
            meta, spec = deployment["metadata"], deployment["spec"]
            generation = int(meta.get("generation") or 1)
            if self._uids.setdefault(key, meta["uid"]) != meta["uid"]:  # another one of that name
                self._forget(key)
                self._uids[key] = meta["uid"]
            if generation <= self._observed.get(key, 0) or key in self._ups or spec.get("paused") \
                    or meta.get("deletionTimestamp"):
                continue
            self._observed[key] = generation
            self._ups[key] = asyncio.create_task(self._up(key, deployment), name=f"up {key}")
        for key in set(self._uids) - set(deployments):
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._uids.pop(key, None)
        self._observed.pop(key, None)
        self._stuck.pop(key, None)
        if key in self._ups:
            self._ups[key].cancel()

    async def _up(self, key: str, deployment: Json) -> None:
        try:
            if missing := left_out(deployment, self._timers):
                self._mirror.tell_deployment(key, "NotTranslated", "; ".join(missing))
            while True:
                try:
                    await self._project.up(key, deployment)
                    self._stuck.pop(key, None)
                    self._note_done(deployment)
                    return
                except (MissingConfig, TestbedError) as error:
                    self._stuck[key] = str(error)
                    log.warning("%s: up failed and is tried again: %s", key, error)
                await asyncio.sleep(_AGAIN_S)
                newer = self._wishes.deployments().get(key, deployment)
                if int(newer["metadata"].get("generation") or 1) > self._observed.get(key, 0):
                    return
        finally:
            self._ups.pop(key, None)
            self._wishes.wake()

    def _note_done(self, deployment: Json) -> None:
        """What cannot be written is typed once more by the next driver, which does no harm."""
        self._done[deployment["metadata"]["uid"]] = int(deployment["metadata"].get("generation") or 1)
        try:
            write_done(self._instance, self._done)
        except OSError as error:
            log.warning("it cannot be written down which `up` has ended: %s", error)

    def _order_removals(self, states: Sequence[ContainerState]) -> None:
        """Containers whose pod is deleted, or is not in the API any more."""
        pods = self._wishes.pods()
        for state in states:
            key = f"{state.labels[labels.POD_NAMESPACE]}/{state.labels[labels.POD_NAME]}"
            pod = pods.get(key)
            if pod is not None and not pod["metadata"].get("deletionTimestamp"):
                continue
            if state.id in self._project.stopping or (pod is None and self._mirror.knows(key)):
                continue
            self._spawn(self._project.remove(state))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except (EngineError, EngineUnavailable, ApiError) as error:
                log.warning("a container is not removed yet: %s", error)
                self._wishes.wake()

        task = asyncio.create_task(guarded())
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    def _healing(self, state: ContainerState, grace_s: int) -> None:
        self._mirror.tell(
            f"{state.labels[labels.POD_NAMESPACE]}/{state.labels[labels.POD_NAME]}", "Killing",
            f"Container {state.labels[labels.CONTAINER_NAME]} is unhealthy: autoheal, which looks every "
            f"{self._timers.interval_s:g} s, restarts it with a grace of {grace_s} s")


def _open(instance: Instance, node: NodeInstance | None) -> SupervisingEngine:
    """The machine's engine, or the node's own."""
    if node is None:
        return open_supervising_engine(instance.engine_url)
    return open_nested_supervising_engine(f"unix://{instance.node_socket(node.name, 'engine')}",
                                          engine_address(instance.engine_url), instance.directory / "images.turn")


def _place(instance: Instance, node: NodeInstance | None) -> Place:
    check = str(check_file(instance))
    if node is None:
        return Place(instance.id, instance.name, instance.network, NODE, instance.node_cgroup(NODE), check)
    return Place(instance.id, instance.name, instance.network, node.name, "", check, (instance.dns_address,))


def _memory() -> str:
    return str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
