"""Makes a pod's sandbox and starts its containers, and says which container could not be started and why.

A restart is the product's fastest path: its specification is made from what is at hand, and a container of exactly
that specification was made in advance (a *spare*), so that only its start is left to do at the moment of death.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from testbed.api.core_v1 import Container, Pod
from testbed.api.log_lines import CONTAINER_ID
from testbed.api.process_logs import about
from testbed.core.environment import MissingConfig, Sources, environment
from testbed.core.pods import Waiting
from testbed.errors import EngineError, EngineUnavailable, HostError, NameConflict, NoSuchContainer, NoSuchImage
from testbed.node.claims import IN_USE, NotMounted
from testbed.node.container_specs import check_allowed, container_spec, sandbox_spec
from testbed.node.facts import now_ns, now_s
from testbed.node.images import ImageNotReady
from testbed.node.record import CREATE_HASH, Record
from testbed.node.shared import Shared
from testbed.node.volumes import VolumeMissing, container_mounts, sandbox_mounts, write_volumes
from testbed.runtime.containers import ContainerSpec, ContainerState

log = logging.getLogger("testbed.node")
Json = dict[str, Any]


class CannotStart(Exception):
    """``waiting``: what the status says. ``again_s``: monotonic moment of the next try."""

    def __init__(self, waiting: Waiting, again_s: float) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting
        self.again_s = again_s


def sources_of(shared: Shared, pod: Pod, address: str) -> Sources:
    """What the pod's environments and volumes are made of now."""
    uid = pod.metadata.uid
    return shared.config.sources(
        pod, address, shared.facts, lambda audience, lifetime_s: shared.tokens.get(uid, audience, lifetime_s)
    )


