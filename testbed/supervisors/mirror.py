"""Writes what an orchestrator made of our wishes into the API: nodes, pods, EndpointSlices, Deployments, Events.

Levels: a driver hands over everything that it sees, each time it looks; what differs from what was written last is
written. Nothing here decides what runs. A pod whose container is gone is taken out of the API, whoever ended it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from testbed.api import labels
from testbed.api.clock import WallClock
from testbed.api.instance import Instance
from testbed.api.log_lines import CONTAINER_ID
from testbed.api.meta import parse_time
from testbed.api.process_logs import about
from testbed.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, NODES, PODS, ResourceType
from testbed.client.events import EventRecorder
from testbed.client.protocol import Client, PatchType
from testbed.errors import AlreadyExists, ApiError, Conflict, NotFound
from testbed.supervisors import shown
from testbed.supervisors.changes import Told, changes, restarted
from testbed.supervisors.tasks import Machine, Task
from testbed.supervisors.wishes import Wishes, revision_of, selected_by

log = logging.getLogger("supervisor")

Json = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """All that a driver sees at one look.

    Attributes:
        being_made: keys of pods that have no container yet because it is being made. It is read while it grows: what
            is made meanwhile is not in ``tasks``, and not gone either.
        observed: by Deployment, the generation that the orchestrator was told last.
        left_out: by Deployment, what of it cannot be said in the orchestrator's terms.
        stuck: by Deployment, why the orchestrator does not get on with it.
        silent: nodes whose engine does not answer: their pods are left as they are.
    """

    tasks: Sequence[Task]
    machines: Sequence[Machine]
    being_made: Collection[str] = ()
    observed: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stuck: Mapping[str, str] = field(default_factory=dict)
    silent: Collection[str] = ()


class Mirror:
    """``recorder``: its component names the orchestrator."""

    def __init__(
        self, instance: Instance, client: Client, recorder: EventRecorder, wishes: Wishes, clock: WallClock
    ) -> None:
        self._instance, self._client, self._recorder = instance, client, recorder
        self._wishes, self._clock = wishes, clock
        self._seen: dict[str, Task] = {}  # by uid of the pod
        self._attempts: dict[str, int] = {}
        self._statuses: dict[str, Json] = {}  # of pods, by uid, as written last
        self._made: dict[str, Json] = {}  # pods that the cache may not have yet, by key
        self._written: dict[tuple[str, str], Json] = {}  # of everything else, by kind and key
        self._reachable: set[str] = set()  # keys of pods that were in rotation at the last look

    # --- pods come and go

    async def make_pod(self, deployment: Json, name: str, node: str) -> Json:
        """The pod for a container that is about to be made, so that the container can carry its uid.

        Raises: ApiError. One that is there already is given back.
        """
        wanted = shown.pod(self._instance.supervisor, deployment, name, node, revision_of(deployment))
        namespace = wanted["metadata"]["namespace"]
        try:
            made = await self._client.create(PODS, wanted, namespace)
        except AlreadyExists:
            made = await self._client.get(PODS, name, namespace)
        self._made[f"{namespace}/{name}"] = made
        return made

    async def end_pod(self, key: str, grace_s: int) -> None:
        """Its container is about to be stopped: from now on it counts as ending. Not an error when it is gone."""
        namespace, _, name = key.partition("/")
        try:
            await self._client.delete(PODS, name, namespace, grace_period_s=max(grace_s, 1))
        except (NotFound, Conflict):
            return

    def tell(self, key: str, reason: str, message: str, *, at: datetime | None = None, warning: bool = False) -> None:
        """An Event about a pod, of what only the driver knows: who ordered what."""
        pod = self._pod(key)
        if pod is not None:
            self._event(pod, Told(reason, message, at, warning), "")

    def tell_deployment(self, key: str, reason: str, message: str) -> None:
        """An Event about a Deployment."""
        deployment = self._wishes.deployments().get(key)
        if deployment is not None:
            self._event({**deployment, "apiVersion": "apps/v1", "kind": "Deployment"}, Told(reason, message), "")

    def knows(self, key: str) -> bool:
        """Whether the API has that pod, as far as anybody here has heard."""
        return self._pod(key) is not None

    def _pod(self, key: str) -> Json | None:
        """As the API has it, or as it was made a moment ago."""
        known, made = self._wishes.pods().get(key), self._made.get(key)
        if known is not None and made is not None and known["metadata"]["uid"] == made["metadata"]["uid"]:
            del self._made[key]
        return known or made

    # --- showing

    async def show(self, picture: Picture) -> None:
        """Writes the differences. What the API does not take now is written at the next look."""
        tasks = {task.key: task for task in picture.tasks}
        await self._take_out(tasks)
        await asyncio.gather(*(self._safely(self._show_node(machine)) for machine in picture.machines))
        adopted = await asyncio.gather(*(self._adopt(task) for task in picture.tasks))
        pods = [(pod, task) for pod, task in zip(adopted, picture.tasks, strict=True) if pod is not None]
        host_ips = {machine.name: machine.address for machine in picture.machines}
        fresh = await asyncio.gather(*(
            self._show_pod(pod, task, host_ips.get(task.node, "")) for pod, task in pods))
        await self._show_slices([(pod, task.reachable) for pod, (_, task) in zip(fresh, pods, strict=True)])
        await asyncio.gather(
            *(self._safely(self._show_deployment(key, picture)) for key in self._wishes.deployments()),
            *(self._safely(self._forget(key, pod)) for key, pod in list(self._wishes.pods().items())
              if key not in tasks and key not in picture.being_made and key not in self._made
              and (pod["metadata"].get("labels") or {}).get(labels.SUPERVISOR)
              and pod["spec"].get("nodeName") not in picture.silent))
        for key in [key for key in self._made if key not in tasks and key not in picture.being_made]:
            del self._made[key]

    async def _take_out(self, tasks: Mapping[str, Task]) -> None:
        """Who must get no more requests is told before anything else: that moment is measured."""
        reachable = {key for key, task in tasks.items() if task.reachable}
        left, self._reachable = self._reachable - reachable, reachable
        if not left:
            return
        still = [(pod, key in reachable) for key in tasks if (pod := self._pod(key)) is not None]
        await self._show_slices([
            ({**pod, "status": self._statuses.get(pod["metadata"]["uid"]) or pod.get("status") or {}}, there)
            for pod, there in still])

    async def _safely(self, work: Any) -> None:
        try:
            await work
        except ApiError as error:
            log.info("not shown yet: %s", error.message)

    async def _adopt(self, task: Task) -> Json | None:
        """The pod of a task; one that the orchestrator made by itself gets its pod now."""
        pod = self._pod(task.key)
        deployment = self._wishes.deployments().get(task.owner)
        if pod is not None or deployment is None:
            return pod
        try:
            return await self.make_pod(deployment, task.name, task.node)
        except ApiError as error:
            log.info("pod %s not shown yet: %s", task.key, error.message, extra=about(pod=task.key))
            return None

    async def _show_pod(self, pod: Json, task: Task, host_ip: str) -> Json:
        """The pod with its fresh status."""
        uid, meta = pod["metadata"]["uid"], pod["metadata"]
        before = self._seen.get(uid) or _remembered(pod, task)
        if uid not in self._attempts:
            self._attempts[uid] = _told_restarts(pod)
        if restarted(before, task):
            self._attempts[uid] += 1
        for told in changes(before, task):
            self._event(pod, told, task.container, task.id)
        self._seen[uid] = task
        known = self._statuses.get(uid)
        current = {**pod, "status": known if known is not None else pod.get("status") or {}}
        status = shown.status(current, task, self._attempts[uid], host_ip, self._clock.now())
        if status != known:
            try:
                await self._client.patch(PODS, meta["name"], {"status": status}, meta["namespace"],
                                         patch_type=PatchType.STRATEGIC, subresource="status")
                self._statuses[uid] = status
            except NotFound:
                self._made.pop(task.key, None)
            except ApiError as error:
                log.info("status of pod %s not written yet: %s", task.key, error.message,
                         extra=about(pod | {"kind": "Pod"}))
        return {**pod, "status": status}

    def _event(self, pod: Json, told: Told, container: str, container_id: str = "") -> None:
        """With the moment on the monotonic clock; the engine tells it on the wall's."""
        loop_ns, now = int(asyncio.get_running_loop().time() * 1e9), self._clock.now()
        ago_ns = int((now - told.at).total_seconds() * 1e9) if told.at is not None else 0
        self._recorder.event(
            {**pod, "apiVersion": pod.get("apiVersion", "v1"), "kind": pod.get("kind", "Pod")},
            "Warning" if told.warning else "Normal", told.reason, told.message,
            monotonic_ns=max(0, loop_ns - max(0, ago_ns)),
            field_path=f"spec.containers{{{container}}}" if container else "", whom={CONTAINER_ID: container_id})

    async def _forget(self, key: str, pod: Json) -> None:
        """Its container is gone."""
        meta = pod["metadata"]
        uid = meta["uid"]
        self._statuses.pop(uid, None)
        self._attempts.pop(uid, None)
        self._seen.pop(uid, None)
        try:
            await self._client.delete(PODS, meta["name"], meta["namespace"], grace_period_s=0, uid=uid)
        except (NotFound, Conflict):
            return

    # --- the rest

    async def _show_slices(self, pods: Sequence[tuple[Json, bool]]) -> None:
        wanted: dict[str, Json] = {}
        for service in self._wishes.services().values():
            mine = [(pod, reachable) for pod, reachable in pods
                    if pod["metadata"]["namespace"] == service["metadata"]["namespace"]
                    and selected_by(service, pod["metadata"].get("labels") or {})]
            for item in shown.slices(service, mine, self._instance.supervisor):
                wanted[f"{item['metadata']['namespace']}/{item['metadata']['name']}"] = item
        ours = {key for key, item in self._wishes.slices().items()
                if f"-{self._instance.supervisor}-" in item["metadata"]["name"]}
        await asyncio.gather(
            *(self._safely(self._apply(ENDPOINT_SLICES, key, item)) for key, item in wanted.items()),
            *(self._safely(self._drop(ENDPOINT_SLICES, key)) for key in ours - set(wanted)))

    async def _show_deployment(self, key: str, picture: Picture) -> None:
        json = self._wishes.deployments().get(key)
        if json is None:  # deleted while others were shown
            return
        written = self._written.get(("deployment", json["metadata"]["uid"]))
        status = shown.deployment_status(
            {**json, "status": written or json.get("status") or {}},
            [task for task in picture.tasks if task.owner == key], picture.observed.get(key, 0), revision_of(json),
            picture.left_out.get(key, ()), self._clock.now(), picture.stuck.get(key, ""))
        if status != written:
            meta = json["metadata"]
            await self._client.patch(DEPLOYMENTS, meta["name"], {"status": status}, meta["namespace"],
                                     subresource="status")
            self._written["deployment", meta["uid"]] = status

    async def _show_node(self, machine: Machine) -> None:
        before = self._written.get(("node", machine.name)) or self._wishes.nodes().get(machine.name) or {}
        wanted = shown.node(machine, self._instance.id, self._instance.supervisor, self._clock.now(), before)
        if wanted == self._written.get(("node", machine.name)):
            return
        try:
            await self._client.create(NODES, wanted)
        except AlreadyExists:
            pass
        await self._client.patch(NODES, machine.name, {"status": wanted["status"]}, subresource="status")
        self._written["node", machine.name] = wanted

    async def _apply(self, resource: ResourceType, key: str, wanted: Json) -> None:
        if self._written.get((resource.kind, key)) == wanted:
            return
        meta = wanted["metadata"]
        try:
            await self._client.create(resource, wanted, meta["namespace"])
        except AlreadyExists:
            patch = {name: value for name, value in wanted.items() if name not in ("metadata", "kind", "apiVersion")}
            await self._client.patch(resource, meta["name"], {**patch, "metadata": {"labels": meta.get("labels")}},
                                     meta["namespace"])
        self._written[resource.kind, key] = wanted

    async def _drop(self, resource: ResourceType, key: str) -> None:
        namespace, _, name = key.partition("/")
        self._written.pop((resource.kind, key), None)
        try:
            await self._client.delete(resource, name, namespace)
        except NotFound:
            return


def _told_restarts(pod: Json) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(item.get("restartCount") or 0) for item in statuses)


def _remembered(pod: Json, task: Task) -> Task | None:
    """What the driver before this one had told of the container: nothing of that is told again. API times are whole
    seconds, so a start within the same second is taken for the same."""
    for item in (pod.get("status") or {}).get("containerStatuses") or ():
        started = ((item.get("state") or {}).get("running") or {}).get("startedAt")
        if item.get("containerID") == f"docker://{task.id}" and started and task.started_at is not None:
            same = parse_time(started) == task.started_at.replace(microsecond=0)
            return task if same else None
    return None
