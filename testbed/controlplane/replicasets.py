"""ReplicaSets: keeps the number of pods (core: ``replicasets``).

New pods get names chosen here, so that a creation whose answer was lost can be looked up. Creations start with one,
then two, four, ... and stop at the first failure: a quota or a bad template is not run into five hundred times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from testbed.api.apps_v1 import ReplicaSet
from testbed.api.core_v1 import Pod
from testbed.api.resources import PODS, REPLICA_SETS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools, deep_copy
from testbed.controlplane.owners import controlled_by, controller_uid
from testbed.controlplane.ownership import adopt, release
from testbed.core import replicasets
from testbed.core.reasons import Note
from testbed.errors import AlreadyExists, ApiError, Conflict, NotFound

Json = dict[str, Any]
EXPECTATION_TIMEOUT_S = 300.0
NAME_ATTEMPTS = 5
MAX_PREFIX = 58  # of generated names: 63 less the suffix


class ReplicaSetController(Controller):
    name = "replicaset-controller"
    workers = 4

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._sets, self._pods = tools.caches.replica_sets, tools.caches.pods
        # UIDs of pods that we deleted and that the cache still shows alive, and until when we believe ourselves.
        self._leaving: dict[str, float] = {}
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    def _set_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(key_of(changed))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        uids = {controller_uid(old): None, controller_uid(new): None}
        for uid in uids:
            for key in self._sets.keys_by("uid", uid):
                self.queue.add(key)
        if new is None:
            assert old is not None
            self._leaving.pop(old["metadata"]["uid"], None)
            return
        if new["metadata"].get("deletionTimestamp"):
            self._leaving.pop(new["metadata"]["uid"], None)
        if not controller_uid(new):
            labels = new["metadata"].get("labels") or {}
            for candidate in self._sets.by("namespace", new["metadata"].get("namespace", "")):
                if candidate.spec.selector.matches(labels):
                    self.queue.add(candidate.key)

    async def reconcile(self, key: str) -> float | None:
        view, json = self._sets.get(key), self._sets.json(key)
        if view is None or json is None:
            return None
        owned = await self._claim(view, json)
        plan = replicasets.plan(view, owned, self._related(view, owned), self.clock.now())
        failure: tuple[str, str] | None = None
        if plan.create:
            error = await self._create(json, plan.create)
            failure = ("FailedCreate", str(error)) if error is not None else None
        elif plan.delete:
            error = await self._delete(json, [pod for pod in owned if pod.metadata.name in plan.delete])
            failure = ("FailedDelete", str(error)) if error is not None else None
        await self._write_status(key, view, owned, failure)
        if failure is not None:
            raise ApiError(f"{failure[0]}: {failure[1]}")
        return plan.requeue_after_s

    async def _claim(self, view: ReplicaSet, json: Json) -> list[Pod]:
        """Our pods: what we own, and orphans that we could adopt. What we deleted counts as leaving."""
        meta = view.metadata
        candidates = self._pods.by("controller", meta.uid)
        candidates += [pod for pod in self._pods.by("controller", "") if pod.metadata.namespace == meta.namespace]
        claims = replicasets.claim(view, candidates)
        owned = list(claims.owned)
        for pod in claims.release:
            await release(self.tools, PODS, pod.key, meta.uid)
        for pod in claims.adopt:
            if await adopt(self.tools, REPLICA_SETS, json, PODS, pod.key):
                adopted = self._pods.get(pod.key)
                owned += [adopted] if adopted is not None else []
        now_s = asyncio.get_running_loop().time()
        return [pod for pod in owned if self._leaving.get(pod.metadata.uid, 0.0) <= now_s]

    def _related(self, view: ReplicaSet, owned: Sequence[Pod]) -> list[Pod]:
        """Pods of all ReplicaSets with our owner (kubernetes: getIndirectlyRelatedPods)."""
        owner = view.metadata.controller
        if owner is None:
            return list(owned)
        family = self._sets.by("controller", owner.uid)
        return [pod for each in family for pod in self._pods.by("controller", each.metadata.uid)]

    # --- creation

    async def _create(self, json: Json, count: int) -> ApiError | None:
        """Up to ``count`` pods. Returns the first failure, with which it stopped."""
        batch, left = 1, count
        while left > 0:
            size = min(batch, left)
            outcomes = await asyncio.gather(*(self._create_one(json) for _ in range(size)))
            failures = [item for item in outcomes if item is not None]
            if failures:
                return failures[0]
            left -= size
            batch *= 2
        return None

    async def _create_one(self, json: Json) -> ApiError | None:
        namespace = json["metadata"]["namespace"]
        for _ in range(NAME_ATTEMPTS):
            pod = pod_of(json, self.tools.suffix())
            try:
                made = await self.tools.create(PODS, pod, namespace)
            except AlreadyExists:
                continue
            except ApiError as error:
                if not _namespace_ends(error):
                    self.tell(json, Note("FailedCreate", f"Error creating: {error}", "Warning"))
                return error
            self.tell(json, Note("SuccessfulCreate", f"Created pod: {made['metadata']['name']}"))
            return None
        return Conflict(f"no free name for a pod of {json['metadata']['name']}")

    # --- deletion

    async def _delete(self, json: Json, pods: Sequence[Pod]) -> ApiError | None:
        outcomes = await asyncio.gather(*(self._delete_one(json, pod) for pod in pods))
        return next((item for item in outcomes if item is not None), None)

    async def _delete_one(self, json: Json, pod: Pod) -> ApiError | None:
        meta = pod.metadata
        self._leaving[meta.uid] = asyncio.get_running_loop().time() + EXPECTATION_TIMEOUT_S
        try:
            await self.client.delete(PODS, meta.name, meta.namespace, uid=meta.uid)
        except (NotFound, Conflict):  # gone, or another pod of that name
            return None
        except ApiError as error:
            self._leaving.pop(meta.uid, None)
            self.tell(json, Note("FailedDelete", f"Error deleting: {error}", "Warning"))
            return error
        self.tell(json, Note("SuccessfulDelete", f"Deleted pod: {meta.name}"))
        return None

    async def _write_status(
        self, key: str, view: ReplicaSet, owned: Sequence[Pod], failure: tuple[str, str] | None
    ) -> None:
        json = self._sets.json(key)
        if json is None:
            return
        current = json.get("status") or {}
        labels = (json["spec"].get("template", {}).get("metadata") or {}).get("labels") or {}
        pods = self._pods.by("controller", view.metadata.uid) if not failure else owned
        now_s = asyncio.get_running_loop().time()
        pods = [pod for pod in pods if self._leaving.get(pod.metadata.uid, 0.0) <= now_s]
        status = replicasets.status(view, current, pods, labels, self.clock.now(), failure=failure)
        if status != current:
            await self.tools.update(REPLICA_SETS, {**json, "status": status}, subresource="status")


def pod_of(replica_set: Json, suffix: str) -> Json:
    """A new pod from the template (kubernetes: controller_utils.go GetPodFromTemplate)."""
    template = deep_copy(replica_set["spec"]["template"])
    metadata = template.get("metadata") or {}
    prefix = f"{replica_set['metadata']['name']}-"
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {
            "generateName": prefix, "name": prefix[:MAX_PREFIX] + suffix,
            "namespace": replica_set["metadata"]["namespace"],
            **{part: metadata[part] for part in ("labels", "annotations", "finalizers") if metadata.get(part)},
            "ownerReferences": [controlled_by(REPLICA_SETS, replica_set)],
        },
    }


def _namespace_ends(error: ApiError) -> bool:
    causes = error.details.get("causes") or ()
    return any(item.get("reason") == "NamespaceTerminating" for item in causes)
