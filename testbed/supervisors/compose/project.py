"""``docker compose up -d`` for one Deployment, as a plan (pure) and its carrying out.

As Compose v2 does it: what is superfluous is stopped and removed, out-of-date ones first and then the highest numbers;
each out-of-date one is recreated (new container made, old one stopped and removed); missing ones are made; all of
these at the same time. Only when all is made are the new ones started, one after the other by their numbers.
Source: docker/compose pkg/compose/reconcile.go (reconcileService, planRecreateContainer, sortContainers) and
convergence.go (startService). One difference: the new container keeps the name that it was made with.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.core.environment import Sources
from testbed.errors import NoSuchImage
from testbed.runtime.containers import ContainerState
from testbed.runtime.supervision import SupervisedSpec, SupervisingEngine
from testbed.supervisors.compose.timers import Timers
from testbed.supervisors.compose.translate import autoheal_labels
from testbed.supervisors.containers import DEPLOYMENT, DEPLOYMENT_UID, REPLICA, Place, container_spec, files
from testbed.supervisors.mirror import Mirror
from testbed.supervisors.volume_files import write_volumes
from testbed.supervisors.wishes import Wishes, revision_of

log = logging.getLogger("supervisor")

Json = dict[str, Any]
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # as upstream's generated names


@dataclass(frozen=True)
class Up:
    """``remove``: stopped and removed. ``recreate``: the same, and made anew under the same number. ``create``: numbers
    that are new. ``start``: made by an `up` that was broken off."""

    remove: tuple[ContainerState, ...] = ()
    recreate: tuple[ContainerState, ...] = ()
    create: tuple[int, ...] = ()
    start: tuple[ContainerState, ...] = ()


def plan(containers: Sequence[ContainerState], replicas: int, revision: str) -> Up:
    """``containers``: all of the Deployment."""
    fresh_first = sorted(containers, key=lambda item: (_outdated(item, revision), _number(item)))
    kept, superfluous = fresh_first[:replicas], fresh_first[replicas:]
    highest = max((_number(item) for item in containers), default=0)
    missing = range(highest + 1, highest + 1 + max(0, replicas - len(containers)))
    outdated = tuple(item for item in kept if _outdated(item, revision))
    begun = tuple(item for item in kept if item.status == "created" and item not in outdated)
    return Up(tuple(superfluous), outdated, tuple(missing), begun)


def _outdated(state: ContainerState, revision: str) -> bool:
    return state.labels.get(labels.SPEC_HASH) != revision


def _number(state: ContainerState) -> int:
    return int(state.labels.get(REPLICA) or 0)


class Project:
    """Carries `up` out.

    Attributes:
        stopping: ids of containers that somebody has told to stop.
        being_made: keys of pods whose container is being made, or was made after the last look began.
        made: those of them that have their container.
    """

    def __init__(
        self, instance: Instance, engine: SupervisingEngine, wishes: Wishes, mirror: Mirror, place: Place,
        host_ip: str, draw: random.Random, timers: Timers,
    ) -> None:
        self._instance, self._engine, self._wishes, self._mirror = instance, engine, wishes, mirror
        self._place, self._host_ip, self._draw, self._timers = place, host_ip, draw, timers
        self.stopping: set[str] = set()
        self.being_made: set[str] = set()
        self.made: set[str] = set()

    def mine(self, deployment: str = "") -> dict[str, str]:
        """The labels of all containers, or of one Deployment's."""
        wanted = {labels.INSTANCE: self._instance.id, labels.ROLE: labels.ROLE_CONTAINER}
        return wanted | {DEPLOYMENT: deployment} if deployment else wanted

    async def up(self, key: str, deployment: Json) -> None:
        """Raises: EngineError, EngineUnavailable, ApiError, MissingConfig (a ConfigMap or Secret is not there),
        EnvironmentProblem (their files cannot be written)."""
        spec = deployment["spec"]
        replicas = int(spec.get("replicas", 1))
        present = [state for state in await self._engine.look(self.mine(key))
                   if state.labels.get(DEPLOYMENT_UID) == deployment["metadata"]["uid"] and not self.ends(state)]
        todo = plan(present, replicas, revision_of(deployment))
        log.info("%s: up: %d to remove, %d to recreate, %d to create", key, len(todo.remove), len(todo.recreate),
                 len(todo.create))
        recreating = [self._recreate(deployment, state) for state in todo.recreate]
        creating = [self._create(deployment, number) for number in todo.create]
        made, _ = await asyncio.gather(
            asyncio.gather(*recreating, *creating), asyncio.gather(*(self.remove(state) for state in todo.remove)))
        for _, container in sorted([*made, *((_number(state), state.id) for state in todo.start)]):
            await self._engine.start(container)
            self._wishes.wake()

    def ends(self, state: ContainerState) -> bool:
        """Somebody has ordered it to end, or has deleted its pod."""
        pod = self._wishes.pods().get(f"{state.labels[labels.POD_NAMESPACE]}/{state.labels[labels.POD_NAME]}")
        return state.id in self.stopping or bool(pod and pod["metadata"].get("deletionTimestamp"))

    async def _recreate(self, deployment: Json, state: ContainerState) -> tuple[int, str]:
        made = await self._create(deployment, _number(state))
        await self.remove(state)
        return made

    async def _create(self, deployment: Json, number: int) -> tuple[int, str]:
        """The container's number and id; it is not started."""
        meta = deployment["metadata"]
        suffix = "".join(self._draw.choice(_ALPHABET) for _ in range(5))
        name = f"{meta['name'][:50]}-{number}-{suffix}"
        key = f"{meta['namespace']}/{name}"
        self.being_made.add(key)
        try:
            pod = await self._mirror.make_pod(deployment, name, self._place.node)
            sources = self._wishes.sources(meta["namespace"], self._place.node, self._host_ip)
            spec = container_spec(self._place, deployment, pod, number, revision_of(deployment), sources,
                                  self._written(pod, sources))
            container = await self._made(
                replace(spec, labels={**spec.labels, **autoheal_labels(self._timers, deployment)}))
        except BaseException:
            self.being_made.discard(key)
            raise
        self.made.add(key)
        self._wishes.wake()
        return number, container

    def _written(self, pod: Json, sources: Sources) -> dict[str, str]:
        """Its volumes' files, all of them or none."""
        folder = self._folder(pod["metadata"]["uid"])
        try:
            return write_volumes(folder, files(pod, sources))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _made(self, spec: SupervisedSpec) -> str:
        """A missing image is pulled, as Compose does."""
        try:
            return await self._engine.create(spec)
        except NoSuchImage:
            await self._engine.pull(spec.image)
            return await self._engine.create(spec)

    def looked(self, made_before: frozenset[str]) -> None:
        """A look has ended that began when these had their containers: from now on what it shows is the truth."""
        self.being_made -= made_before
        self.made -= made_before

    async def remove(self, state: ContainerState) -> None:
        """Stopped with its grace, then removed. Raises: EngineError, EngineUnavailable."""
        if state.id in self.stopping:
            return
        self.stopping.add(state.id)
        key = f"{state.labels[labels.POD_NAMESPACE]}/{state.labels[labels.POD_NAME]}"
        grace_s = self._grace_s(key)
        try:
            await self._mirror.end_pod(key, grace_s)
            self._mirror.tell(key, "Killing", f"Stopping container {state.labels[labels.CONTAINER_NAME]}")
            self._wishes.wake()
            await self._engine.stop(state.id, grace_s)
            await self._engine.remove(state.id)
        except BaseException:
            self.stopping.discard(state.id)
            raise
        shutil.rmtree(self._folder(state.labels[labels.POD_UID]), ignore_errors=True)
        self._wishes.wake()

    def _grace_s(self, key: str) -> int:
        pod = self._wishes.pods().get(key) or {}
        asked = (pod.get("metadata") or {}).get("deletionGracePeriodSeconds")
        usual = (pod.get("spec") or {}).get("terminationGracePeriodSeconds", 10)
        return int(usual if asked is None else asked)

    def _folder(self, uid: str) -> Path:
        return self._instance.directory / "volumes" / uid
