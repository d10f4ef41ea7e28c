"""Files of a pod's volumes under the agent's directory: made before its containers, brought up to date in place.

ConfigMap, Secret and downward API volumes are written whole into a new directory that one symlink then points to, so
that a reader sees the old or the new state and never a mixture (kubernetes: pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from testbed.api.core_v1 import Container, Pod, Volume, VolumeMount
from testbed.core.environment import MissingConfig, Sources
from testbed.core.projections import Files, is_projection, volume_files
from testbed.node.claims import ClaimMount
from testbed.node.container_specs import termination_log
from testbed.node.facts import NodeFacts
from testbed.runtime.containers import Mount

MAX_BYTES = 1024 * 1024  # of one projected volume, as the API limits its sources
_CURRENT, _NEXT = "..data", "..data_next"


class VolumeMissing(MissingConfig):
    """A volume cannot be made yet, in upstream's words."""


def pod_directory(facts: NodeFacts, uid: str) -> Path:
    return facts.directory / "pods" / uid


def write_volumes(facts: NodeFacts, pod: Pod, sources: Sources) -> None:
    """Makes what is missing and updates what has changed.

    Raises: MissingConfig when a source is missing or a path leaves the volume.
    """
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            continue  # its data lies elsewhere (``claims``)
        path, group = volume_path(facts, pod, volume), _group(pod)
        if volume.empty_dir is not None:
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(0o777)
                _give(path, group, 0o2777)
            continue
        try:
            files = volume_files(pod, volume, sources)
            path.mkdir(parents=True, exist_ok=True)
            _swap(path, files, group)
        except MissingConfig as error:
            raise VolumeMissing(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error


def volume_path(facts: NodeFacts, pod: Pod, volume: Volume) -> Path:
    if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
        return facts.memory_directory / pod.metadata.uid / volume.name
    return pod_directory(facts, pod.metadata.uid) / "volumes" / volume.name


def container_mounts(
    facts: NodeFacts, pod: Pod, container: Container, attempt: int,
    claims: Mapping[str, ClaimMount] = MappingProxyType({}),
) -> tuple[Mount, ...]:
    """Binds of one container, its termination log included (which is made here).

    Raises: MissingConfig for a mount of no volume, or a subPath that leaves it.
    """
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    mounts = []
    for wanted in container.volume_mounts:
        volume = volumes.get(wanted.name)
        if volume is None:
            raise MissingConfig(f'volume "{wanted.name}" of container {container.name} is not defined')
        if volume.persistent_volume_claim is not None:
            mounts.append(_claim_mount(claims, wanted, container.name))
            continue
        root = volume_path(facts, pod, volume)
        read_only = wanted.read_only or is_projection(volume)
        source = _inside(root, wanted.sub_path) if wanted.sub_path else root
        if wanted.sub_path and not source.exists() and volume.empty_dir is not None:
            source.mkdir(parents=True)
        mounts.append(Mount(wanted.mount_path, str(source), read_only))
    log = termination_log(facts, pod.metadata.uid, container.name, attempt)
    log.parent.mkdir(parents=True, exist_ok=True)
    if not log.exists():
        log.touch()
        log.chmod(0o666)
    return (*mounts, Mount(container.termination_message_path, str(log)))


def _claim_mount(claims: Mapping[str, ClaimMount], wanted: VolumeMount, container: str) -> Mount:
    found = claims.get(wanted.name)
    if found is None:
        raise MissingConfig(f'volume "{wanted.name}" of container {container} is not mounted')
    read_only = wanted.read_only or found.read_only
    if not wanted.sub_path:
        return Mount(wanted.mount_path, found.source, read_only)
    if not os.access(found.directory, os.W_OK | os.X_OK):
        raise MissingConfig(f'subPath of volume "{wanted.name}" needs an agent that may write to {found.directory}: '
                            "run the cluster as root, or mount the whole volume")
    source = _inside(found.directory, wanted.sub_path)
    if not source.exists():
        source.mkdir(parents=True)
        source.chmod(0o777)
    return Mount(wanted.mount_path, str(source.resolve()), read_only)


def sandbox_mounts(
    facts: NodeFacts, pod: Pod, claims: Mapping[str, ClaimMount] = MappingProxyType({})
) -> tuple[Mount, ...]:
    return tuple(
        Mount(f"/volumes/{volume.name}", claims[volume.name].source, claims[volume.name].read_only)
        if volume.name in claims
        else Mount(f"/volumes/{volume.name}", str(volume_path(facts, pod, volume)), is_projection(volume))
        for volume in pod.spec.volumes
    )


def empty_volumes(facts: NodeFacts, uid: str) -> None:
    """Of a pod that has ended and stays as an object (kubernetes: the volume manager unmounts what no pod uses)."""
    shutil.rmtree(pod_directory(facts, uid) / "volumes", ignore_errors=True)


def remove_volumes(facts: NodeFacts, uid: str) -> None:
    shutil.rmtree(pod_directory(facts, uid), ignore_errors=True)
    shutil.rmtree(facts.memory_directory / uid, ignore_errors=True)
    for empty in (facts.memory_directory, facts.memory_directory.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _group(pod: Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context is not None else None


def _give(path: Path, group: int | None, mode: int) -> None:
    """To the pod's fsGroup, where the agent may (kubernetes: pkg/volume/volume_linux.go)."""
    if group is not None:
        with contextlib.suppress(PermissionError):
            os.chown(path, -1, group)
            path.chmod(mode)


def _swap(root: Path, files: Files, group: int | None) -> None:
    for path in files:
        _inside(root, path)
        if path.startswith(".."):
            raise MissingConfig(f"a file of a volume may not be named {path!r}")
    if sum(len(content) for content, _ in files.values()) > MAX_BYTES:
        raise MissingConfig("the volume's files are more than 1 MiB")
    if _same(root, files, 0o440 if group is not None else 0):
        return
    old = str((root / _CURRENT).readlink()) if (root / _CURRENT).is_symlink() else ""
    number = int(old.removeprefix("..")) + 1 if old.removeprefix("..").isdecimal() else 1
    fresh = root / f"..{number}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for path, (content, mode) in files.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
        _give(file, group, mode | 0o440)
    following = root / _NEXT
    following.unlink(missing_ok=True)
    following.symlink_to(fresh.name)
    following.replace(root / _CURRENT)
    _link_names(root, {path.split("/")[0] for path in files})
    if old:
        shutil.rmtree(root / old, ignore_errors=True)


def _link_names(root: Path, names: set[str]) -> None:
    for name in names:
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"{_CURRENT}/{name}")
    for entry in root.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()


def _same(root: Path, files: Files, more: int) -> bool:
    """``more``: what may have been added to the modes."""
    current = root / _CURRENT
    if not current.is_symlink():
        return False
    have = {str(item.relative_to(current)): item for item in current.rglob("*") if item.is_file()}
    return set(have) == set(files) and all(
        have[path].read_bytes() == content and have[path].stat().st_mode & 0o777 in (mode, mode | more)
        for path, (content, mode) in files.items()
    )


def _inside(root: Path, path: str) -> Path:
    """``path`` under ``root``, also after symlinks. Raises: MissingConfig."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise MissingConfig(f"{path!r} leaves its volume")
    full = root / path
    if not full.resolve().is_relative_to(root.resolve()):
        raise MissingConfig(f"{path!r} leaves its volume")
    return full
