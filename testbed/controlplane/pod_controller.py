"""What all controllers that own pods do alike: claiming, making in growing batches, deleting once.

New pods have names chosen by us, so that a creation whose answer was lost can be looked up. Creations start with one,
then two, four, ... and stop at the first failure: a quota or a bad template is not run into five hundred times.

A pod that we deleted counts as terminating from then on, also while the cache still shows it alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.log_lines import NODE, POD, POD_UID, fields_of
from testbed.api.meta import LabelSelector, Resource
from testbed.api.resources import PODS, ResourceType
from testbed.client.informer import key_of
from testbed.controlplane.cache import Cache
from testbed.controlplane.controller import Controller, Tools, deep_copy
from testbed.controlplane.owners import controlled_by, controller_uid
from testbed.controlplane.ownership import adopt, release
from testbed.core.claims import claim
from testbed.core.reasons import Note
from testbed.errors import AlreadyExists, ApiError, Conflict, NotFound

Json = dict[str, Any]
EXPECTATION_TIMEOUT_S = 300.0
NAME_ATTEMPTS = 5
MAX_PREFIX = 58  # of generated names: 63 less the suffix


class PodController(Controller):
    """``resource`` is the kind that owns the pods; its cache has the indexes ``namespace`` and ``uid``."""

    resource: ResourceType
    workers = 4

    def __init__(self, tools: Tools, owners: Cache[Any]) -> None:
        super().__init__(tools)
        self._owners, self._pods = owners, tools.caches.pods
        # UIDs of pods that we deleted and that the cache still shows alive, and until when we believe ourselves.
        self._leaving: dict[str, float] = {}
        self._owners.on_change(self._owner_changed)
        self._pods.on_change(self._pod_changed)

    def selector_of(self, view: Any) -> LabelSelector:
        selector: LabelSelector = view.spec.selector
        return selector

    def is_member(self, view: Any, pod: Pod) -> bool:
        """Whether a pod that the selector matches may be ours."""
        return True

    def _owner_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(key_of(changed))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        for uid in {controller_uid(old): None, controller_uid(new): None}:
            for key in self._owners.keys_by("uid", uid):
                self.queue.add(key)
        if new is None:
            assert old is not None
            self._leaving.pop(old["metadata"]["uid"], None)
            return
        if new["metadata"].get("deletionTimestamp"):
            self._leaving.pop(new["metadata"]["uid"], None)
        if not controller_uid(new):
            labels = new["metadata"].get("labels") or {}
            for candidate in self._owners.by("namespace", new["metadata"].get("namespace", "")):
                if self.selector_of(candidate).matches(labels):
                    self.queue.add(candidate.key)

    async def claim(self, view: Resource, json: Json) -> list[Pod]:
        """Our pods: what we own, and orphans that we could adopt. What we deleted is shown as terminating."""
        meta = view.metadata
        candidates = self._pods.by("controller", meta.uid)
        candidates += [pod for pod in self._pods.by("controller", "") if pod.metadata.namespace == meta.namespace]
        claims = claim(meta, self.selector_of(view), candidates, member=lambda pod: self.is_member(view, pod))
        owned = list(claims.owned)
        for pod in claims.release:
            await release(self.tools, PODS, pod.key, meta.uid)
        for pod in claims.adopt:
            if await adopt(self.tools, self.resource, json, PODS, pod.key):
                adopted = self._pods.get(pod.key)
                owned += [adopted] if adopted is not None else []
        return self.as_believed(owned)

    def owned(self, uid: str) -> list[Pod]:
        """Pods of a controller as the cache has them now, what we deleted shown as terminating."""
        return self.as_believed(self._pods.by("controller", uid))

    def as_believed(self, pods: Iterable[Pod]) -> list[Pod]:
        now_s = asyncio.get_running_loop().time()
        return [
            self._terminating(pod) if self._leaving.get(pod.metadata.uid, 0.0) > now_s else pod for pod in pods
        ]

    def _terminating(self, pod: Pod) -> Pod:
        if pod.metadata.deleting:
            return pod
        meta = pod.metadata.model_copy(update={"deletion_timestamp": self.clock.now()})
        return pod.model_copy(update={"metadata": meta})

    # --- creation

    async def create_pods(self, json: Json, makers: Sequence[Callable[[str], Json]]) -> ApiError | None:
        """One pod per maker, which gets a name's suffix. Returns the first failure, with which it stopped."""
        return await in_growing_batches([partial(self._create_one, json, make) for make in makers])

    async def _create_one(self, json: Json, make: Callable[[str], Json]) -> ApiError | None:
        namespace = json["metadata"]["namespace"]
        for _ in range(NAME_ATTEMPTS):
            try:
                made = await self.tools.create(PODS, make(self.tools.suffix()), namespace)
            except AlreadyExists:
                continue
            except ApiError as error:
                if not namespace_ends(error):
                    self.tell(json, Note("FailedCreate", f"Error creating: {error}", "Warning"))
                return error
            self.tell(json, Note("SuccessfulCreate", f"Created pod: {made['metadata']['name']}"), pod_fields(made))
            return None
        return Conflict(f"no free name for a pod of {json['metadata']['name']}")

    # --- deletion

    async def delete_pods(self, json: Json, pods: Iterable[Pod]) -> ApiError | None:
        """Those that are not on their way yet. Returns the first failure."""
        chosen = [pod for pod in pods if not pod.metadata.deleting]
        outcomes = await asyncio.gather(*(self._delete_one(json, pod) for pod in chosen))
        return next((item for item in outcomes if item is not None), None)

    async def _delete_one(self, json: Json, pod: Pod) -> ApiError | None:
        meta = pod.metadata
        whom = {POD: pod.key, POD_UID: meta.uid, NODE: pod.spec.node_name}
        self._leaving[meta.uid] = asyncio.get_running_loop().time() + EXPECTATION_TIMEOUT_S
        try:
            await self.client.delete(PODS, meta.name, meta.namespace, uid=meta.uid)
        except (NotFound, Conflict):  # gone, or another pod of that name
            return None
        except ApiError as error:
            self._leaving.pop(meta.uid, None)
            self.tell(json, Note("FailedDelete", self.deletion_text(json, meta.name, str(error)), "Warning"), whom)
            return error
        self.tell(json, Note("SuccessfulDelete", self.deletion_text(json, meta.name, "")), whom)
        return None

    def deletion_text(self, json: Json, pod: str, error: str) -> str:
        """The message of a pod's deletion's event; ``error`` is empty when it went well."""
        return f"Error deleting: {error}" if error else f"Deleted pod: {pod}"


