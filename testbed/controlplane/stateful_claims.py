"""Makes the claims of a StatefulSet's identities and keeps their owners right (core: ``stateful_claims``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS
from testbed.controlplane.controller import Controller, deep_copy
from testbed.core import stateful_claims
from testbed.core.reasons import Note
from testbed.core.statefulsets import identity
from testbed.core.volume_scheduling import claim_names
from testbed.errors import AlreadyExists, ApiError, Conflict

Json = dict[str, Any]


class StatefulClaims:
    """Of one controller, in whose name it writes and tells."""

    def __init__(self, controller: Controller) -> None:
        self._controller, self._tools = controller, controller.tools
        self._claims = controller.caches.claims

    async def make_for(self, stateful_set: Json, ordinal: int, pod_name: str) -> ApiError | None:
        """What is missing of an identity's claims. Conflict when one of them still goes with a former pod."""
        namespace = stateful_set["metadata"]["namespace"]
        for claim in stateful_claims.claims_for(stateful_set, ordinal):
            name = claim["metadata"]["name"]
            known = self._claims.get(f"{namespace}/{name}")
            if known is not None and (known.metadata.deleting
                                      or stateful_claims.is_stale(known.metadata, pod_name)):
                return Conflict(f"claim {name} is on its way out")
            if known is not None:
                continue
            claim["metadata"]["ownerReferences"] = stateful_claims.owner_references(
                [], stateful_set, None, condemned=False)
            try:
                await self._tools.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace)
            except AlreadyExists:  # the cache has not shown it yet
                continue
            except ApiError as error:
                self._tell(stateful_set, name, pod_name, f"failed error: {error}")
                return error
            self._tell(stateful_set, name, pod_name, "success")
        return None

    def _tell(self, stateful_set: Json, claim: str, pod: str, result: str) -> None:
        failed = result != "success"
        text = f"create Claim {claim} Pod {pod} in StatefulSet {stateful_set['metadata']['name']} {result}"
        note = Note("FailedCreate" if failed else "SuccessfulCreate", text, "Warning" if failed else "Normal")
        self._controller.tell(stateful_set, note)

    async def tend(self, stateful_set: Json, pods: Iterable[Pod]) -> None:
        """Makes what a waiting pod misses, and sets who owns the claims.

        Raises: ApiError.
        """
        if not stateful_set["spec"].get("volumeClaimTemplates"):
            return
        spec = stateful_set["spec"]
        start = (spec.get("ordinals") or {}).get("start", 0)
        wanted = range(start, start + int(spec.get("replicas", 1)))
        for pod in pods:
            ordinal = identity(pod.metadata.name)[1]
            if ordinal in wanted and pod.status.phase == "Pending" and not pod.metadata.deleting:
                await self._make_missing(stateful_set, ordinal, pod)
            await self._own(stateful_set, pod, condemned=ordinal not in wanted)

    async def _make_missing(self, stateful_set: Json, ordinal: int, pod: Pod) -> None:
        namespace = pod.metadata.namespace
        if all(self._claims.json(f"{namespace}/{name}") is not None for name in claim_names(pod)):
            return
        await self.make_for(stateful_set, ordinal, pod.metadata.name)

    async def _own(self, stateful_set: Json, pod: Pod, *, condemned: bool) -> None:
        meta = pod.metadata
        for claim in stateful_claims.claims_for(stateful_set, identity(meta.name)[1]):
            json = self._claims.json(f"{meta.namespace}/{claim['metadata']['name']}")
            if json is None or json["metadata"].get("deletionTimestamp"):
                continue
            current = json["metadata"].get("ownerReferences") or []
            fresh = stateful_claims.owner_references(
                current, stateful_set, {"metadata": {"name": meta.name, "uid": meta.uid}}, condemned=condemned)
            if fresh != current:
                metadata = {**json["metadata"], "ownerReferences": deep_copy(fresh)}
                await self._tools.update(PERSISTENT_VOLUME_CLAIMS, {**json, "metadata": metadata})
