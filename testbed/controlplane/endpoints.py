"""EndpointSlices and Endpoints of Services (core: ``endpoints``).

There is no batching: a change of readiness is written at once, because until it is, requests go to the wrong place.
Slices go first: the gateway is fed from them, and Endpoints are only for those who still read them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from testbed.api.core_v1 import Pod, Service
from testbed.api.labels import SERVICE_NAME
from testbed.api.meta import matches_labels
from testbed.api.process_logs import about
from testbed.api.resources import ENDPOINT_SLICES, ENDPOINTS
from testbed.client.informer import key_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import endpoints
from testbed.core.endpoints import SlicePlan
from testbed.core.rotation import READY, members, turned
from testbed.errors import AlreadyExists, NotFound

log = logging.getLogger(__name__)
Json = dict[str, Any]
_TURNS_TO_THE_GATEWAY = 4  # of the event loop, from a written slice to the message


class EndpointsController(Controller):
    name = "endpointslice-controller"
    workers = 4
    deference = 0

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._services, self._pods, self._slices = tools.caches.services, tools.caches.pods, tools.caches.slices
        self._services.on_change(self._service_changed)
        self._pods.on_change(self._pod_changed)
        self._slices.on_change(self._slice_changed)
        self.caches.endpoints.on_change(self._endpoints_changed)

    def _service_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(key_of(changed))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        label_sets = [item["metadata"].get("labels") or {} for item in (old, new) if item is not None]
        if old is not None and new is not None and _traits(old) == _traits(new):
            return
        for key in self._services.keys_by("namespace", changed["metadata"].get("namespace", "")):
            service = self._services.json(key)
            selector = (service or {}).get("spec", {}).get("selector")
            if any(matches_labels(selector, labels) for labels in label_sets):
                self.queue.add(key)

    def _slice_changed(self, old: Json | None, new: Json | None) -> None:
        """Someone else changed or removed what we manage."""
        changed = new or old
        assert changed is not None
        labels = changed["metadata"].get("labels") or {}
        if labels.get(endpoints.MANAGED_BY) == endpoints.MANAGER:
            name = labels.get(SERVICE_NAME, "")
            self.queue.add(f"{changed['metadata'].get('namespace', '')}/{name}")

    def _endpoints_changed(self, old: Json | None, new: Json | None) -> None:
        """Someone else removed it."""
        if new is None and old is not None:
            self.queue.add(key_of(old))

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        if service is None:
            await self._forget(key)
            return None
        if not endpoints.managed(service):
            return None
        pods = self._pods.by("namespace", service.metadata.namespace)
        existing = self._existing(key)
        plan = endpoints.plan_slices(service, pods, existing)
        await self._write_slices(service, plan)
        for _ in range(_TURNS_TO_THE_GATEWAY):
            await asyncio.sleep(0)
        _write_down(key, existing, plan)
        await self._write_endpoints(key, service, pods)
        return None

    def _existing(self, key: str) -> list[Json]:
        return [
            json for each in self._slices.keys_by("service", key)
            if (json := self._slices.json(each)) is not None and _managed_by_us(json)
        ]

    async def _write_slices(self, service: Service, plan: SlicePlan) -> None:
        for item in plan.update:
            await self.tools.update(ENDPOINT_SLICES, item)
        for item in plan.create:
            metadata = {**item["metadata"], "name": f"{service.metadata.name[:57]}-{self.tools.suffix()}"}
            await self.tools.create(ENDPOINT_SLICES, {**item, "metadata": metadata}, service.metadata.namespace)
        for name in plan.delete:
            try:
                await self.client.delete(ENDPOINT_SLICES, name, service.metadata.namespace)
            except NotFound:
                continue

    async def _write_endpoints(self, key: str, service: Service, pods: list[Pod]) -> None:
        wanted = endpoints.endpoints_object(service, pods)
        current = self.caches.endpoints.json(key)
        if current is None:
            try:
                await self.tools.create(ENDPOINTS, wanted, service.metadata.namespace)
            except AlreadyExists:
                self.queue.retry(key)
        elif (current.get("subsets") or []) != wanted["subsets"] or (
            (current["metadata"].get("labels") or {}) != wanted["metadata"]["labels"]
        ):
            metadata = {**current["metadata"], "labels": wanted["metadata"]["labels"]}
            await self.tools.update(ENDPOINTS, {**wanted, "metadata": metadata})

    async def _forget(self, key: str) -> None:
        """The Service is gone. Its slices go by their owner, the Endpoints object has none."""
        if self.caches.endpoints.json(key) is None:
            return
        namespace, _, name = key.partition("/")
        try:
            await self.client.delete(ENDPOINTS, name, namespace)
        except NotFound:
            return


def _write_down(key: str, existing: list[Json], plan: SlicePlan) -> None:
    """Who turned, in the log."""
    replaced = {*plan.delete, *(item["metadata"]["name"] for item in plan.update)}
    now = [*(item for item in existing if item["metadata"]["name"] not in replaced), *plan.update, *plan.create]
    for member in turned(members(existing).values(), members(now).values()):
        said = "a ready endpoint" if member.state == READY else f"no ready endpoint any more ({member.state})"
        log.info("%s is %s of Service %s", member.pod, said, key,
                 extra=about(pod=member.pod, pod_uid=member.uid, node=member.node,
                             reason=f"Endpoint{member.state.capitalize()}"))


def _managed_by_us(json: Json) -> bool:
    return (json["metadata"].get("labels") or {}).get(endpoints.MANAGED_BY) == endpoints.MANAGER


def _traits(pod: Json) -> tuple[Any, ...]:
    """All of a pod that endpoints depend on."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    ready = next((item.get("status") for item in status.get("conditions") or () if item.get("type") == "Ready"), None)
    return (
        metadata.get("labels"), metadata.get("deletionTimestamp") is not None, metadata.get("uid"), ready,
        status.get("podIP"), status.get("phase") in ("Succeeded", "Failed"), spec.get("nodeName"),
    )
