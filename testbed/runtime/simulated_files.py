"""What a simulated container sees as its files: a tree of its own that goes with it, and what is mounted into it.

Mounts lead to real directories (the agent writes volumes there), everything else is in memory. Symlinks in volumes are
followed, as ConfigMaps need it.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.runtime.containers import Mount

_ALWAYS = ("/", "/tmp", "/dev", "/etc", "/var", "/run", "/proc")


class SimulatedFiles:
    """``mounts``: targets inside, sources outside. ``read_only``: nothing can be written but into mounts.

    ``meet``: asked before each operation by how much it is late; it may fail it. ``owed_s``: the sum, for whoever runs
    the program to wait for.
    """

    def __init__(self, mounts: Sequence[Mount], *, read_only: bool = False) -> None:
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.target))
        self._read_only = read_only
        self._own: dict[str, bytes] = {}
        self._bound: dict[str, bytes] = {}
        self._directories = set(_ALWAYS)
        self.meet: Callable[[str, tuple[str, ...]], float] = lambda path, methods: 0.0
        self.owed_s = 0.0

    def begin(self) -> None:
        """The container starts. A single file that is mounted read-only stays as it was then: what is bound is the
        file, not its name, so a volume that is written anew does not change it."""
        self._bound = {
            mount.target: Path(mount.source).read_bytes() for mount in self._mounts
            if mount.read_only and mount.source.startswith("/") and Path(mount.source).is_file()
        }

    @property
    def written_bytes(self) -> int:
        return sum(len(data) for data in self._own.values())

    def _outside(self, path: str) -> tuple[Path, Mount] | None:
        for mount in self._mounts:
            target = mount.target.rstrip("/")
            if (path == target or path.startswith(target + "/")) and mount.source.startswith("/"):
                inner = path[len(target) :].lstrip("/")
                return (Path(mount.source) / inner if inner else Path(mount.source)), mount
        return None

    def read(self, path: str) -> bytes:
        """Raises: OSError."""
        path = posixpath.normpath(path)
        if path == "/dev/null":
            return b""
        self._met(path, "lookup", "open", "read")
        if path in self._bound:
            return self._bound[path]
        if outside := self._outside(path):
            return outside[0].read_bytes()
        if path in self._own:
            return self._own[path]
        kind = errno.EISDIR if path in self._directories else errno.ENOENT
        raise OSError(kind, os.strerror(kind), path)

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        """Raises: OSError."""
        path = posixpath.normpath(path)
        if path in ("/dev/null", "/dev/stdout", "/dev/stderr"):
            return
        self._met(path, "lookup", "open", "write")
        if outside := self._writable(path):
            with outside.open("ab" if append else "wb") as stream:
                stream.write(data)
            return
        if posixpath.dirname(path) not in self._directories:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._own[path] = (self._own.get(path, b"") if append else b"") + data

    def remove(self, path: str) -> None:
        """Raises: OSError."""
        path = posixpath.normpath(path)
        self._met(path, "lookup", "unlink")
        if outside := self._writable(path):
            outside.unlink()
        elif self._own.pop(path, None) is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def make_directory(self, path: str) -> None:
        """With its parents. Raises: OSError."""
        path = posixpath.normpath(path)
        self._met(path, "mkdir")
        if outside := self._writable(path):
            outside.mkdir(parents=True, exist_ok=True)
            return
        while path not in self._directories:
            self._directories.add(path)
            path = posixpath.dirname(path)

    def is_file(self, path: str) -> bool:
        path = posixpath.normpath(path)
        if outside := self._outside(path):
            return outside[0].is_file()
        return path in self._own

    def is_directory(self, path: str) -> bool:
        path = posixpath.normpath(path)
        if outside := self._outside(path):
            return outside[0].is_dir()
        return path in self._directories or any(mount.target.startswith(path + "/") for mount in self._mounts)

    def entries(self, path: str) -> list[str]:
        """Names in a directory, without hidden ones. Raises: OSError."""
        path = posixpath.normpath(path)
        self._met(path, "opendir", "readdir")
        if outside := self._outside(path):
            return sorted(each.name for each in outside[0].iterdir() if not each.name.startswith("."))
        if not self.is_directory(path):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        start = path.rstrip("/") + "/"
        inside = [*self._own, *self._directories, *(mount.target for mount in self._mounts)]
        return sorted({name[len(start) :].split("/")[0] for name in inside if name.startswith(start) and name != path})

    def _met(self, path: str, *methods: str) -> None:
        self.owed_s += self.meet(path, methods)

    def take_owed_s(self) -> float:
        """What was to be waited for since it was last asked."""
        owed_s, self.owed_s = self.owed_s, 0.0
        return owed_s

    def _writable(self, path: str) -> Path | None:
        """Where it lies outside; None for a file of its own. Raises: OSError where nothing may be written."""
        outside = self._outside(path)
        if outside is None:
            if self._read_only:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
            return None
        if outside[1].read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return outside[0]
