"""Claims, volumes and attachments as an agent knows them: caches that follow the API, and go on without it.

Claims and volumes are followed from the start, since any agent may be asked to make or remove one; attachments from
the first pod with a claim.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from testbed.api.core_v1 import Pod
from testbed.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    VOLUME_ATTACHMENTS,
    ResourceType,
)
from testbed.api.storage_v1 import PersistentVolume, PersistentVolumeClaim
from testbed.client.informer import Informer
from testbed.client.protocol import Client, Json
from testbed.core.volume_scheduling import claim_names


class NodeStorage:
    """``listeners``: called when something here changed."""

    def __init__(self, client: Client, node: str, draw: random.Random) -> None:
        self._client, self._node, self._draw = client, node, draw
        self._informers: dict[str, Informer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.listeners: list[Callable[[], None]] = []

    def begin(self) -> None:
        self._follow(PERSISTENT_VOLUME_CLAIMS)
        self._follow(PERSISTENT_VOLUMES)

    def claims(self) -> list[Json]:
        return list(self._follow(PERSISTENT_VOLUME_CLAIMS).items.values())

    def volumes(self) -> list[Json]:
        return list(self._follow(PERSISTENT_VOLUMES).items.values())

    def volume_of(self, pod: Pod, claim: str) -> PersistentVolume | None:
        """The volume that serves a pod's claim; None while there is none."""
        json = self._follow(PERSISTENT_VOLUME_CLAIMS).get(f"{pod.metadata.namespace}/{claim}")
        if json is None:
            return None
        view = PersistentVolumeClaim.of(json)
        found = self._follow(PERSISTENT_VOLUMES).get(view.spec.volume_name) if view.bound else None
        volume = PersistentVolume.of(found) if found is not None else None
        return volume if volume is not None and volume.is_for(view) else None

    def attached(self, volume: str) -> bool:
        """Whether this node may use the volume."""
        return any(
            item["spec"].get("nodeName") == self._node and (item.get("status") or {}).get("attached")
            and (item["spec"].get("source") or {}).get("persistentVolumeName") == volume
            for item in self._follow(VOLUME_ATTACHMENTS).items.values()
        )

    def _follow(self, resource: ResourceType) -> Informer:
        informer = self._informers.get(resource.plural)
        if informer is None:
            informer = Informer(self._client, resource, on_change=self._changed, random=self._draw)
            self._informers[resource.plural] = informer
            self._tasks.append(asyncio.get_running_loop().create_task(informer.run()))
        return informer

    def _changed(self, old: Json | None, new: Json | None) -> None:
        for listener in self.listeners:
            listener()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def has_claims(pod: Pod) -> bool:
    return bool(claim_names(pod))
