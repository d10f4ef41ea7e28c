"""ConfigMaps, Secrets and Services as environments and volumes need them: caches that follow the API.

Services are followed from the start (their variables are in every pod); ConfigMaps and Secrets from the first pod that
names one. While the API cannot be reached the last known state stays.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from testbed.api.core_v1 import ConfigMap, Container, Pod, Secret, Service
from testbed.api.resources import CONFIG_MAPS, SECRETS, SERVICES, ResourceType
from testbed.client.informer import Informer
from testbed.client.protocol import Client, Json
from testbed.core.environment import Sources, needs_config
from testbed.node.facts import NodeFacts

SYNC_S = 5.0  # how long a first start waits for a cache


def _no_token(audience: str, lifetime_s: int) -> str:
    return ""


class ConfigSource:
    """``changed(resource, namespace, name)``: an object appeared, changed or went."""

    def __init__(self, client: Client, draw: random.Random, changed: Callable[[ResourceType, str, str], None]) -> None:
        self._client, self._draw, self._changed = client, draw, changed
        self._informers: dict[str, Informer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._services: tuple[Service, ...] | None = None

    def begin(self) -> None:
        self._follow(SERVICES)

    async def ready(self, pod: Pod) -> None:
        """Waits, not for ever, until what the pod's environment and volumes name can be looked up."""
        wanted = [SERVICES]
        if needs_any_config(pod):
            wanted += [CONFIG_MAPS, SECRETS]
        for resource in wanted:
            informer = self._follow(resource)
            if not informer.synced.is_set():
                try:
                    async with asyncio.timeout(SYNC_S):
                        await informer.synced.wait()
                except TimeoutError:
                    return

    def sources(
        self, pod: Pod, address: str, facts: NodeFacts, token: Callable[[str, int], str] = _no_token
    ) -> Sources:
        namespace = pod.metadata.namespace

        def config_map(name: str) -> ConfigMap | None:
            item = self._item(CONFIG_MAPS, namespace, name)
            return ConfigMap.of(item) if item is not None else None

        def secret(name: str) -> Secret | None:
            item = self._item(SECRETS, namespace, name)
            return Secret.of(item) if item is not None else None

        return Sources(
            config_map, secret, self._all_services(), host_ip=facts.address, pod_ip=address, node_name=facts.name,
            allocatable={"cpu": facts.cpu, "memory": facts.memory, "ephemeral-storage": facts.ephemeral_storage},
            token=token,
        )

    def _all_services(self) -> tuple[Service, ...]:
        if self._services is None:
            informer = self._follow(SERVICES)
            self._services = tuple(Service.of(item) for item in informer.items.values())
        return self._services

    def _item(self, resource: ResourceType, namespace: str, name: str) -> Json | None:
        return self._follow(resource).get(f"{namespace}/{name}")

    def _follow(self, resource: ResourceType) -> Informer:
        informer = self._informers.get(resource.plural)
        if informer is None:
            def on_change(old: Json | None, new: Json | None) -> None:
                if resource is SERVICES:
                    self._services = None
                    return
                metadata = (new or old or {})["metadata"]
                self._changed(resource, metadata.get("namespace", ""), metadata["name"])

            informer = Informer(self._client, resource, on_change=on_change, random=self._draw)
            self._informers[resource.plural] = informer
            self._tasks.append(asyncio.get_running_loop().create_task(informer.run()))
        return informer

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def needs_any_config(pod: Pod) -> bool:
    containers: tuple[Container, ...] = (*pod.spec.init_containers, *pod.spec.containers)
    return any(needs_config(item) for item in containers) or any(
        volume.config_map is not None or volume.secret is not None or volume.projected is not None
        for volume in pod.spec.volumes
    )
