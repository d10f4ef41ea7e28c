"""The picture of a cluster as it is now, kept up with the store: one for all who look.

``look`` takes what has changed since the last look and gives the parts that are different now; an object that was
written without looking different costs one small computation and nothing more. What grows without end (events, faults,
runs) is shown as the newest so many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from testbed.api import resources as r
from testbed.api.fault_objects import is_fault
from testbed.api.labels import SERVICE_NAME
from testbed.errors import Gone
from testbed.server import picture
from testbed.server.picture_faults import fault
from testbed.server.picture_pods import pod
from testbed.server.registry import Registry
from testbed.store import Stored, Subscription

Json = dict[str, Any]
_log = logging.getLogger(__name__)

LIMITS = {picture.EVENTS: picture.MAX_EVENTS, picture.FAULTS: picture.MAX_FAULTS,
          picture.EXPERIMENTS: picture.MAX_EXPERIMENTS}
_FIXED = {r.NODES: picture.NODES, r.PODS: picture.PODS, r.SERVICES: picture.SERVICES,
          r.ENDPOINT_SLICES: picture.SERVICES, r.EVENTS: picture.EVENTS, r.DEPLOYMENTS: picture.WORKLOADS,
          r.STATEFUL_SETS: picture.WORKLOADS, r.DAEMON_SETS: picture.WORKLOADS}
_SLICES = r.ENDPOINT_SLICES.group_resource


@dataclass(frozen=True)
class Changed:
    """``value``: None when it is gone."""

    part: str
    key: str
    value: Any


class Sketch:
    """Follows the store from when it is made until ``close``."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._followed: dict[str, tuple[str, Subscription]] = {}  # the store's kind -> its part
        self._begin()

    def close(self) -> None:
        for _, subscription in self._followed.values():
            subscription.close()

    @property
    def ended(self) -> bool:
        """The store has ended its watches: nothing more will be seen."""
        return any(subscription.closed for _, subscription in self._followed.values())

    def whole(self) -> dict[str, dict[str, Any]]:
        """All parts but ``cluster``: values by key. Shared: read it, do not change it."""
        return self._parts

    def look(self) -> list[Changed] | None:
        """What looks different now. None: so much has happened that only the whole can be told."""
        try:
            if self._registry.catalog.revision != self._catalog_revision:
                raise Gone("kinds have come or gone")
            touched = {(kind, change.stored.namespace, change.stored.name): change
                       for kind, (_, subscription) in self._followed.items() for change in subscription.take()}
        except Gone:
            self._begin()
            return None
        seen: dict[tuple[str, str], Any] = {}
        for (kind, _, _), change in sorted(touched.items(), key=lambda item: item[1].revision):
            for found in self._put(kind, change.stored, gone=change.type == "DELETED"):
                seen[(found.part, found.key)] = found.value
        return [Changed(part, key, value) for (part, key), value in seen.items()]

    # --- the store's kinds

    def _begin(self) -> None:
        self.close()
        self._catalog_revision = self._registry.catalog.revision
        self._parts: dict[str, dict[str, Any]] = {part: {} for part in picture.PARTS if part != picture.CLUSTER}
        self._followed = {kind: (part, self._store.watch(kind)) for kind, part in self._kinds().items()}
        for kind, (part, _) in self._followed.items():
            present = sorted(self._store.list(kind), key=lambda item: item.revision)
            for stored in present[-LIMITS.get(part, len(present)):]:
                for _ in self._put(kind, stored):
                    pass

    def _kinds(self) -> dict[str, str]:
        found = {resource.group_resource: part for resource, part in _FIXED.items()}
        for served in self._registry.catalog:
            resource = served.resource
            if (resource.group, resource.kind) == (r.TESTBED_GROUP, r.EXPERIMENTS.kind):
                found[served.key] = picture.EXPERIMENTS
            elif is_fault(resource):
                found[served.key] = picture.FAULTS
        return found

    # --- one object

    def _put(self, kind: str, stored: Stored, *, gone: bool = False) -> Iterable[Changed]:
        """What of the picture is different by it."""
        part, obj = self._followed[kind][0], stored.value
        if kind == _SLICES:
            name = (obj["metadata"].get("labels") or {}).get(SERVICE_NAME, "")
            service = self._store.get(r.SERVICES.group_resource, stored.namespace, name)
            if service is None:
                return
            obj, gone = service.value, False
        try:
            key, value = self._shown(part, obj, gone)
        except (LookupError, TypeError, ValueError, AttributeError):  # one odd object must not hide all others
            _log.exception("a bug of ours: %s %s/%s cannot be shown", kind, stored.namespace, stored.name)
            return
        values = self._parts[part]
        if gone:
            if values.pop(key, None) is not None:
                yield Changed(part, key, None)
            return
        limit = LIMITS.get(part)
        before = values.pop(key, None) if limit else values.get(key)  # of these the newest come last
        values[key] = value
        if value != before:
            yield Changed(part, key, value)
        while limit and len(values) > limit:
            oldest = next(iter(values))
            del values[oldest]
            yield Changed(part, oldest, None)

    def _shown(self, part: str, obj: Json, gone: bool) -> tuple[str, Any]:
        """Its key in the part, and its value there (None of what is gone)."""
        key = picture.key_of(obj)
        if part in (picture.WORKLOADS, picture.FAULTS):
            key = f"{obj['kind']}/{key}"
        if gone:
            return key, None
        match part:
            case picture.NODES:
                return key, picture.node(obj)
            case picture.PODS:
                return key, pod(obj, self._replica_set)
            case picture.SERVICES:
                return key, picture.service(obj, self._slices_of(obj))
            case picture.WORKLOADS:
                return key, picture.workload(obj)
            case picture.FAULTS:
                return key, fault(obj)
            case picture.EVENTS:
                return key, picture.event(obj)
        return key, picture.status_of(obj)

    def _replica_set(self, namespace: str, name: str) -> Json | None:
        stored = self._store.get(r.REPLICA_SETS.group_resource, namespace, name)
        return stored.value if stored else None

    def _slices_of(self, service: Json) -> list[Json]:
        meta = service["metadata"]
        return [item.value for item in self._store.list(_SLICES, meta["namespace"])
                if (item.value["metadata"].get("labels") or {}).get(SERVICE_NAME) == meta["name"]]
