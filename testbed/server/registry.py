"""All meaning of the API, without HTTP: what may be read and written, and what a write does. Synchronous.

One write is one store transaction: decode → metadata → defaults → admission → validation → store.
``client/inprocess.py`` and the HTTP face both stand on it. Loops that react to objects (controllers, garbage
collection of dependents) are clients.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from testbed.api import resources as r
from testbed.api.clock import WallClock
from testbed.api.resources import ResourceType
from testbed.core.profile import Profile
from testbed.errors import AlreadyExists, BadRequest, Forbidden, MethodNotAllowed, NotFound, UnsupportedMediaType
from testbed.server import crd, deletion, judging, preparing, scaling
from testbed.server.admission import admit_namespace, admit_namespace_deletion
from testbed.server.admitting import Admitting
from testbed.server.allocation import keep_allocations
from testbed.server.catalog import Catalog
from testbed.server.deletion import DeleteOptions
from testbed.server.evictions import judge_eviction, mark_disruption
from testbed.server.fields import checked
from testbed.server.options import Listing, WriteOptions
from testbed.server.patches import json_patch, merge_patch, strategic_patch
from testbed.server.reading import Reader
from testbed.server.served import Served
from testbed.server.storage_admission import admit_resize
from testbed.server.tokens import token_request
from testbed.server.versions import shown, shown_value
from testbed.store import Store, Stored

Json = dict[str, Any]

MAX_EVENTS = 4000  # of the whole cluster; the oldest tenth goes when it is reached

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class Registry(Reader):
    """``service_range``: CIDR of ClusterIPs; ``node_ports``: the published ones. ``signing_key``: of service
    account tokens."""

    def __init__(
        self, store: Store, *, clock: WallClock, random: random.Random, profile: Profile, service_range: str,
        node_ports: tuple[int, ...], signing_key: bytes = b"simulated",
    ) -> None:
        super().__init__(store, Catalog())
        self.clock = clock
        self._random = random
        self._admitting = Admitting(store, clock, random, profile, service_range, node_ports)
        self._signing_key = signing_key
        for stored in store.list(r.CUSTOM_RESOURCE_DEFINITIONS.group_resource):
            self._serve_definition(stored.value)

    def jittered(self, seconds: float) -> float:
        """Between once and twice as long, so that clients do not all come back at once."""
        return seconds * (1 + self._random.random())

    # --- create

    def create(
        self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None,
        options: WriteOptions | None = None,
    ) -> Stored:
        """Raises: BadRequest, Invalid, AlreadyExists, NotFound or Forbidden (its namespace)."""
        options = options or WriteOptions()
        served = self.catalog.of(resource)
        value = preparing.decode(served, obj, options)
        namespace = namespace or value["metadata"].get("namespace")
        scope = self.scope_of(served, namespace)
        preparing.prepare_new(served, value, scope, self.clock.now(), self._random)
        name = value["metadata"].get("name", "")
        if scope:
            home = self.store.get(r.NAMESPACES.group_resource, "", scope)
            admit_namespace(home.value if home else None, scope, f'{served.key} "{name}"')
        if self.store.get(served.key, scope, name) is not None:
            raise AlreadyExists(f'{served.key} "{name}" already exists', details=preparing.details(served, name))
        self._admitting.new(served, value)
        judging.check(served, value)
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            self._admit_definition(value)
        charged = self._admitting.quota(served, value, scope)
        if options.dry_run:
            return shown(served, _unstored(value, self.store.revision))
        for quota in charged:
            self.store.update(r.RESOURCE_QUOTAS.group_resource, scope, quota["metadata"]["name"], quota)
        stored = self.store.create(served.key, scope, name, value)
        self._after_create(served, stored)
        return shown(served, stored)

    def _after_create(self, served: Served, stored: Stored) -> None:
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            self._serve_definition(stored.value)
        elif served.key == r.NAMESPACES.group_resource:
            self.create(r.SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, stored.name)
        elif served.key == r.EVENTS.group_resource and self.store.count(served.key) > MAX_EVENTS:
            self._forget_old_events()

    def _forget_old_events(self) -> None:
        events = sorted(self.store.list(r.EVENTS.group_resource), key=lambda item: item.revision)
        for item in events[: MAX_EVENTS // 10]:
            self.store.delete(r.EVENTS.group_resource, item.namespace, item.name)

    # --- update

    def update(
        self, resource: ResourceType, obj: Mapping[str, Any], namespace: str | None = None, *, name: str = "",
        subresource: str = "", options: WriteOptions | None = None,
    ) -> Stored:
        """PUT. Raises: BadRequest, Invalid, NotFound, Conflict (stale resourceVersion)."""
        served = self.catalog.of(resource)
        metadata = obj.get("metadata") if isinstance(obj, Mapping) else None
        told = metadata if isinstance(metadata, Mapping) else {}  # of another type: refused below, in words
        name = name or told.get("name", "")
        old = self.existing(served, namespace or told.get("namespace"), name)
        return shown(served, self._replace(served, old, obj, subresource, options or WriteOptions()))

    def _replace(self, served: Served, old: Stored, obj: Any, subresource: str, options: WriteOptions) -> Stored:
        self._check_subresource(served, subresource)
        if subresource == "scale":
            obj = scaling.scaled(served, old.value, obj)
            subresource = ""
        before = old.fresh()
        new = preparing.prepare_update(served, before, preparing.decode(
            served, obj, options, whole=not subresource), subresource)
        if served.key == r.SERVICES.group_resource and not subresource:
            keep_allocations(new, before)
            self._admitting.allocate(new, before["metadata"]["uid"])
        if subresource != "status" or served.custom:
            judging.check(served, new, before)
        else:
            judging.check_status(served, new, before)
        if served.key == r.PERSISTENT_VOLUME_CLAIMS.group_resource and not subresource:
            admit_resize(before, new, lambda: self._admitting.values(r.STORAGE_CLASSES, ""))
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource and not subresource:
            self._admit_definition(new)
        preparing.bump_generation(served, before, new)
        return self._store_update(served, old, new, options)

    def _store_update(self, served: Served, old: Stored, new: Json, options: WriteOptions) -> Stored:
        if new == old.value:
            return old
        if options.dry_run:
            return _unstored(new, self.store.revision)
        if deletion.is_released(new) and not self._is_held(served, new):
            return self._remove(served, old)
        stored = self.store.update(served.key, old.namespace, old.name, new, expected=old.revision)
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            self._serve_definition(stored.value)
        return stored

    @staticmethod
    def _check_subresource(served: Served, subresource: str) -> None:
        if subresource and subresource not in served.subresources:
            raise NotFound("the server could not find the requested resource")
        if subresource not in ("", "status", "scale", "finalize"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")

    def patch(
        self, resource: ResourceType, name: str, patch: Any, namespace: str | None = None, *,
        patch_type: str = MERGE_PATCH, subresource: str = "", options: WriteOptions | None = None,
    ) -> Stored:
        """Raises: BadRequest, Invalid, NotFound, Conflict, UnsupportedMediaType."""
        served = self.catalog.of(resource)
        self._check_subresource(served, subresource)
        old = self.existing(served, namespace, name)
        target = scaling.scale_of(served, old.value) if subresource == "scale" else shown_value(served, old.fresh())
        if patch_type == JSON_PATCH:
            patched = json_patch(target, patch)
        elif patch_type == MERGE_PATCH:
            if not isinstance(patch, dict):
                raise BadRequest("a merge patch is a map")
            patched = merge_patch(target, patch)
        elif patch_type == STRATEGIC_PATCH and not (served.custom and subresource != "scale"):
            patched = strategic_patch(target, patch, served.type_name)
        else:
            raise UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                f"{JSON_PATCH}, {MERGE_PATCH}" + ("" if served.custom else f", {STRATEGIC_PATCH}"))
        return shown(served, self._replace(served, old, patched, subresource, options or WriteOptions()))

    # --- delete

    def delete(
        self, resource: ResourceType, name: str, namespace: str | None = None, options: DeleteOptions | None = None,
    ) -> tuple[Stored, bool]:
        """The object as it is now, and whether it is gone.

        Raises: NotFound, Conflict (preconditions), Forbidden.
        """
        served = self.catalog.of(resource)
        stored, gone = self._delete(served, self.existing(served, namespace, name), options or DeleteOptions())
        return shown(served, stored), gone

    def delete_object(
        self, resource: ResourceType, name: str, namespace: str | None, *, grace_s: int | None, propagation: str,
        uid: str,
    ) -> None:
        """``delete`` in plain values. Raises: as ``delete``."""
        self.delete(resource, name, namespace, DeleteOptions(grace_s=grace_s, propagation=propagation, uid=uid))

    def _delete(self, served: Served, old: Stored, options: DeleteOptions) -> tuple[Stored, bool]:
        if served.key == r.NAMESPACES.group_resource:
            admit_namespace_deletion(old.name)
        deletion.check_preconditions(old.value, options, f'{served.key} "{old.name}"')
        graceful = served.key == r.PODS.group_resource
        held = self._is_held(served, old.value)
        plan = deletion.plan_deletion(old.fresh(), options, self.clock.now(), graceful=graceful, held=held)
        if options.dry_run:
            return old, plan.remove
        if plan.remove:
            return self._remove(served, old), True
        if plan.marked is None:
            return old, False
        if served.key == r.NAMESPACES.group_resource:
            plan.marked.setdefault("status", {})["phase"] = "Terminating"
        preparing.bump_generation(served, old.value, plan.marked)
        stored = self.store.update(served.key, old.namespace, old.name, plan.marked)
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            self._empty_definition(stored)
            if self.store.get(served.key, "", old.name) is None:
                return stored, True
        return stored, False

    def _is_held(self, served: Served, value: Json) -> bool:
        """What keeps an object beside its finalizers: a namespace's spec, a definition's instances."""
        if served.key == r.NAMESPACES.group_resource:
            return bool((value.get("spec") or {}).get("finalizers"))
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            return self.store.count(value["metadata"]["name"]) > 0
        return False

    def _remove(self, served: Served, old: Stored) -> Stored:
        final = self.store.delete(served.key, old.namespace, old.name, expected=old.revision)
        if served.key == r.CUSTOM_RESOURCE_DEFINITIONS.group_resource:
            self.catalog.replace(old.name, None)
        elif served.custom:
            definition = self.store.get(r.CUSTOM_RESOURCE_DEFINITIONS.group_resource, "", served.key)
            if definition is not None and deletion.is_released(definition.value) and not self.store.count(served.key):
                self._remove(self.catalog.of(r.CUSTOM_RESOURCE_DEFINITIONS), definition)
        return final

    def delete_collection(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions | None = None,
    ) -> Listing:
        """Raises: BadRequest, Forbidden."""
        served = self.catalog.of(resource)
        listing = self.list(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        for item in listing.items:
            current = self.store.get(served.key, item.namespace, item.name)
            if current is not None:
                self._delete(served, current, options or DeleteOptions())
        return listing

    # --- definitions

    def _admit_definition(self, value: Json) -> None:
        served = crd.served_by(value)
        clash = self.catalog.clash(served) if served else ""
        if clash:
            raise Forbidden(f"the names of this definition are taken: {clash}")
        crd.establish(value, self.clock.now())

    def _serve_definition(self, value: Json) -> None:
        self.catalog.replace(value["metadata"]["name"], crd.served_by(value))

    def _empty_definition(self, definition: Stored) -> None:
        served = crd.served_by(definition.value)
        for item in self.store.list(definition.name):
            if served is not None:
                self._delete(served, item, DeleteOptions())
            else:
                self.store.delete(definition.name, item.namespace, item.name)

    # --- subresources

    def scale(self, resource: ResourceType, name: str, namespace: str | None = None) -> Json:
        """The Scale of an object. Raises: NotFound."""
        served = self.catalog.of(resource)
        self._check_subresource(served, "scale")
        return scaling.scale_of(served, self.existing(served, namespace, name).value)

    def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, body: Mapping[str, Any],
        namespace: str | None = None,
        options: WriteOptions | None = None,
    ) -> Json:
        """``pods/<name>/binding``, ``pods/<name>/eviction`` and ``serviceaccounts/<name>/token``.

        Raises: NotFound, Invalid, Conflict (bound already), TooManyRequests (a budget forbids it).
        """
        options = options or WriteOptions()
        served = self.catalog.of(resource)
        stored = self.existing(served, namespace, name)
        if subresource == "binding" and subresource in served.subresources:
            self._bind(served, stored, body, options)
        elif subresource == "eviction" and subresource in served.subresources:
            self._evict(served, stored, body, options)
        elif subresource == "token" and subresource in served.subresources:
            return self._token(stored, body)
        else:
            raise NotFound("the server could not find the requested resource")
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _token(self, account: Stored, body: Mapping[str, Any]) -> Json:
        def pod_of(name: str) -> Json | None:
            found = self.store.get(r.PODS.group_resource, account.namespace, name)
            return found.value if found else None

        return token_request(account.value, body, pod_of, self.clock.now(), self._signing_key)

    def _bind(self, served: Served, pod: Stored, body: Mapping[str, Any], options: WriteOptions) -> None:
        value = pod.fresh()
        value["spec"], value["status"] = scaling.bound(value, body, self.clock.now())
        self._store_update(served, pod, value, options)

    def _evict(self, served: Served, pod: Stored, body: Mapping[str, Any], options: WriteOptions) -> None:
        wanted = deletion.options_of(checked("Eviction", dict(body)).get("deleteOptions") or {}, {})
        deletion.check_preconditions(pod.value, wanted, f'pods "{pod.name}"')
        budgets = [item.value for item in self.store.list(r.DISRUPTION_BUDGETS.group_resource, pod.namespace)]
        admission = judge_eviction(pod.value, budgets, self.clock.now())
        if options.dry_run or wanted.dry_run:
            return
        if admission.budget is not None:
            name = admission.budget["metadata"]["name"]
            self.store.update(r.DISRUPTION_BUDGETS.group_resource, pod.namespace, name, dict(
                admission.budget, metadata=dict(admission.budget["metadata"])))
        if not pod.value["metadata"].get("deletionTimestamp"):
            value = pod.fresh()
            mark_disruption(value, self.clock.now())
            pod = self.store.update(served.key, pod.namespace, pod.name, value)
        self._delete(served, pod, DeleteOptions(grace_s=wanted.grace_s))


def _unstored(value: Json, revision: int) -> Stored:
    """A dry run's answer."""
    import json

    return Stored(value["metadata"].get("namespace", ""), value["metadata"]["name"], revision, json.dumps(value), value)
