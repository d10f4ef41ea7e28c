"""Volumes of configuration as files on this machine, for containers to mount."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.core.environment import MissingConfig
from testbed.core.projections import Files
from testbed.errors import EnvironmentProblem


def write_volumes(folder: Path, volumes: Mapping[str, Files]) -> dict[str, str]:
    """Where each volume's files are.

    Raises: MissingConfig when a path leaves its volume, EnvironmentProblem when they cannot be written.
    """
    try:
        return _written(folder, volumes)
    except OSError as error:
        raise EnvironmentProblem(f"files of volumes cannot be written to {folder}: {error.strerror or error}",
                                 hint="free some space there, or change who may write") from error


def _written(folder: Path, volumes: Mapping[str, Files]) -> dict[str, str]:
    places = {}
    for name, content in volumes.items():
        root = folder / name
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)  # whoever runs in a container reads it, whatever our umask is
        for path, (data, mode) in content.items():
            target = root / path
            if not Path(os.path.normpath(target)).is_relative_to(root):
                raise MissingConfig(f'volume "{name}": {path} is outside of it')
            for parent in reversed([item for item in target.parents if item != root and item.is_relative_to(root)]):
                parent.mkdir(exist_ok=True)
                parent.chmod(0o755)
            target.write_bytes(data)
            target.chmod(mode)
        places[name] = str(root)
    return places
