"""The ControllerRevisions of a StatefulSet or DaemonSet, as core's ``controller_revisions`` decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from testbed.api.meta import LabelSelector, ObjectMeta
from testbed.api.resources import CONTROLLER_REVISIONS, ResourceType
from testbed.controlplane.controller import Tools, deep_copy
from testbed.controlplane.owners import controlled_by
from testbed.controlplane.ownership import adopt, release
from testbed.core import controller_revisions
from testbed.core.controller_revisions import RevisionPlan, RevisionState, revision_state
from testbed.errors import NotFound

Json = dict[str, Any]


@dataclass(frozen=True)
class Revisions:
    """``known``: all of the workload, the update's too; ``update``: what its template is."""

    known: tuple[RevisionState, ...]
    update: RevisionPlan

    def template(self, name: str) -> Json | None:
        return next((item.template for item in self.known if item.name == name), None)


class History:
    """``hash_label``: the label of a revision that holds the hash of its template."""

    def __init__(self, tools: Tools, owner_type: ResourceType, hash_label: str) -> None:
        self._tools, self._owner_type, self._hash_label = tools, owner_type, hash_label
        self._cache = tools.caches.controller_revisions

    async def of(self, meta: ObjectMeta, selector: LabelSelector, json: Json) -> Revisions:
        """Claims the workload's revisions, and sees to it that its template is one of them, and the newest.

        Raises: ApiError.
        """
        known = await self._claim(meta, selector, json)
        ours = {item.name for item in known}
        taken = [item.metadata.name for item in self._cache.by("namespace", meta.namespace)
                 if item.metadata.name not in ours]
        template = json["spec"]["template"]
        plan = controller_revisions.plan(
            meta.name, template, known, taken=taken,
            collisions=int((json.get("status") or {}).get("collisionCount") or 0),
        )
        if plan.create:
            made = await self._tools.create(CONTROLLER_REVISIONS, self._new(json, plan), meta.namespace)
            known.append(RevisionState(plan.name, plan.number, self._tools.clock.now(),
                                       controller_revisions.template_of(made)))
        elif plan.renumber:
            current = self._cache.json(f"{meta.namespace}/{plan.name}")
            if current is not None:
                await self._tools.update(CONTROLLER_REVISIONS, {**current, "revision": plan.number})
        return Revisions(tuple(known), plan)

    async def _claim(self, meta: ObjectMeta, selector: LabelSelector, json: Json) -> list[RevisionState]:
        keys = []
        for each in self._cache.by("controller", meta.uid):
            if selector.matches(each.metadata.labels):
                keys.append(each.key)
            elif not each.metadata.deleting:
                await release(self._tools, CONTROLLER_REVISIONS, each.key, meta.uid)
        for each in self._cache.by("controller", ""):
            if each.metadata.namespace == meta.namespace and selector.matches(each.metadata.labels) \
                    and not each.metadata.deleting \
                    and await adopt(self._tools, self._owner_type, json, CONTROLLER_REVISIONS, each.key):
                keys.append(each.key)
        pairs = [(self._cache.get(key), self._cache.json(key)) for key in keys]
        return [revision_state(view, revision) for view, revision in pairs
                if view is not None and revision is not None and not view.metadata.deleting]

    def _new(self, json: Json, plan: RevisionPlan) -> Json:
        template = deep_copy(json["spec"]["template"])
        labels = (template.get("metadata") or {}).get("labels") or {}
        return {
            "apiVersion": CONTROLLER_REVISIONS.api_version, "kind": CONTROLLER_REVISIONS.kind,
            "metadata": {
                "name": plan.name, "namespace": json["metadata"]["namespace"],
                "labels": {**labels, self._hash_label: plan.hash},
                "annotations": dict(json["metadata"].get("annotations") or {}),
                "ownerReferences": [controlled_by(self._owner_type, json)],
            },
            "data": controller_revisions.patch_of(template), "revision": plan.number,
        }

    async def truncate(self, namespace: str, revisions: Revisions, live: Collection[str], limit: int) -> None:
        """Deletes the oldest ones beyond ``limit`` that nobody needs."""
        for name in controller_revisions.expired(revisions.known, {*live, revisions.update.name}, limit):
            try:
                await self._tools.client.delete(CONTROLLER_REVISIONS, name, namespace)
            except NotFound:
                continue
