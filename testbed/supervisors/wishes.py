"""What the API wants, as caches that a driver reads: Deployments, Services, configuration, and the pods that are shown.

Decides nothing. ``wait`` returns when anything may have changed: levels, not edges.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

from testbed.api.core_v1 import ConfigMap, Secret, Service
from testbed.api.meta import matches_labels
from testbed.api.resources import CONFIG_MAPS, DEPLOYMENTS, ENDPOINT_SLICES, NODES, PODS, SECRETS, SERVICES
from testbed.client.informer import Informer
from testbed.client.protocol import Client
from testbed.core.environment import Sources

Json = dict[str, Any]
_KINDS = (DEPLOYMENTS, SERVICES, PODS, CONFIG_MAPS, SECRETS, ENDPOINT_SLICES, NODES)


class Wishes:
    """Use as ``async with wishes.followed():``. All answers are JSON to be read, never changed."""

    def __init__(self, client: Client, draw: random.Random) -> None:
        self._news = asyncio.Event()
        self._informers = {kind: Informer(client, kind, on_change=self._changed, random=draw) for kind in _KINDS}

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Returns once every cache has been filled."""
        tasks = [asyncio.create_task(informer.run()) for informer in self._informers.values()]
        try:
            for informer in self._informers.values():
                await informer.synced.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, old: Json | None, new: Json | None) -> None:
        self._news.set()

    def wake(self) -> None:
        """There is news from elsewhere (the orchestrator)."""
        self._news.set()

    async def wait(self, at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._news.wait()
        self._news.clear()

    # --- what there is

    def deployments(self) -> Mapping[str, Json]:
        return self._informers[DEPLOYMENTS].items

    def services(self) -> Mapping[str, Json]:
        """Those that have a selector: their endpoints are ours to show."""
        return {key: item for key, item in self._informers[SERVICES].items.items() if item["spec"].get("selector")}

    def pods(self) -> Mapping[str, Json]:
        return self._informers[PODS].items

    def nodes(self) -> Mapping[str, Json]:
        return self._informers[NODES].items

    def slices(self) -> Mapping[str, Json]:
        return self._informers[ENDPOINT_SLICES].items

    def sources(self, namespace: str, node: str, host_ip: str) -> Sources:
        """What environments and volumes of a namespace are made of."""
        def config_map(name: str) -> ConfigMap | None:
            found = self._informers[CONFIG_MAPS].items.get(f"{namespace}/{name}")
            return ConfigMap.of(found) if found else None

        def secret(name: str) -> Secret | None:
            found = self._informers[SECRETS].items.get(f"{namespace}/{name}")
            return Secret.of(found) if found else None

        services = tuple(Service.of(item) for item in self._informers[SERVICES].items.values())
        return Sources(config_map, secret, services, host_ip=host_ip, node_name=node)


def lasting(deployments: Mapping[str, Json]) -> dict[str, Json]:
    """Those that are to be there: one that is deleted in the foreground stays in the API until its pods are gone."""
    return {key: item for key, item in deployments.items() if not item["metadata"].get("deletionTimestamp")}


def selected_by(service: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return matches_labels(service["spec"].get("selector"), labels)


def revision_of(deployment: Mapping[str, Any]) -> str:
    """A short hash of its pod template: containers made from another one are out of date."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
