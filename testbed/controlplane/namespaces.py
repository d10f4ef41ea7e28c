"""Empties namespaces in deletion and lets them go (core: ``namespaces``).

What a namespace holds is asked of the API, kind by kind, custom ones too: what no cache shows must go as well.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from testbed.api.resources import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, ResourceType
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.custom import custom_types
from testbed.core import namespaces
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]
WAIT_S = 0.2  # while content is on its way out
SLOW_WAIT_S = 1.0  # while pods end


class NamespaceController(Controller):
    name = "namespace-controller"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._namespaces = tools.caches.namespaces
        self._namespaces.on_change(self._changed)

    def _changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None and new["metadata"].get("deletionTimestamp"):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> float | None:
        json = self._namespaces.json(key)
        if json is None or not json["metadata"].get("deletionTimestamp"):
            return None
        content, finalizers, items = await self._content(key)
        status = json.get("status") or {}
        plan = namespaces.plan(True, status.get("conditions") or (), content, finalizers, self.clock.now())
        for resource, obj in items:
            if resource.group_resource in plan.delete and not obj["metadata"].get("deletionTimestamp"):
                await self._delete(resource, obj)
        if plan.finalize:
            await self._finalize(json)
            return None
        fresh = {**status, "phase": "Terminating", "conditions": list(plan.conditions)}
        if fresh != status:
            await self.tools.update(NAMESPACES, {**json, "status": fresh}, subresource="status")
        return SLOW_WAIT_S if set(plan.delete) == {PODS.group_resource} else WAIT_S

    async def _content(self, namespace: str) -> tuple[Counter[str], Counter[str], list[tuple[ResourceType, Json]]]:
        definitions = await self.client.list(CUSTOM_RESOURCE_DEFINITIONS)
        kinds = [resource for resource in BUILT_IN if resource.namespaced] + [
            resource for resource in custom_types(definitions.items) if resource.namespaced
        ]
        content: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        items: list[tuple[ResourceType, Json]] = []
        for resource in kinds:
            try:
                listing = await self.client.list(resource, namespace)
            except NotFound:  # a definition that went away meanwhile
                continue
            content[resource.group_resource] += len(listing.items)
            for obj in listing.items:
                finalizers.update(obj["metadata"].get("finalizers") or ())
                items.append((resource, obj))
        return content, finalizers, items

    async def _delete(self, resource: ResourceType, obj: Json) -> None:
        metadata = obj["metadata"]
        try:
            await self.client.delete(resource, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except (NotFound, Conflict):
            return

    async def _finalize(self, json: Json) -> None:
        spec = dict(json.get("spec") or {})
        spec["finalizers"] = [item for item in spec.get("finalizers") or () if item != namespaces.FINALIZER]
        try:
            await self.client.update(NAMESPACES, {**json, "spec": spec}, subresource="finalize")
        except NotFound:
            return
