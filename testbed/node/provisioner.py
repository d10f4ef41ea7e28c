"""Makes and removes volumes of the engine for this node's part of the claims: the external provisioner's part.

Which claims and volumes are this node's the control plane says, by annotations. Everything is done by names that come
from the claim's UID, so that doing it twice, or by two agents, ends in the same: the engine's volume first, then the
object; on the way back the engine's volume first, then the object.

Source: sigs.k8s.io/sig-storage-lib-external-provisioner controller/controller.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.instance import ENGINE
from testbed.api.resources import PERSISTENT_VOLUMES, STORAGE_CLASSES
from testbed.api.storage_v1 import (
    DRIVER,
    PROVISIONED_BY,
    PROVISIONER,
    PROVISIONER_FINALIZER,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    VOLUME_NODE,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from testbed.client.protocol import Client
from testbed.errors import AlreadyExists, ApiError, EngineError, EngineUnavailable, NotFound
from testbed.node.facts import NodeFacts, Recorder
from testbed.node.storage import NodeStorage
from testbed.runtime.containers import ContainerSpec, Mount
from testbed.runtime.helper_container import HELPER_IMAGE, run_to_end
from testbed.runtime.protocol import Engine

log = logging.getLogger("testbed.node")
Json = dict[str, Any]
AGAIN_S = 1.0
_HELPER_S = 10.0


class Provisioner:
    def __init__(
        self, client: Client, engine: Engine, storage: NodeStorage, facts: NodeFacts, recorder: Recorder,
    ) -> None:
        self._client, self._engine, self._storage = client, engine, storage
        self._facts, self._recorder = facts, recorder
        self._wake = asyncio.Event()
        self._told: set[tuple[str, str]] = set()
        storage.listeners.append(self._wake.set)

    async def run(self) -> None:
        """Until cancelled."""
        self._storage.begin()
        while True:
            self._wake.clear()
            left = [await self._attempt(self._provision, claim) for claim in self._storage.claims()
                    if self._is_wanted(claim)]
            left += [await self._attempt(self._remove, volume) for volume in self._storage.volumes()
                     if self._is_ours_to_remove(volume)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if any(left) else None):
                    await self._wake.wait()

    async def _attempt(self, act: Any, obj: Json) -> bool:
        """Whether it is to be tried again."""
        try:
            await act(obj)
        except (ApiError, EngineError, EngineUnavailable) as error:
            log.info("storage: %s: %s", obj["metadata"]["name"], error.message)
            return True
        return False

    # --- making

    def _is_wanted(self, claim: Json) -> bool:
        annotations = claim["metadata"].get("annotations") or {}
        return (
            annotations.get(SELECTED_NODE) == self._facts.name and annotations.get(STORAGE_PROVISIONER) == PROVISIONER
            and not claim["spec"].get("volumeName") and not claim["metadata"].get("deletionTimestamp")
        )

    async def _provision(self, json: Json) -> None:
        claim = PersistentVolumeClaim.of(json)
        name = f"pvc-{claim.metadata.uid}"
        if any(item["metadata"]["name"] == name for item in self._storage.volumes()):
            return
        json = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **json}
        self._tell(json, "Normal", "Provisioning",
                   f'External provisioner is provisioning volume for claim "{claim.key}"')
        try:
            storage = StorageClass.of(await self._client.get(STORAGE_CLASSES, claim.class_name))
            volume = await self._make(claim, storage, name)
        except (ApiError, EngineError, EngineUnavailable) as error:
            text = f'failed to provision volume with StorageClass "{claim.class_name}": {error.message}'
            self._tell(json, "Warning", "ProvisioningFailed", text)
            raise
        with contextlib.suppress(AlreadyExists):
            await self._client.create(PERSISTENT_VOLUMES, volume)
        self._tell(json, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _make(self, claim: PersistentVolumeClaim, storage: StorageClass, name: str) -> Json:
        """The engine's volume, and the object that stands for it."""
        if claim.spec.volume_mode == "Block":
            raise EngineError("volumes of the engine are directories: volumeMode Block is not supported")
        state = await self._engine.create_volume(f"testbed-{self._facts.instance_id}_{name}", labels={
            labels.INSTANCE: self._facts.instance_id, labels.INSTANCE_NAME: self._facts.instance_name,
            labels.ROLE: labels.ROLE_VOLUME})
        await self._open(state.name, Path(state.mountpoint))
        return {
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER},
                         "finalizers": [PROVISIONER_FINALIZER]},
            "spec": {
                "accessModes": list(claim.spec.access_modes), "volumeMode": "Filesystem",
                "capacity": {"storage": claim.spec.resources.requests["storage"]},
                "claimRef": claim.reference,
                "csi": {"driver": DRIVER, "volumeHandle": state.name},
                "persistentVolumeReclaimPolicy": storage.reclaim_policy, "storageClassName": claim.class_name,
                **self._where_it_is(),
            },
        }

    def _where_it_is(self) -> Json:
        """A volume of the machine's engine is every node's; one of a node's own engine is that node's alone, as a local
        provisioner's is (kubernetes: pkg/apis/core/types.go PersistentVolumeSpec.NodeAffinity)."""
        if self._facts.kind != ENGINE:
            return {}
        here = {"matchExpressions": [{"key": labels.HOSTNAME, "operator": "In", "values": [self._facts.name]}]}
        return {"nodeAffinity": {"required": {"nodeSelectorTerms": [here]}}}

    async def _open(self, name: str, directory: Path) -> None:
        """Lets every user write there, as an emptyDir does: containers seldom run as root, who owns a fresh volume."""
        if _opened(directory):
            return
        await self._engine.remove(f"{name}-opener")  # of an agent that was killed in the middle
        spec = ContainerSpec(
            name=f"{name}-opener", image=HELPER_IMAGE,
            labels={labels.INSTANCE: self._facts.instance_id, labels.INSTANCE_NAME: self._facts.instance_name,
                    labels.ROLE: labels.ROLE_HELPER},
            command=("chmod", "0777", "/volume"), mounts=(Mount("/volume", name),),
        )
        if not await run_to_end(self._engine, spec, _HELPER_S):
            raise EngineError(f"volume {name} could not be opened to all users")

    # --- removing

    def _is_ours_to_remove(self, json: Json) -> bool:
        metadata, spec = json["metadata"], json["spec"]
        if (metadata.get("annotations") or {}).get(VOLUME_NODE) != self._facts.name:
            return False
        if spec.get("persistentVolumeReclaimPolicy") != "Delete":
            kept = PROVISIONER_FINALIZER in (metadata.get("finalizers") or ())
            return bool(metadata.get("deletionTimestamp")) and kept
        return (json.get("status") or {}).get("phase") in ("Released", "Failed") or (
            bool(metadata.get("deletionTimestamp")) and (json.get("status") or {}).get("phase") != "Bound")

    async def _remove(self, json: Json) -> None:
        """The data goes only by the policy Delete; without it only the object is let go."""
        volume = PersistentVolume.of(json)
        name, json = volume.metadata.name, {"apiVersion": "v1", "kind": "PersistentVolume", **json}
        if volume.spec.persistent_volume_reclaim_policy == "Delete" and volume.engine_volume:
            try:
                await self._engine.remove_volume(
                    volume.engine_volume, labels={labels.INSTANCE: self._facts.instance_id})
            except EngineError as error:
                if (name, error.message) not in self._told:
                    self._told.add((name, error.message))
                    self._tell(json, "Warning", "VolumeFailedDelete", error.message)
                raise
        self._told = {item for item in self._told if item[0] != name}
        with contextlib.suppress(NotFound):
            await self._client.delete(PERSISTENT_VOLUMES, name, uid=volume.metadata.uid)
        finalizers = [item for item in volume.metadata.finalizers if item != PROVISIONER_FINALIZER]
        if len(finalizers) != len(volume.metadata.finalizers):
            with contextlib.suppress(NotFound):
                await self._client.patch(PERSISTENT_VOLUMES, name, {"metadata": {"finalizers": finalizers}})

    def _tell(self, obj: Json, kind: str, reason: str, message: str) -> None:
        self._recorder.event(obj, kind, reason, message)


def _opened(directory: Path) -> bool:
    """False when that takes root: then a container that is does it."""
    try:
        directory.chmod(0o777)
    except OSError:
        return False
    return True
