"""Carries Deployments into the swarm as services: what `docker service create`, `update`, `update --rollback`, `scale`
and `rm` would be typed for. What the swarm makes of them is its own matter.

Images are on each node before a service asks for them: there is no registry, and a pull is not what is compared.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.core.environment import MissingConfig
from testbed.errors import NoSuchImage, TestbedError
from testbed.runtime.supervision import SupervisedSpec
from testbed.runtime.swarm import SwarmEngine
from testbed.supervisors import shown
from testbed.supervisors.check_program import check_file
from testbed.supervisors.containers import Place, container_spec, dns_search, files
from testbed.supervisors.mirror import Mirror
from testbed.supervisors.swarm.seen import Managed, services, used_revisions
from testbed.supervisors.swarm.timers import Timers
from testbed.supervisors.swarm.translate import NODE_NAME, POD_NAME, left_out, scaled, service_spec
from testbed.supervisors.swarm.watch import NodeWatch
from testbed.supervisors.volume_files import write_volumes
from testbed.supervisors.wishes import Wishes, lasting, revision_of

log = logging.getLogger("supervisor")

Json = dict[str, Any]


class Services:
    """``observed``: by Deployment, the generation that the swarm was told last. ``stuck``: why it could not be."""

    def __init__(self, instance: Instance, wishes: Wishes, mirror: Mirror, timers: Timers) -> None:
        self._instance, self._wishes, self._mirror, self._timers = instance, wishes, mirror, timers
        self.observed: dict[str, int] = {}
        self.stuck: dict[str, str] = {}
        self._there: set[tuple[str, str, str]] = set()  # node, image and, where that counts, revision
        self._told: set[str] = set()  # Deployments whose left-out parts were told, with revision

    async def keep(self, engine: SwarmEngine, managed: Managed, nodes: Iterable[NodeWatch]) -> None:
        """One pass. ``engine``: a manager's. What does not succeed is tried again at the next."""
        wanted = dict(lasting(self._wishes.deployments()))
        there = services(managed, self._instance.id)
        answering = [node for node in nodes if not node.silent]
        for key, deployment in wanted.items():
            try:
                await self._bring(engine, key, deployment, there.get(key), answering)
                self.stuck.pop(key, None)
            except (MissingConfig, TestbedError) as error:
                if str(error) != self.stuck.get(key):
                    log.warning("%s: %s", key, error)
                self.stuck[key] = str(error)
        for key in set(there) - set(wanted):
            log.info("%s: the service is removed", key)
            await engine.remove_service(there[key]["ID"])
        for key in set(self.observed) - set(wanted):
            self.observed.pop(key)
            self.stuck.pop(key, None)
        self._remove_files(managed, wanted)

    async def _bring(
        self, engine: SwarmEngine, key: str, deployment: Json, service: Json | None, nodes: list[NodeWatch]
    ) -> None:
        """Raises: MissingConfig, EngineError, EngineUnavailable, NoSuchImage."""
        generation, revision = int(deployment["metadata"].get("generation") or 1), revision_of(deployment)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        await asyncio.gather(*(self._ensure_image(node, container, revision) for node in nodes))
        if service is None:
            self._tell(key, deployment, revision)
            await engine.create_service(self._spec(deployment, revision))
            log.info("%s: service created", key)
        else:
            await self._change(engine, key, deployment, service, revision)
        self.observed[key] = generation

    async def _change(self, engine: SwarmEngine, key: str, deployment: Json, service: Json, revision: str) -> None:
        now, before = service["Spec"], service.get("PreviousSpec") or {}
        if now["Labels"].get(labels.SPEC_HASH) != revision and not deployment["spec"].get("paused"):
            back = (before.get("Labels") or {}).get(labels.SPEC_HASH) == revision
            self._tell(key, deployment, revision)
            await engine.update_service(service, now if back else self._spec(deployment, revision), back=back)
            log.info("%s: service %s", key, "rolled back" if back else "updated")
            return
        wanted = scaled(now, deployment)
        if not _same(wanted, now):
            await engine.update_service(service, wanted)
            log.info("%s: service scaled to %d", key, wanted["Mode"]["Replicated"]["Replicas"])

    def _tell(self, key: str, deployment: Json, revision: str) -> None:
        if (missing := left_out(deployment, self._timers)) and f"{key} {revision}" not in self._told:
            self._told.add(f"{key} {revision}")
            self._mirror.tell_deployment(key, "NotTranslated", "; ".join(missing))

    def _spec(self, deployment: Json, revision: str) -> Json:
        return service_spec(deployment, self._container(deployment, revision), revision, self._timers)

    def _container(self, deployment: Json, revision: str) -> SupervisedSpec:
        """What plain Docker would be given, of a pod that stands for all. Raises: MissingConfig."""
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        place = Place(self._instance.id, self._instance.name, "", NODE_NAME, "",
                      str(check_file(self._instance)))
        pod = shown.pod(self._instance.supervisor, deployment, POD_NAME, NODE_NAME, revision)
        pod["metadata"]["uid"] = ""  # the API gives it when there is a task
        sources = self._wishes.sources(namespace, NODE_NAME, "")
        volumes = write_volumes(self._folder(f"{namespace}/{name}", revision), files(pod, sources))
        made = container_spec(place, deployment, pod, 0, revision, sources, volumes)
        return replace(made, dns_servers=(self._instance.dns_address,), dns_search=dns_search(namespace),
                       dns_options=("ndots:5",))

    def _folder(self, key: str, revision: str) -> Path:
        return self._instance.directory / "volumes" / f"{key.replace('/', '_')}_{revision}"

    def _remove_files(self, managed: Managed, wanted: Mapping[str, Json]) -> None:
        """Of volumes that no task has mounted, and that no service asks for, now or after a rollback."""
        needed = {self._folder(key, revision_of(deployment)) for key, deployment in wanted.items()}
        needed |= {self._folder(key, revision) for key, revision in used_revisions(managed)}
        for folder in set((self._instance.directory / "volumes").glob("*_*_*")) - needed:
            log.info("%s: its files are removed", folder.name)
            shutil.rmtree(folder, ignore_errors=True)

    async def _ensure_image(self, node: NodeWatch, container: Mapping[str, Any], revision: str) -> None:
        """``Always``: copied anew for each change of the template. Raises: NoSuchImage, EngineError,
        EngineUnavailable."""
        reference, always = str(container["image"]), container.get("imagePullPolicy") == "Always"
        known = (node.name, reference, revision if always else "")
        if known in self._there:
            return
        if always or not await _has(node.engine, reference):
            log.info("%s: copying %s", node.name, reference)
            await node.engine.pull(reference)
        self._there.add(known)


async def _has(engine: SwarmEngine, reference: str) -> bool:
    try:
        await engine.image(reference)
    except NoSuchImage:
        return False
    return True


def _same(wanted: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """An engine gives back a spec with fields that it filled in: only ours count."""
    own, other = wanted["UpdateConfig"], now.get("UpdateConfig") or {}
    return (wanted["Mode"] == now.get("Mode")
            and all(other.get(key, 0) == value for key, value in own.items()))
