"""Which kinds this API serves right now: the built-in ones and those that CustomResourceDefinitions make."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.api.resources import ResourceType
from testbed.errors import NotFound
from testbed.server.served import BUILT_IN, VIEWS, Served


class Catalog:
    """``revision`` grows with each change; documents made from the catalog are kept by it."""

    def __init__(self) -> None:
        self._served = {(item.resource.group, item.resource.version, item.resource.plural): item
                        for item in (*BUILT_IN, *VIEWS)}
        self._by_key = {item.key: item for item in BUILT_IN}
        self.revision = 0

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def get(self, group: str, version: str, plural: str) -> Served | None:
        return self._served.get((group, version, plural))

    def find(self, group: str, version: str, plural: str) -> Served:
        """Raises: NotFound in the API server's words for an unknown path."""
        served = self.get(group, version, plural)
        if served is None:
            raise NotFound("the server could not find the requested resource")
        return served

    def of(self, resource: ResourceType) -> Served:
        """Raises: NotFound."""
        return self.find(resource.group, resource.version, resource.plural)

    def replace(self, definition: str, served: Served | None) -> None:
        """Serves ``served`` as the kind of the definition of that name; None serves it no longer."""
        old = self._by_key.pop(definition, None)
        if old is not None:
            del self._served[(old.resource.group, old.resource.version, old.resource.plural)]
        if served is not None:
            self._by_key[served.key] = served
            self._served[(served.resource.group, served.resource.version, served.resource.plural)] = served
        self.revision += 1

    def clash(self, served: Served) -> str:
        """Why the names of ``served`` are taken by another kind of its group, or ``""``."""
        mine = served.resource
        for item in self:
            other = item.resource
            if other.group == mine.group and other.plural != mine.plural and other.kind == mine.kind:
                return f'"{mine.kind}" is already in use'
        return ""
