"""Where the data of a pod's claims lies, once this node may use it.

Decides what is mounted: volumes of the engine that carry this cluster's label, by name, and directories below the
cluster's own ``hostpath`` directory. Nothing else of this machine is ever mounted.

Source of the words: kubernetes pkg/kubelet/volumemanager, pkg/volume/util/operationexecutor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.api import labels
from testbed.api.core_v1 import Pod
from testbed.api.storage_v1 import PersistentVolume
from testbed.core.volume_attachments import in_use_name
from testbed.node.facts import NodeFacts
from testbed.node.storage import NodeStorage, has_claims
from testbed.runtime.protocol import Engine

IN_USE = "testbed.io/volumes-in-use"  # on a sandbox: what its pod uses, as the node's status names it


class NotMounted(Exception):
    """``waiting``: it is somebody else's turn, and no news."""

    def __init__(self, message: str, *, waiting: bool = False) -> None:
        super().__init__(message)
        self.waiting = waiting


@dataclass(frozen=True)
class ClaimMount:
    """``source``: of a Mount. ``directory``: where the same data can be looked at. ``in_use``: its name in the node's
    status, or ``""``."""

    source: str
    directory: Path
    read_only: bool = False
    in_use: str = ""


Mounts = Mapping[str, ClaimMount]  # by the pod's name of the volume


class PodClaims:
    """What was found once stays found as long as the pod lives: its data does not move."""

    def __init__(self, storage: NodeStorage, engine: Engine, facts: NodeFacts) -> None:
        self._storage, self._engine, self._facts = storage, engine, facts
        self._known: dict[str, Mounts] = {}

    def known(self, uid: str) -> Mounts:
        return self._known.get(uid, {})

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)

    async def find(self, pod: Pod) -> Mounts:
        """Raises: NotMounted, EngineUnavailable."""
        uid = pod.metadata.uid
        if not has_claims(pod) or uid in self._known:
            return self.known(uid)
        found: dict[str, ClaimMount] = {}
        for volume in pod.spec.volumes:
            source = volume.persistent_volume_claim
            if source is None:
                continue
            persistent = self._storage.volume_of(pod, source.claim_name)
            if persistent is None:
                raise NotMounted(f'persistentvolumeclaim "{source.claim_name}" is not bound', waiting=True)
            found[volume.name] = await self._mount(persistent, read_only=source.read_only)
        self._known[uid] = found
        return found

    async def _mount(self, volume: PersistentVolume, *, read_only: bool) -> ClaimMount:
        name = volume.metadata.name
        if volume.engine_volume:
            if not self._storage.attached(name):
                raise NotMounted(f'volume "{name}" is not attached to this node', waiting=True)
            directory = await self._engine_directory(volume)
            csi = volume.spec.csi
            read_only = read_only or (csi is not None and csi.read_only)
            return ClaimMount(volume.engine_volume, directory, read_only, in_use_name(volume))
        if volume.spec.host_path is not None:
            directory = self._host_directory(name, volume.spec.host_path.path, volume.spec.host_path.type)
            return ClaimMount(str(directory), directory, read_only)
        raise NotMounted(f'MountVolume.SetUp failed for volume "{name}" : it is of a kind that nodes here do not have')

    async def _engine_directory(self, volume: PersistentVolume) -> Path:
        for state in await self._engine.volumes({labels.INSTANCE: self._facts.instance_id}):
            if state.name == volume.engine_volume:
                return Path(state.mountpoint)
        raise NotMounted(f'MountVolume.SetUp failed for volume "{volume.metadata.name}" : the engine has no volume '
                         f"{volume.engine_volume} of this cluster")

    def _host_directory(self, name: str, path: str, kind: str) -> Path:
        start = f'MountVolume.SetUp failed for volume "{name}" : '
        root = self._facts.host_path_root
        wanted = Path(path)
        if not wanted.is_absolute() or not wanted.resolve().is_relative_to(root.resolve()):
            raise NotMounted(f"{start}hostPath {path} is refused: only directories below {root} are mounted")
        if kind not in ("", "Directory", "DirectoryOrCreate"):
            raise NotMounted(f"{start}hostPath type {kind} is refused: only directories are mounted")
        if kind != "Directory" and not wanted.exists():
            with contextlib.suppress(FileExistsError):
                wanted.mkdir(parents=True)
                wanted.chmod(0o777)
        if not wanted.is_dir():
            raise NotMounted(f"{start}hostPath type check failed: {path} is not a directory")
        return wanted.resolve()