class Starter:
    """Of one pod. ``json`` is the pod's newest object, for events."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._image_users: dict[str, str] = {}  # by image
        self._unanswered: set[str] = set()  # containers that were asked to start, without an answer

    # --- sandbox

    async def create_sandbox(self, pod: Pod, json: Json, attempt: int) -> None:
        """Raises: CannotStart, EngineUnavailable."""
        shared = self.shared
        await self._find_claims(pod, json)
        try:
            await shared.tokens.ensure(pod)
        except MissingConfig as error:
            raise self._failed(json, "FailedMount", Waiting("ContainerCreating"), str(error)) from error
        try:
            write_volumes(shared.facts, pod, self._sources(pod, ""))
            for container in (*pod.spec.init_containers, *pod.spec.containers):
                check_allowed(pod, container, "nobody", privileged=shared.facts.allow_privileged)
        except VolumeMissing as error:
            raise self._failed(json, "FailedMount", Waiting("ContainerCreating"), str(error)) from error
        except MissingConfig as error:
            raise self._failed(json, "Failed", Waiting("CreateContainerConfigError", str(error))) from error
        async with shared.sandbox_places:
            used = {item.state.labels.get("testbed.io/pod-ip", "") for item in shared.view.records.values()
                    if item.sandbox} | shared.taken
            address = shared.checkpoint.next_address(shared.facts.pod_cidr, used)
            shared.taken.add(address)
            try:
                await self._make_sandbox(pod, attempt, address)
            except (EngineError, HostError) as error:
                reason = "FailedCreatePodSandBox"
                raise self._failed(json, reason, Waiting("ContainerCreating", error.message)) from error
            finally:
                shared.taken.discard(address)

    async def _make_sandbox(self, pod: Pod, attempt: int, address: str) -> None:
        shared = self.shared
        claims = shared.claims.known(pod.metadata.uid)
        in_use = ",".join(sorted({item.in_use for item in claims.values() if item.in_use}))
        spec = sandbox_spec(
            shared.facts, pod, attempt, address, sandbox_mounts(shared.facts, pod, claims), shared.cluster,
            in_use={IN_USE: in_use} if in_use else {},
        )
        container = await self._create(spec)
        try:
            state = await shared.engine.start(container)
            process = await shared.host.identify(state.pid)
            await shared.route(process)
        except BaseException:
            await shared.engine.remove(container)
            raise
        shared.view.learn(state)

    async def _find_claims(self, pod: Pod, json: Json) -> None:
        """Raises: CannotStart until the node has what the pod claims; EngineUnavailable."""
        try:
            await self.shared.claims.find(pod)
        except NotMounted as error:
            waiting = Waiting("ContainerCreating", "")
            if error.waiting:
                raise CannotStart(waiting, now_s() + self.shared.retry_s()) from error
            raise self._failed(json, "FailedMount", waiting, str(error)) from error

    # --- containers

    async def start(
        self, pod: Pod, json: Json, container: Container, attempt: int, sandbox: str, address: str
    ) -> Record:
        """Raises: CannotStart, EngineUnavailable."""
        shared, name = self.shared, container.name
        await self._find_claims(pod, json)
        spare = shared.view.spare(pod.metadata.uid, name)
        if spare is not None and spare.id in self._unanswered:
            await self._look_whether_it_started(spare)
        if spare is None or container.image not in self._image_users:
            await self._ensure_image(json, container)
        spec = self._spec(pod, json, container, attempt, sandbox, address)
        ready_made = spare is not None and spare.state.labels.get(CREATE_HASH) == spec.labels[CREATE_HASH]
        if spare is not None and ready_made:
            shared.measures.spares_used += 1
            container_id = spare.id
            shared.view.records[spare.id].touched_s = now_s()
        else:
            container_id = await self._create_container(json, container, spec)
        pulled_ns, created_ns = now_ns(), now_ns()  # before it starts: events are read in the order of their times
        self._unanswered.add(container_id)
        try:
            state = await shared.engine.start(container_id)
            self._unanswered.discard(container_id)
        except NoSuchContainer as error:
            self._unanswered.discard(container_id)
            await shared.view.refresh(container_id)
            raise CannotStart(Waiting("CreateContainerError", error.message), now_s()) from error
        except EngineError as error:
            self._unanswered.discard(container_id)
            if spec.oom_score_adj < 0 and shared.lowest_oom_score < 0:
                await self._allow_no_low_oom_score(json, container_id)
                return await self.start(pod, json, container, attempt, sandbox, address)
            await shared.view.refresh(container_id)
            self._tell(json, "Warning", "Failed", f"Error: {error.message}")
            raise CannotStart(Waiting("RunContainerError", error.message), now_s()) from error
        started_ns = now_ns()
        record = shared.view.learn(state)
        if ready_made:
            self._tell(json, "Normal", "Pulled", f'Container image "{container.image}" already present on machine',
                       pulled_ns)
        self._tell(json, "Normal", "Created", f"Created container: {name}", created_ns, container_id)
        self._tell(json, "Normal", "Started", f"Started container {name}", started_ns, container_id)
        if spare is not None and not ready_made:
            await self.discard(spare)
        return record

    async def _look_whether_it_started(self, record: Record) -> None:
        """A start without an answer may have been done all the same, and its container may have ended since: starting
        it again would be a restart that nobody decided. Raises: CannotStart when it did start; EngineUnavailable."""
        found = await self.shared.view.refresh(record.id)
        self._unanswered.discard(record.id)
        if found is None or found.state.status != "created":
            raise CannotStart(Waiting("ContainerCreating", ""), now_s())

    async def _allow_no_low_oom_score(self, json: Json, container_id: str) -> None:
        """The likeliest reason of a refused start here: an OOM score below the engine's own needs a capability that
        the engine may lack. It is left out for good, and said."""
        self.shared.lowest_oom_score = 0
        self._tell(json, "Warning", "OomScoreNotLowered",
                   "the engine could not start the container with a negative OOM score: 0 is used on this node")
        await self.shared.engine.remove(container_id)
        await self.shared.view.refresh(container_id)

    async def make_spare(
        self, pod: Pod, json: Json, container: Container, attempt: int, sandbox: str, address: str
    ) -> None:
        """Creates the next attempt's container, not started. A failure is no matter: the restart then does it all."""
        shared = self.shared
        async with shared.spare_places:
            try:
                await self._find_claims(pod, json)
                spec = self._spec(pod, json, container, attempt, sandbox, address)
                spare = shared.view.spare(pod.metadata.uid, container.name)
                if spare is not None and spare.state.labels.get(CREATE_HASH) == spec.labels[CREATE_HASH]:
                    return
                if spare is not None:
                    await self.discard(spare)
                container_id = await self._create(spec)
                await shared.view.refresh(container_id)
            except (CannotStart, EngineError, EngineUnavailable) as error:
                log.info("no spare for %s/%s: %s", pod.metadata.name, container.name, error, extra=about(json))

    async def discard(self, record: Record) -> None:
        try:
            await self.shared.engine.remove(record.id)
        except (EngineError, EngineUnavailable) as error:
            log.info("container %s not removed yet: %s", record.name, error.message, extra=record.whom)
            return
        record.touched_s = 0.0

    # --- what is asked

    def _sources(self, pod: Pod, address: str) -> Sources:
        return sources_of(self.shared, pod, address)

    def _spec(
        self, pod: Pod, json: Json, container: Container, attempt: int, sandbox: str, address: str
    ) -> ContainerSpec:
        facts, sources = self.shared.facts, self._sources(pod, address)
        try:
            if pod.spec.volumes:
                write_volumes(facts, pod, sources)
            env = environment(pod, container, sources)
            return container_spec(
                facts, pod, container, attempt, sandbox=sandbox, env=env,
                mounts=container_mounts(facts, pod, container, attempt, self.shared.claims.known(pod.metadata.uid)),
                image_user=self._image_users.get(container.image, ""), lowest_oom_score=self.shared.lowest_oom_score,
            )
        except MissingConfig as error:
            raise self._failed(json, "Failed", Waiting("CreateContainerConfigError", str(error))) from error
        except OSError as error:
            raise self._failed(json, "Failed", Waiting("CreateContainerError", str(error))) from error

    async def _ensure_image(self, json: Json, container: Container) -> None:
        def tell(kind: str, reason: str, message: str) -> None:
            self._tell(json, kind, reason, message)

        try:
            image = await self.shared.images.ensure(json["metadata"]["uid"], container, tell)
        except ImageNotReady as error:
            tell("Warning", "Failed", f"Error: {error.waiting.reason}")
            raise CannotStart(error.waiting, error.again_s) from error
        self._image_users[container.image] = image.user

    async def _create_container(self, json: Json, container: Container, spec: ContainerSpec) -> str:
        try:
            return await self._create(spec)
        except NoSuchImage as error:
            self.shared.images.forget(container.image)
            self._image_users.pop(container.image, None)
            waiting = Waiting("ErrImagePull", error.message)
            raise self._failed(json, "Failed", waiting) from error
        except EngineError as error:
            raise self._failed(json, "Failed", Waiting("CreateContainerError", error.message)) from error

    async def _create(self, spec: ContainerSpec) -> str:
        """A name that is taken is looked at: our own unfinished work is taken over, anything else is in the way."""
        try:
            return await self.shared.engine.create(spec)
        except NameConflict:
            state = await self.shared.engine.inspect(spec.name)
            wanted = spec.labels.get(CREATE_HASH)
            # One that runs was started by a call whose answer was lost: starting it again changes nothing.
            unfinished = state.status == "created" or state.running
            if _ours(state, spec) and unfinished and wanted == state.labels.get(CREATE_HASH):
                return state.id
            if not _ours(state, spec):
                raise
            await self.shared.engine.remove(state.id)
            return await self.shared.engine.create(spec)

    def _failed(self, json: Json, reason: str, waiting: Waiting, told: str = "") -> CannotStart:
        self._tell(json, "Warning", reason, told or f"Error: {waiting.message}")
        return CannotStart(waiting, now_s() + self.shared.retry_s())

    def _tell(
        self, json: Json, kind: str, reason: str, message: str, monotonic_ns: int | None = None, container_id: str = "",
    ) -> None:
        moment = now_ns() if monotonic_ns is None else monotonic_ns
        self.shared.recorder.event(json, kind, reason, message, monotonic_ns=moment, whom={CONTAINER_ID: container_id})


def _ours(state: ContainerState, spec: ContainerSpec) -> bool:
    keys = ("testbed.io/instance", "testbed.io/node", "io.kubernetes.pod.uid", "io.kubernetes.container.name")
    return all(state.labels.get(key) == spec.labels[key] for key in keys)


async def gather_removals(starter: Starter, records: list[Record]) -> None:
    """Removes containers, at most four at a time."""
    places = asyncio.Semaphore(4)

    async def one(record: Record) -> None:
        async with places:
            await starter.discard(record)

    await asyncio.gather(*(one(record) for record in records))
