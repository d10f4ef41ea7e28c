"""The client by which faults are made on a cluster whose injector knows no blast radius.

Chaos Mesh hits whatever a selector matches. So whom a fault may hit is decided here, before its object is created, by
the very code of our own chaos daemon: the same seed over the same pods chooses the same targets, more than the limits
allow is refused, and the object that is created names exactly the chosen pods.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from faults.choosing import Scene, choose
from faults.protocol import SELECTED, Fault, Refused, Target
from faults.registry import Registry, fault_name
from testbed.api.resources import NODES, PODS, ResourceType
from testbed.client.foreign import ForeignClient
from testbed.client.kubeconfig import Access
from testbed.client.protocol import Json
from testbed.errors import ApiError, InvalidInput
from testbed.experiment.platforms.cluster_checks import CHAOS_MESH


class GuardedClient(ForeignClient):
    """Judges every object of Chaos Mesh and names its targets before it creates it. ``guards``: unset where the cluster
    has a chaos daemon of ours, which does the same."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.guards = True
        self._made: dict[tuple[ResourceType, str, str], tuple[Target, ...]] = {}

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        """Raises: InvalidInput for a fault that matches nothing or more than it may hit."""
        if resource.group != CHAOS_MESH or not self.guards:
            return await super().create(resource, obj, namespace)
        aimed, targets = await self._aimed(resource, obj, namespace)
        made = await super().create(resource, aimed, namespace)
        meta = made["metadata"]
        self._made[resource, str(meta.get("namespace")), str(meta["name"])] = targets
        return made

    async def _aimed(
        self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None
    ) -> tuple[Json, tuple[Target, ...]]:
        """The object with the names of whom it hits in the place of its selector, and who they are."""
        fault = Registry().get(fault_name(obj))
        judged = copy.deepcopy(dict(obj))
        judged["metadata"].setdefault("namespace", namespace)
        pods, nodes = await asyncio.gather(self.list(PODS), self._nodes())
        hurt = [target for made in await self._still_there() for target in self._made[made]]
        try:
            targets = choose(judged, fault, Scene(pods.items, nodes, hurt))
        except Refused as error:
            raise InvalidInput(f"{resource.kind}: {error.message}", hint=error.hint) from error
        hit = tuple(target for target in targets if target.key == SELECTED)
        if not hit:
            raise InvalidInput(f"{resource.kind}: the selector matches nothing that runs")
        for key, part in fault.selections(judged["spec"]).items():
            _name(part, [target for target in targets if target.key == key], fault)
        return judged, hit

    async def _nodes(self) -> Sequence[Json]:
        return (await self.list(NODES)).items

    async def _still_there(self) -> list[tuple[ResourceType, str, str]]:
        """Faults of ours that are in force or may be."""
        async def there(made: tuple[ResourceType, str, str]) -> bool:
            try:
                await self.get(made[0], made[2], made[1])
            except ApiError as error:
                return error.code != 404
            return True

        known = list(self._made)
        answers = await asyncio.gather(*map(there, known))
        return [made for made, answer in zip(known, answers, strict=True) if answer]


def _name(part: Any, targets: Sequence[Target], fault: Fault) -> None:
    """Replaces a selection by the pods that were chosen from it. One that chose none stays as it was."""
    named: dict[str, list[str]] = {}
    for target in targets:
        if target.pod and target.pod not in named.setdefault(target.namespace, []):
            named[target.namespace].append(target.pod)
    if named:
        part["selector"], part["mode"] = {"pods": named, "namespaces": sorted(named)}, "all"
        part.pop("value", None)
