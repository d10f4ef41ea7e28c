"""Counts anew what ResourceQuotas have used (core: ``quota``): when something goes, when a quota changes, and every
5 minutes. What is created the API server counts itself, before it stores it.
"""

from __future__ import annotations

import functools
from typing import Any

from testbed.api.meta import Resource
from testbed.api.quota_v1 import ResourceQuota
from testbed.api.resources import EVENTS, RESOURCE_QUOTAS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import quota as counting

Json = dict[str, Any]
RESYNC_S = 300.0


class QuotaController(Controller):
    """``deference``: a quota that was charged must not be counted before the object it was charged for is seen."""

    name = "resourcequota-controller"
    workers = 1
    deference = 16

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._quotas = tools.caches.all[RESOURCE_QUOTAS.group_resource]
        self._quotas.on_change(self._quota_changed)
        self._counted = {key: cache for key, cache in tools.caches.all.items()
                         if cache.resource.namespaced and cache.resource != EVENTS}
        for key, cache in self._counted.items():
            cache.on_change(functools.partial(self._changed, key))

    def _quota_changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and (old is None or old.get("spec") != new.get("spec")):
            self.queue.add(key_of(new))

    def _changed(self, kind: str, old: Json | None, new: Json | None) -> None:
        """Only what gives room back."""
        if old is None or (new is not None and not (kind == "pods" and _ended(new) and not _ended(old))):
            return
        namespace = f"{old['metadata'].get('namespace', '')}/"
        known = self._quotas.keys()
        for key in known:
            if key.startswith(namespace):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        json = self._quotas.json(key)
        if json is None:
            return None
        quota = ResourceQuota.of(json)
        used = counting.total(quota, self._objects(quota), self.clock.now())
        status = {"hard": dict(quota.spec.hard), "used": used}
        if status != (json.get("status") or {}):
            await self.tools.update(RESOURCE_QUOTAS, {**json, "status": status}, subresource="status")
        return RESYNC_S

    def _objects(self, quota: ResourceQuota) -> list[tuple[str, Resource]]:
        """Of the kinds that the quota counts, all in its namespace."""
        found: list[tuple[str, Resource]] = []
        names = {name.split(".")[0] if name.startswith("services.") else name.removeprefix("count/")
                 for name in quota.spec.hard}
        for kind, cache in self._counted.items():
            if kind in names or (kind == "pods" and names - self._counted.keys()):
                found += [(kind, obj) for obj in cache.values() if obj.metadata.namespace == quota.metadata.namespace]
        return found


def _ended(obj: Json) -> bool:
    return (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