async def in_growing_batches(acts: Sequence[Callable[[], Awaitable[ApiError | None]]]) -> ApiError | None:
    """1, 2, 4, ... at once; the first failure ends it and is returned (kubernetes: slowStartBatch)."""
    batch, done = 1, 0
    while done < len(acts):
        outcomes = await asyncio.gather(*(act() for act in acts[done:done + batch]))
        failure = next((item for item in outcomes if item is not None), None)
        if failure is not None:
            return failure
        done += batch
        batch *= 2
    return None


def pod_from(template: Json, resource: ResourceType, owner: Json, suffix: str) -> Json:
    """A new pod from a template (kubernetes: controller_utils.go GetPodFromTemplate).

    Args:
        suffix: of its name; the pod's name is the owner's with it.
    """
    template = deep_copy(template)
    metadata = template.get("metadata") or {}
    prefix = f"{owner['metadata']['name']}-"
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {
            "generateName": prefix, "name": prefix[:MAX_PREFIX] + suffix,
            "namespace": owner["metadata"]["namespace"],
            **{part: metadata[part] for part in ("labels", "annotations", "finalizers") if metadata.get(part)},
            "ownerReferences": [controlled_by(resource, owner)],
        },
    }


def pod_fields(pod: Json) -> dict[str, str]:
    """Of a pod that was made, for the log."""
    return fields_of(pod | {"kind": PODS.kind})


def namespace_ends(error: ApiError) -> bool:
    causes = error.details.get("causes") or ()
    return any(item.get("reason") == "NamespaceTerminating" for item in causes)
