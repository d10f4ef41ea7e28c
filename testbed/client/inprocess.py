"""The client protocol without HTTP: for controllers in the API server's own process, for the simulator and for tests.

Objects are handed over as copies, in both directions. Every call yields to the event loop once, so that a loop over
many calls does not starve the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from testbed.api.resources import ResourceType
from testbed.client.protocol import Json, ObjectList, PatchType, WatchEvent

if TYPE_CHECKING:
    from testbed.client.registry_protocol import RegistryLike


class InProcessClient:
    """``registry`` is a ``testbed.server.registry.Registry``."""

    def __init__(self, registry: RegistryLike) -> None:
        self._registry = registry

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        return self._registry.get(resource, name, namespace).fresh()

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        listing = self._registry.list(resource, namespace, label_selector=label_selector,
                                      field_selector=field_selector)
        return ObjectList(tuple(item.fresh() for item in listing.items), str(listing.revision))

    async def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        stream = self._registry.watch(resource, namespace, resource_version=resource_version,
                                      label_selector=label_selector, field_selector=field_selector)
        try:
            while events := await stream.next():
                for kind, stored in events:
                    yield WatchEvent(kind, stored.fresh())
        finally:
            stream.close()

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        await asyncio.sleep(0)
        return self._registry.create(resource, obj, namespace).fresh()

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        await asyncio.sleep(0)
        stored = self._registry.update(resource, obj, subresource=subresource).fresh()
        if subresource == "scale":
            return self._registry.scale(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"))
        return stored

    async def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Json:
        await asyncio.sleep(0)
        stored = self._registry.patch(resource, name, patch, namespace, patch_type=patch_type.value,
                                      subresource=subresource)
        return self._registry.scale(resource, name, namespace) if subresource == "scale" else stored.fresh()

    async def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, *, grace_period_s: int | None = None,
        propagation: str = "Background", uid: str = "",
    ) -> None:
        await asyncio.sleep(0)
        self._registry.delete_object(resource, name, namespace, grace_s=grace_period_s, propagation=propagation,
                                     uid=uid)

    async def delete_collection(
        self, resource: ResourceType, namespace: str, *, label_selector: str = "", grace_period_s: int | None = None,
    ) -> None:
        await asyncio.sleep(0)
        for item in self._registry.list(resource, namespace, label_selector=label_selector).items:
            self._registry.delete_object(resource, item.fresh()["metadata"]["name"], namespace, grace_s=grace_period_s,
                                         propagation="Background", uid="")

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json:
        await asyncio.sleep(0)
        return self._registry.create_subresource(resource, name, subresource, body, namespace)

    async def close(self) -> None:
        """Nothing is open."""
