"""Volumes as the scheduler needs them (core: ``volume_scheduling``), and what it promises before a pod is placed.

Promises are written where they are read again: ``claimRef`` on a volume that is there, the chosen node on a claim whose
volume is to be made. A scheduler that is killed in between finds them, and waits for them, as before.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.api.core_v1 import Pod
from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from testbed.api.storage_v1 import ONE_POD, SELECTED_NODE, PersistentVolumeClaim
from testbed.controlplane.claim_users import users_of
from testbed.controlplane.controller import Tools
from testbed.controlplane.volume_marks import annotated, annotations_of, pointed_at
from testbed.core import volume_scheduling
from testbed.core.volume_scheduling import Storage, VolumeNeeds, claim_names
from testbed.errors import Conflict, NotFound


class PodVolumes:
    """``changed``: pods that wait may fit now."""

    def __init__(self, tools: Tools, changed: Callable[[], None]) -> None:
        self._tools, self._caches = tools, tools.caches
        for cache in (self._caches.claims, self._caches.volumes, self._caches.storage_classes):
            cache.on_change(lambda old, new: changed())

    def needs(self, pod: Pod) -> VolumeNeeds | None:
        """None: the pod names no claims."""
        names = claim_names(pod)
        if not names:
            return None
        caches, others = self._caches, []
        claims = {key: claim for name in names
                  if (claim := caches.claims.get(key := f"{pod.metadata.namespace}/{name}")) is not None}
        for key, claim in claims.items():
            if ONE_POD in claim.spec.access_modes:
                others += [user for user in users_of(caches, key) if user.spec.node_name]
        storage = Storage(
            claims, {item.metadata.name: item for item in caches.volumes.values()},
            {item.metadata.name: item for item in caches.storage_classes.values()},
        )
        return volume_scheduling.needs(pod, storage, others)

    async def promise(self, needs: VolumeNeeds, node: str) -> None:
        """Raises: ApiError; what was promised before it stays promised."""
        chosen = self._caches.nodes.get(node)
        promises = needs.promises(chosen) if chosen is not None else None
        for item in promises or ():
            try:
                if item.volume:
                    await self._promise_volume(item.volume, item.claim)
                else:
                    await self._select_node(item.claim, node)
            except (NotFound, Conflict):  # somebody was faster: the next look sees it
                continue

    async def _promise_volume(self, name: str, claim: PersistentVolumeClaim) -> None:
        json = self._caches.volumes.json(name)
        if json is not None and not json["spec"].get("claimRef"):
            await self._tools.update(PERSISTENT_VOLUMES, pointed_at(json, claim))

    async def _select_node(self, claim: PersistentVolumeClaim, node: str) -> None:
        json = self._caches.claims.json(claim.key)
        if json is not None:
            changed = annotated(json, annotations_of(json) | {SELECTED_NODE: node})
            await self._tools.update(PERSISTENT_VOLUME_CLAIMS, changed)
