"""Garbage collection by owner references (core: ``garbage``): background, foreground, orphan.

An owner counts as gone only when the API says so, asked by name: our cache may lag, and kinds that it does not hold
(custom ones) are looked up the same way. An owner of a kind that nobody serves is unknown, not gone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from testbed.api.meta import ObjectMeta
from testbed.api.resources import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, ResourceType
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.custom import custom_types
from testbed.controlplane.owners import owner_uids
from testbed.core import garbage
from testbed.core.garbage import Owner
from testbed.errors import Conflict, NotFound

Json = dict[str, Any]
CUSTOM_OWNER_RECHECK_S = 5.0  # nobody tells us when a custom owner goes


class GarbageCollector(Controller):
    name = "garbage-collector"
    workers = 4

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._types = {(item.api_version, item.kind): item for item in BUILT_IN}
        self._dependents: dict[str, dict[str, None]] = {}  # owner's UID: keys of this controller's queue
        self._going_keys: dict[str, str] = {}  # UID: key, of objects in deletion
        for resource_name, cache in tools.caches.all.items():
            cache.on_change(partial(self._changed, resource_name))

    def _changed(self, resource_name: str, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        key = f"{resource_name} {key_of(changed)}"
        before = owner_uids(old) if old is not None else []
        after = owner_uids(new) if new is not None else []
        for uid in before:
            if uid not in after:
                self._dependents.get(uid, {}).pop(key, None)
                if not self._dependents.get(uid):
                    self._dependents.pop(uid, None)
        for uid in after:
            self._dependents.setdefault(uid, {})[key] = None
        deleting = bool(changed["metadata"].get("deletionTimestamp"))
        if new is None or deleting:
            for dependent in list(self._dependents.get(changed["metadata"]["uid"], ())):
                self.queue.add(dependent)
            for uid in before or after:  # an owner in foreground deletion may have waited for this one
                if (owner := self._going_keys.get(uid)) is not None:
                    self.queue.add(owner)
        if new is None:
            self._going_keys.pop(changed["metadata"]["uid"], None)
        elif deleting:
            self._going_keys[changed["metadata"]["uid"]] = key
        if new is not None and (deleting or before != after):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        resource_name, _, object_key = key.partition(" ")
        cache = self.caches.all[resource_name]
        json = cache.json(object_key)
        if json is None:
            return None
        meta = ObjectMeta.of(json["metadata"])
        if meta.deleting:
            return await self._going(cache.resource, json, meta)
        if not meta.owner_references:
            return None
        owners, again_s = await self._owners(meta)
        plan = garbage.plan_dependent(meta, owners, has_dependents=bool(self._dependents.get(meta.uid)))
        if plan.delete:
            await self._delete(cache.resource, meta, plan.propagation)
            return None
        if plan.forget:
            await self._forget(cache.resource, json, plan.forget)
        return again_s

    async def _owners(self, meta: ObjectMeta) -> tuple[dict[str, Owner], float | None]:
        states: dict[str, Owner] = {}
        again_s = None
        for reference in meta.owner_references:
            resource = self._types.get((reference.api_version, reference.kind)) or await self._custom_type(
                reference.api_version, reference.kind
            )
            if resource is None or (resource.namespaced and not meta.namespace):
                states[reference.uid] = Owner.SOLID  # cannot be looked up, so nobody can say that it is gone
                continue
            owner = await self._look_up(resource, reference.name, meta.namespace, reference.uid)
            blocks = reference.block_owner_deletion
            states[reference.uid] = garbage.owner_state(owner, reference.uid, blocks=blocks)
            if resource.group_resource not in self.caches.all:
                again_s = CUSTOM_OWNER_RECHECK_S
        return states, again_s

    async def _custom_type(self, api_version: str, kind: str) -> ResourceType | None:
        definitions = await self.client.list(CUSTOM_RESOURCE_DEFINITIONS)
        return next(
            (item for item in custom_types(definitions.items) if (item.api_version, item.kind) == (api_version, kind)),
            None,
        )

    async def _look_up(self, resource: ResourceType, name: str, namespace: str, uid: str) -> ObjectMeta | None:
        """The owner by our cache when it is there, else by the API."""
        scope = namespace if resource.namespaced else None
        cache = self.caches.all.get(resource.group_resource)
        cached = cache.json(f"{scope}/{name}" if scope else name) if cache is not None else None
        if cached is not None and cached["metadata"]["uid"] == uid:
            return ObjectMeta.of(cached["metadata"])
        try:
            return ObjectMeta.of((await self.client.get(resource, name, scope))["metadata"])
        except NotFound:
            return None

    async def _going(self, resource: ResourceType, json: Json, meta: ObjectMeta) -> float | None:
        """An object in deletion: its dependents first, if a finalizer says so."""
        if not {garbage.FOREGROUND, garbage.ORPHAN} & set(meta.finalizers):
            return None
        found: dict[str, tuple[ResourceType, Json]] = {}
        for key in self._dependents.get(meta.uid, ()):
            name, _, object_key = key.partition(" ")
            cache = self.caches.all[name]
            dependent = cache.json(object_key)
            if dependent is not None:
                found[dependent["metadata"]["uid"]] = (cache.resource, dependent)
        plan = garbage.plan_owner(meta, [ObjectMeta.of(item["metadata"]) for _, item in found.values()])
        for uid in plan.orphan:
            await self._forget(*found[uid], (meta.uid,))
        for uid in plan.delete:
            of_dependent, dependent = found[uid]
            await self._delete(of_dependent, ObjectMeta.of(dependent["metadata"]), "Foreground")
        if plan.orphan:
            self.queue.add(f"{resource.group_resource} {key_of(json)}")
        if plan.remove_finalizer:
            finalizers = [item for item in meta.finalizers if item != plan.remove_finalizer]
            metadata = {**json["metadata"], "finalizers": finalizers}
            await self.client.update(resource, {**json, "metadata": metadata})
        return None

    async def _delete(self, resource: ResourceType, meta: ObjectMeta, propagation: str) -> None:
        try:
            await self.client.delete(
                resource, meta.name, meta.namespace or None, propagation=propagation, uid=meta.uid
            )
        except (NotFound, Conflict):
            return

    async def _forget(self, resource: ResourceType, json: Json, uids: tuple[str, ...]) -> None:
        """Takes owner references off."""
        owners = [item for item in json["metadata"].get("ownerReferences") or () if item.get("uid") not in uids]
        metadata = {name: item for name, item in json["metadata"].items() if name != "ownerReferences"}
        if owners:
            metadata["ownerReferences"] = owners
        try:
            await self.tools.update(resource, {**json, "metadata": metadata})
        except NotFound:
            return
