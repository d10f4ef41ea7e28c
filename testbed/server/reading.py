"""The reading half of the registry: get, list with pages, watch. Everything is answered from the store's memory."""

from __future__ import annotations

from functools import partial

from testbed.api.resources import ResourceType
from testbed.errors import BadRequest, NotFound
from testbed.server.catalog import Catalog
from testbed.server.options import Listing, Page
from testbed.server.preparing import details
from testbed.server.selectors import Predicate, both, parse_fields, parse_labels
from testbed.server.served import Served
from testbed.server.versions import shown
from testbed.server.watching import WatchStream
from testbed.store import Store, Stored


class Reader:
    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store = store
        self.catalog = catalog

    def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Stored:
        """Raises: NotFound."""
        served = self.catalog.of(resource)
        return shown(served, self.existing(served, namespace, name))

    def existing(self, served: Served, namespace: str | None, name: str) -> Stored:
        stored = self.store.get(served.key, self.scope_of(served, namespace), name)
        if stored is None:
            raise NotFound(f'{served.key} "{name}" not found', details=details(served, name))
        return stored

    @staticmethod
    def scope_of(served: Served, namespace: str | None) -> str:
        if not served.resource.namespaced:
            return ""
        if not namespace:
            raise BadRequest(f"{served.key} live in a namespace; none was given")
        return namespace

    def selector(self, resource: ResourceType, label_selector: str, field_selector: str) -> Predicate | None:
        """Raises: BadRequest."""
        served = self.catalog.of(resource)
        return both(parse_labels(label_selector), parse_fields(field_selector, served.key, custom=served.custom))

    def list(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
        limit: int = 0, token: str = "",
    ) -> Listing:
        """Raises: BadRequest; Gone when a page's beginning is too old."""
        served = self.catalog.of(resource)
        matches = self.selector(resource, label_selector, field_selector)
        items = self.store.list(served.key, namespace if served.resource.namespaced else None)
        revision = self.store.revision
        if token:
            page = Page.parse(token)
            self.store.watch(served.key, since=page.revision, limit=0).close()  # Gone when it can no longer be followed
            items = [item for item in items if (item.namespace, item.name) > (page.namespace, page.name)]
            revision = page.revision
        if matches is not None:
            items = [item for item in items if matches(item.value)]
        if limit and len(items) > limit:
            page_items, last = items[:limit], items[limit - 1]
            return Listing([shown(served, item) for item in page_items], revision,
                           Page(revision, last.namespace, last.name).token(), len(items) - limit)
        return Listing([shown(served, item) for item in items] if served.view else items, revision)

    def watch(
        self, resource: ResourceType, namespace: str | None = None, *, resource_version: str = "",
        label_selector: str = "", field_selector: str = "",
    ) -> WatchStream:
        """Without a version (or ``0``) the present objects come first, as ADDED.

        Raises: BadRequest; Gone when that version is too old.
        """
        served = self.catalog.of(resource)
        matches = self.selector(resource, label_selector, field_selector)
        scope = namespace if served.resource.namespaced else None
        convert = partial(shown, served) if served.view else None
        if resource_version in ("", "0"):
            present = [item for item in self.store.list(served.key, scope) if matches is None or matches(item.value)]
            return WatchStream(self.store.watch(served.key, scope), matches, present, convert)
        if not resource_version.isdigit():
            raise BadRequest(f"resourceVersion {resource_version!r} is not one of this server's")
        return WatchStream(self.store.watch(served.key, scope, since=int(resource_version)), matches, shown=convert)
