"""Keeps claims that a pod uses, and volumes that are bound, until that is over: takes their finalizers off then.

A claim is used by every pod that has a node and names it, also one that has ended: what matters is the pod's object.
Source: kubernetes pkg/controller/volume/{pvcprotection,pvprotection}.
"""

from __future__ import annotations

from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, ResourceType
from testbed.api.storage_v1 import CLAIM_PROTECTION, VOLUME_PROTECTION
from testbed.client.informer import key_of
from testbed.controlplane.claim_users import claims_in, users_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core.volume_scheduling import claim_names

Json = dict[str, Any]
_CLAIM, _VOLUME = "claim ", "volume "


class VolumeProtection(Controller):
    """Keys: ``claim <namespace>/<name>`` and ``volume <name>``."""

    name = "pvc-protection-controller"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._claims, self._volumes = tools.caches.claims, tools.caches.volumes
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        tools.caches.pods.on_change(self._pod_changed)

    def _claim_changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and new["metadata"].get("deletionTimestamp"):
            self.queue.add(_CLAIM + key_of(new))

    def _volume_changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and new["metadata"].get("deletionTimestamp"):
            self.queue.add(_VOLUME + key_of(new))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None and old is not None:
            for name in claims_in(old):
                self.queue.add(f"{_CLAIM}{old['metadata'].get('namespace', '')}/{name}")

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_CLAIM):
            await self._look_at_claim(key.removeprefix(_CLAIM))
        else:
            await self._look_at_volume(key.removeprefix(_VOLUME))
        return None

    async def _look_at_claim(self, key: str) -> None:
        json = self._claims.json(key)
        if json is None or not json["metadata"].get("deletionTimestamp"):
            return
        if any(pod.spec.node_name for pod in users_of(self.caches, key)):
            return
        # The cache may lag: before protection ends, the API itself is asked.
        name, namespace = json["metadata"]["name"], json["metadata"]["namespace"]
        live = await self.client.list(PODS, namespace)
        if any(name in claim_names(pod) and pod.spec.node_name for pod in map(Pod.of, live.items)):
            return
        await self._release(PERSISTENT_VOLUME_CLAIMS, json, CLAIM_PROTECTION)

    async def _look_at_volume(self, name: str) -> None:
        json = self._volumes.json(name)
        if json is None or not json["metadata"].get("deletionTimestamp"):
            return
        if (json.get("status") or {}).get("phase") != "Bound":
            await self._release(PERSISTENT_VOLUMES, json, VOLUME_PROTECTION)

    async def _release(self, resource: ResourceType, json: Json, finalizer: str) -> None:
        finalizers = json["metadata"].get("finalizers") or []
        if finalizer in finalizers:
            metadata = {**json["metadata"], "finalizers": [item for item in finalizers if item != finalizer]}
            await self.tools.update(resource, {**json, "metadata": metadata})
