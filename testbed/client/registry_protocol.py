"""What the in-process client needs of a registry. ``testbed.server.registry.Registry`` is one; imports run downwards
only, so the client knows its shape, not it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from testbed.api.resources import ResourceType
from testbed.client.protocol import Json


class StoredLike(Protocol):
    def fresh(self) -> Json: ...


class ListingLike(Protocol):
    @property
    def items(self) -> Sequence[StoredLike]: ...

    @property
    def revision(self) -> int: ...


class StreamLike(Protocol):
    async def next(self) -> Sequence[tuple[str, StoredLike]]: ...

    def close(self) -> None: ...


class RegistryLike(Protocol):
    def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> StoredLike: ...

    def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ListingLike: ...

    def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str = "",
        label_selector: str = "", field_selector: str = "",
    ) -> StreamLike: ...

    def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> StoredLike: ...

    def update(
        self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None, *, subresource: str = "",
    ) -> StoredLike: ...

    def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *, patch_type: str = "",
        subresource: str = "",
    ) -> StoredLike: ...

    def scale(self, resource: ResourceType, name: str, namespace: str | None) -> Json: ...

    def delete_object(
        self, resource: ResourceType, name: str, namespace: str | None, *, grace_s: int | None, propagation: str,
        uid: str,
    ) -> None: ...

    def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json: ...
