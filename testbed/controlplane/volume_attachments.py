"""Gives nodes the right to use volumes, and takes it back (core: ``volume_attachments``): VolumeAttachment objects.

An agent makes containers on a volume only when its node has one. Only volumes of the engine are attached; a hostPath
belongs to whoever mounts it, as upstream.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from testbed.api.core_v1 import Pod
from testbed.api.resources import VOLUME_ATTACHMENTS
from testbed.api.storage_v1 import DRIVER, PersistentVolume
from testbed.client.informer import key_of
from testbed.controlplane.claim_users import claims_in, users_of
from testbed.controlplane.controller import Controller, Tools
from testbed.core import conditions, volume_attachments
from testbed.core.reasons import Note
from testbed.errors import AlreadyExists, NotFound

Json = dict[str, Any]


class VolumeAttacher(Controller):
    """Keys: names of volumes."""

    name = "attachdetach-controller"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        caches = tools.caches
        self._volumes, self._claims, self._pods = caches.volumes, caches.claims, caches.pods
        self._attachments, self._nodes = caches.attachments, caches.nodes
        self._idle_since_s: dict[str, dict[str, float]] = {}  # by volume and node: what we have watched
        self._told: dict[str, set[str]] = {}  # by volume: keys of pods that were told to wait
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(lambda old, new: self.queue.add(key_of(new or old or {})))
        self._attachments.on_change(self._attachment_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        for name in claims_in(changed):
            claim = self._claims.get(f"{changed['metadata'].get('namespace', '')}/{name}")
            if claim is not None and claim.spec.volume_name:
                self.queue.add(claim.spec.volume_name)

    def _claim_changed(self, old: Json | None, new: Json | None) -> None:
        volume = ((new or old or {}).get("spec") or {}).get("volumeName")
        if volume:
            self.queue.add(volume)

    def _attachment_changed(self, old: Json | None, new: Json | None) -> None:
        volume = ((new or old or {})["spec"].get("source") or {}).get("persistentVolumeName")
        if volume:
            self.queue.add(volume)

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if old is None or new is None or _in_use(old) != _in_use(new):
            for found in self._attachments.values():
                if found.spec.node_name == key_of(new or old or {}):
                    self.queue.add(found.spec.source.persistent_volume_name)

    async def reconcile(self, key: str) -> float | None:
        volume = self._volumes.get(key)
        attached = {item.spec.node_name: item for item in self._attachments.values()
                    if item.spec.source.persistent_volume_name == key}
        if volume is None or not volume.engine_volume:
            for item in attached.values():
                await self._detach(item.metadata.name)
            self._idle_since_s.pop(key, None)
            self._told.pop(key, None)
            return None
        now_s, since = asyncio.get_running_loop().time(), self._idle_since_s.get(key, {})
        nodes = {node.metadata.name: node for node in self._nodes.values()}
        plan = volume_attachments.plan(
            volume, attached, self._users(volume), nodes, since, now_s, self.profile.force_detach_s)
        self._idle_since_s[key] = {node: since.get(node, now_s) for node in plan.idle}
        for node in plan.detach:
            await self._detach(attached[node].metadata.name)
        for node in plan.attach:
            await self._attach(volume, node)
        for node, item in attached.items():
            if node not in plan.detach and not item.status.attached:
                await self._confirm(item.metadata.name)
        self._tell_waiting(key, plan.refused)
        return plan.requeue_after_s

    def _users(self, volume: PersistentVolume) -> list[Pod]:
        reference = volume.spec.claim_ref
        return users_of(self.caches, f"{reference.namespace}/{reference.name}") if reference is not None else []

    def _tell_waiting(self, volume: str, refused: Mapping[str, Note]) -> None:
        """Once: what is waited for does not change by being repeated."""
        told = self._told.get(volume, set())
        for pod, note in refused.items():
            json = self._pods.json(pod)
            if pod not in told and json is not None:
                self.tell(json, note)
        self._told[volume] = set(refused)

    async def _attach(self, volume: PersistentVolume, node: str) -> None:
        name = attachment_name(volume.engine_volume, node)
        body = {
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name},
            "spec": {"attacher": DRIVER, "nodeName": node, "source": {"persistentVolumeName": volume.metadata.name}},
        }
        try:
            made = await self.client.create(VOLUME_ATTACHMENTS, body)
        except AlreadyExists:
            made = await self.client.get(VOLUME_ATTACHMENTS, name)
        self.caches.wrote(VOLUME_ATTACHMENTS, made)
        await self._confirm(name)
        for pod in self._users(volume):
            json = self._pods.json(pod.key)
            if pod.spec.node_name == node and json is not None:
                text = f'AttachVolume.Attach succeeded for volume "{volume.metadata.name}" '
                self.tell(json, Note("SuccessfulAttachVolume", text))

    async def _confirm(self, name: str) -> None:
        json = self._attachments.json(name)
        if json is not None:
            await self.tools.update(VOLUME_ATTACHMENTS, {**json, "status": {"attached": True}}, subresource="status")

    async def _detach(self, name: str) -> None:
        try:
            await self.client.delete(VOLUME_ATTACHMENTS, name)
        except NotFound:
            return


def attachment_name(handle: str, node: str) -> str:
    """kubernetes: pkg/volume/csi/csi_attacher.go getAttachmentName."""
    return "csi-" + hashlib.sha256(f"{handle}{DRIVER}{node}".encode()).hexdigest()


def _in_use(node: Json) -> tuple[Any, ...]:
    status = node.get("status") or {}
    ready = conditions.find(status.get("conditions") or (), "Ready") or {}
    return status.get("volumesInUse"), ready.get("status")
