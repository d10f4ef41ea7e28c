"""The binder: claims and volumes find each other, volumes are asked for, and given back (core: ``volume_binding``).

The control plane never touches an engine. What is to be made or removed there it gives to the agent of a node: by the
annotation ``selected-node`` on the claim, and ``testbed.io/volume-node`` on the volume. A node that is not Ready loses
the errand; doing one twice is harmless, since names come from the claim's UID.
"""

from __future__ import annotations

from typing import Any

from testbed.api.meta import format_time
from testbed.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from testbed.api.storage_v1 import (
    BETA_CLASS,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONER,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    VOLUME_NODE,
    PersistentVolume,
    PersistentVolumeClaim,
)
from testbed.client.informer import key_of
from testbed.controlplane.claim_users import users_of
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.volume_marks import annotated, annotations_of, pointed_at
from testbed.core import conditions, volume_binding
from testbed.core.volume_binding import ClaimPlan, VolumePlan
from testbed.core.volume_matching import default_class
from testbed.errors import NotFound

Json = dict[str, Any]
_CLAIM, _VOLUME = "claim ", "volume "
RESYNC_S = 15.0  # of what waits (kubernetes: pvclaimbinder-sync-period)


class VolumeBinder(Controller):
    """Keys: ``claim <namespace>/<name>`` and ``volume <name>``. One worker: two claims never choose at once."""

    name = "persistentvolume-controller"
    workers = 1

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        caches = tools.caches
        self._claims, self._volumes, self._classes = caches.claims, caches.volumes, caches.storage_classes
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda old, new: self._wake_waiting())
        caches.nodes.on_change(self._node_changed)

    # --- what happens

    def _claim_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(_CLAIM + key_of(changed))
        bound = (changed.get("spec") or {}).get("volumeName")
        if bound:
            self.queue.add(_VOLUME + bound)
        if new is None:
            for volume in self._volumes.values():
                reference = volume.spec.claim_ref
                if reference is not None and f"{reference.namespace}/{reference.name}" == key_of(changed):
                    self.queue.add(_VOLUME + volume.metadata.name)

    def _volume_changed(self, old: Json | None, new: Json | None) -> None:
        changed = new or old
        assert changed is not None
        self.queue.add(_VOLUME + key_of(changed))
        reference = changed["spec"].get("claimRef")
        if reference:
            self.queue.add(f"{_CLAIM}{reference.get('namespace', '')}/{reference.get('name', '')}")
        else:
            self._wake_waiting()

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None or old is None or _is_ready(old) != _is_ready(new):
            self._wake_waiting()
            for volume in self._volumes.values():
                if VOLUME_NODE in volume.metadata.annotations:
                    self.queue.add(_VOLUME + volume.metadata.name)

    def _wake_waiting(self) -> None:
        for claim in self._claims.values():
            if not claim.bound:
                self.queue.add(_CLAIM + claim.key)

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_CLAIM):
            return await self._look_at_claim(key.removeprefix(_CLAIM))
        return await self._look_at_volume(key.removeprefix(_VOLUME))

    # --- claims

    async def _look_at_claim(self, key: str) -> float | None:
        claim, json = self._claims.get(key), self._claims.json(key)
        if claim is None or json is None:
            return None
        if await self._gave_class(claim, json):
            return None
        volumes = {item.metadata.name: item for item in self._volumes.values()}
        classes = {item.metadata.name: item for item in self._classes.values()}
        users = users_of(self.caches, key)
        plan = volume_binding.plan_claim(claim, volumes, classes, users)
        if plan.note is not None:
            self.tell(json, plan.note)
        if plan.bind and not (claim.metadata.deleting and not claim.bound):
            await self._bind(claim, volumes[plan.bind])
            return None
        await self._write_claim_phase(json, plan)
        if plan.provision and not claim.metadata.deleting:
            await self._assign(key, plan.provision, waits=classes[claim.class_name].waits)
        return None if plan.phase == "Lost" else RESYNC_S

    async def _gave_class(self, claim: PersistentVolumeClaim, json: Json) -> bool:
        """A claim made before there was a default class gets it (kubernetes: assignDefaultStorageClass)."""
        if claim.spec.storage_class_name is not None or claim.spec.volume_name or claim.metadata.deleting or (
                BETA_CLASS in claim.metadata.annotations):
            return False
        chosen = default_class(self._classes.values())
        if chosen is None:
            return False
        spec = {**json["spec"], "storageClassName": chosen.metadata.name}
        await self.tools.update(PERSISTENT_VOLUME_CLAIMS, {**json, "spec": spec})
        return True

    async def _write_claim_phase(self, json: Json, plan: ClaimPlan) -> None:
        status = json.get("status") or {}
        if status.get("phase") != plan.phase:
            await self.tools.update(
                PERSISTENT_VOLUME_CLAIMS, {**json, "status": {**status, "phase": plan.phase}}, subresource="status")

    async def _assign(self, key: str, provisioner: str, *, waits: bool) -> None:
        """Says who is to make the volume, and takes it from a node that is not heard."""
        json = self._claims.json(key)
        if json is None:
            return
        annotations = annotations_of(json)
        wanted = {**annotations, STORAGE_PROVISIONER: provisioner}
        node = annotations.get(SELECTED_NODE, "")
        if provisioner == PROVISIONER and not self._ready(node):
            wanted.pop(SELECTED_NODE, None)
            chosen = "" if waits else self._any_node()
            if chosen:
                wanted[SELECTED_NODE] = chosen
        if wanted != annotations:
            await self.tools.update(PERSISTENT_VOLUME_CLAIMS, annotated(json, wanted))

    def _ready(self, node: str) -> bool:
        found = self.caches.nodes.get(node) if node else None
        return found is not None and found.ready

    def _any_node(self) -> str:
        names = sorted(node.metadata.name for node in self.caches.nodes.values() if node.ready)
        return self.tools.random.choice(names) if names else ""

    # --- binding: the volume names the claim first

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        name = volume.metadata.name
        await self._point_volume(claim, name)
        await self._write_volume_phase(name, VolumePlan("Bound"))
        await self._point_claim(claim.key, name)
        json, bound = self._claims.json(claim.key), self._volumes.json(name)
        if json is None or bound is None:
            return
        status = {**(json.get("status") or {}), "phase": "Bound", "accessModes": bound["spec"].get("accessModes") or [],
                  "capacity": bound["spec"].get("capacity") or {}}
        if status != json.get("status"):
            await self.tools.update(PERSISTENT_VOLUME_CLAIMS, {**json, "status": status}, subresource="status")

    async def _point_volume(self, claim: PersistentVolumeClaim, name: str) -> None:
        json = self._volumes.json(name)
        if json is None:
            raise NotFound(f'persistentvolumes "{name}" not found')
        if (json["spec"].get("claimRef") or {}).get("uid") != claim.metadata.uid:
            await self.tools.update(PERSISTENT_VOLUMES, pointed_at(json, claim))

    async def _point_claim(self, key: str, volume: str) -> None:
        json = self._claims.json(key)
        if json is None:
            return
        annotations, spec = annotations_of(json), json["spec"]
        if spec.get("volumeName") != volume:
            annotations[BOUND_BY_CONTROLLER] = "yes"
            spec = {**spec, "volumeName": volume}
        annotations[BIND_COMPLETED] = "yes"
        if annotations != annotations_of(json) or spec is not json["spec"]:
            await self.tools.update(PERSISTENT_VOLUME_CLAIMS, {**annotated(json, annotations), "spec": spec})

    # --- volumes

    async def _look_at_volume(self, name: str) -> float | None:
        volume, json = self._volumes.get(name), self._volumes.json(name)
        if volume is None or json is None:
            return None
        plan = volume_binding.plan_volume(volume, await self._claim_of(volume))
        if plan.note is not None and volume.status.phase != plan.phase:
            self.tell(json, plan.note)
        if plan.unbind:
            await self._unbind(json)
            return None
        await self._write_volume_phase(name, plan)
        if plan.remove or (volume.metadata.deleting and volume.engine_volume):
            await self._give_back(name)
        return None

    async def _claim_of(self, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        """As the cache has it; that it is gone, the API itself must say: a volume's data hangs on it.

        Raises: ApiError when the API does not say.
        """
        reference = volume.spec.claim_ref
        if reference is None or not reference.uid:
            return None
        known = self._claims.get(f"{reference.namespace}/{reference.name}")
        if known is not None and known.metadata.uid == reference.uid:
            return known
        try:
            found = await self.client.get(PERSISTENT_VOLUME_CLAIMS, reference.name, reference.namespace)
        except NotFound:
            return None
        return PersistentVolumeClaim.of(found)

    async def _unbind(self, json: Json) -> None:
        annotations = annotations_of(json)
        annotations.pop(BOUND_BY_CONTROLLER, None)
        spec = {key: item for key, item in json["spec"].items() if key != "claimRef"}
        await self.tools.update(PERSISTENT_VOLUMES, {**annotated(json, annotations), "spec": spec})

    async def _write_volume_phase(self, name: str, plan: VolumePlan) -> None:
        json = self._volumes.json(name)
        if json is None:
            return
        status = json.get("status") or {}
        if (status.get("phase"), status.get("message", ""), status.get("reason", "")) == (
                plan.phase, plan.message, plan.reason):
            return
        fresh = {key: item for key, item in status.items() if key not in ("message", "reason")}
        if status.get("phase") != plan.phase:
            fresh["lastPhaseTransitionTime"] = format_time(self.clock.now())
        fresh["phase"] = plan.phase
        fresh.update({key: text for key, text in (("message", plan.message), ("reason", plan.reason)) if text})
        await self.tools.update(PERSISTENT_VOLUMES, {**json, "status": fresh}, subresource="status")

    async def _give_back(self, name: str) -> None:
        """Says whose agent removes it from the engine."""
        json = self._volumes.json(name)
        if json is None:
            return
        annotations = annotations_of(json)
        if self._ready(annotations.get(VOLUME_NODE, "")):
            return
        chosen = self._any_node()
        if chosen:
            await self.tools.update(PERSISTENT_VOLUMES, annotated(json, annotations | {VOLUME_NODE: chosen}))


def _is_ready(node: Json) -> bool:
    found = conditions.find((node.get("status") or {}).get("conditions") or (), "Ready")
    return found is not None and found["status"] == "True"
