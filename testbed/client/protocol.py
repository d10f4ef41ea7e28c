"""The one protocol by which controllers, agents, the chaos daemon and the runner reach an API.

Objects travel as plain JSON (dicts); readers make views of them. All errors are ``ApiError``s. No call retries by
itself; a call has a deadline and then raises ApiUnavailable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from testbed.api.resources import ResourceType

Json = dict[str, Any]


class PatchType(StrEnum):
    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class ObjectList:
    """One consistent answer: ``items`` as they were at ``resource_version``."""

    items: tuple[Json, ...]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """``type``: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Json


class Client(Protocol):
    """Reaches an API. ``namespace=None`` of a namespaced kind means all namespaces (list, watch)."""

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        """Raises: NotFound, ApiUnavailable."""
        ...

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList: ...

    def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str,
        label_selector: str = "", field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Changes after ``resource_version``. Ends when the server ends it.

        Raises: Gone when that version is too old (list again); ApiUnavailable when the connection breaks.
        """
        ...

    async def create(self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None) -> Json:
        """Raises: AlreadyExists, Invalid, NotFound (namespace), Forbidden."""
        ...

    async def update(self, resource: ResourceType, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        """PUT. With ``metadata.resourceVersion`` set, raises Conflict if the object has changed."""
        ...

    async def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Json: ...

    async def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, *, grace_period_s: int | None = None,
        propagation: str = "Background", uid: str = "",
    ) -> None:
        """``uid``: precondition; another object of that name raises Conflict."""
        ...

    async def delete_collection(
        self, resource: ResourceType, namespace: str, *, label_selector: str = "", grace_period_s: int | None = None,
    ) -> None:
        """All that match, in one request."""
        ...

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> Json:
        """POST ``pods/<name>/binding`` or ``.../eviction``."""
        ...

    async def close(self) -> None: ...
