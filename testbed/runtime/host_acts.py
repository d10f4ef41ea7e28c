"""Acts on processes and cgroups of one instance, and the guard before each of them. Synchronous, never waits.

Decides whether a process or cgroup is ours to touch (anything else is refused: ``NotOurs``) and what is written where
for cgroup v1 and v2. Waiting until an act has taken effect is the caller's (``host``). Needs only the standard
library and ``testbed.errors``: this file also runs inside the helper container.

Sources: kernel Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import HostError

_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PF_KTHREAD = 0x00200000  # linux: include/linux/sched.h


class NotOurs(HostError):
    """``container``: id of the container it lies in, empty when in none. Whoever knows the engine may allow it."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(f"{what} is not inside a container or cgroup of this instance ({path}): left alone")
        found = _CONTAINER_ID.search(path)
        self.container = found.group() if found else ""


class HostActs:
    """``cgroup_root``: where the host's cgroup hierarchies are seen."""

    def __init__(self, instance_id: str, cgroup_root: str = "/sys/fs/cgroup") -> None:
        self._prefixes = (f"/testbed-{instance_id}", f"/testbed_{instance_id}.slice")
        self.root = Path(cgroup_root)
        self._allowed: set[str] = set()
        self.unified = (self.root / "cgroup.controllers").exists()
        self._procs = self.root if self.unified else self.root / "freezer"

    def allow(self, container: str) -> None:
        """The engine's labels say that this container is ours, whatever its cgroup."""
        if not _CONTAINER_ID.fullmatch(container):
            raise HostError(f"{container!r} is not a container's id")
        self._allowed.add(container)

    # --- processes

    def identify(self, pid: int) -> int:
        """Start time in ticks: field 22 of stat, counted after the name, which may hold anything."""
        try:
            stat = Path(f"/proc/{int(pid)}/stat").read_bytes()
        except OSError:
            raise HostError(f"there is no process {pid}") from None
        fields = stat[stat.rindex(b")") + 2 :].split()
        if fields[0] in (b"Z", b"X"):
            raise HostError(f"process {pid} has ended")
        return int(fields[19])

    def numbers_of(self, pid: int) -> tuple[int, ...]:
        """NSpid of proc(5): from the namespace of the machine inwards."""
        try:
            lines = Path(f"/proc/{int(pid)}/status").read_text().splitlines()
        except OSError:
            raise HostError(f"there is no process {pid}") from None
        return tuple(int(word) for line in lines if line.startswith("NSpid:") for word in line.split()[1:])

    def alive(self, pid: int, ticks: int) -> bool:
        try:
            return self.identify(pid) == ticks
        except HostError:
            return False

    def cgroup_of(self, pid: int, ticks: int) -> str:
        path = _cgroup_path(pid, "" if self.unified else "freezer")
        if not self.alive(pid, ticks):
            raise HostError(f"process {pid} has ended")
        return path

    def signal(self, pid: int, ticks: int, number: int) -> None:
        """Through a pidfd, opened before the guard looks: the number cannot come to mean another process."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive(pid, ticks):
                return
            self.guard_process(pid, ticks)
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise HostError(f"this user may not signal process {pid}") from None
        finally:
            os.close(handle)

    def guard_process(self, pid: int, ticks: int) -> None:
        """Raises: NotOurs, HostError when it has ended."""
        path = self.cgroup_of(pid, ticks)
        if pid <= 1 or not self._is_ours(path):
            raise NotOurs(f"process {pid}", path)

    # --- cgroups

    def pids_in(self, cgroup: str) -> list[int]:
        found: set[int] = set()
        for directory in self._trees(cgroup):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in (directory / "cgroup.procs").read_text().split())
        return sorted(found)

    def memory_in(self, cgroup: str) -> int:
        """Of the groups right below it, each a container: a parent's own count need not hold its children's."""
        root, total = self.root if self.unified else self.root / "memory", 0
        name, inactive = ("memory.current", "inactive_file") if self.unified else (
            "memory.usage_in_bytes", "total_inactive_file")
        for spelling in self.spellings(cgroup):
            for directory in (root / spelling).glob("*/"):
                with contextlib.suppress(OSError, ValueError):
                    if directory.name == "agent":
                        continue
                    used = int((directory / name).read_text())
                    cached = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
                    total += max(0, used - int(cached.get(inactive, 0)))
        return total

    def create_cgroup(self, cgroup: str) -> None:
        try:
            (self._procs / self._relative(cgroup)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(f"cgroup {cgroup} cannot be made: {error}") from error

    def remove_cgroup(self, cgroup: str) -> bool:
        """Whether nothing is left of it in any hierarchy."""
        gone = True
        for hierarchy in self._hierarchies():
            for path in self.spellings(cgroup):
                gone = _remove_tree(hierarchy / path) and gone
        return gone

    def join_cgroup(self, cgroup: str, pid: int) -> None:
        """A process outside every container may join, and one of the container that we run in ourselves. It joins in
        each hierarchy that knows the group: a container's counts in all, one that we made for its freezer only there.

        Raises: NotOurs of a process of any other container, of init and of a kernel thread.
        """
        ticks = self.identify(pid)
        now = self.cgroup_of(pid, ticks)
        around = _CONTAINER_ID.findall(_cgroup_path(os.getpid(), "" if self.unified else "freezer"))
        foreign = not set(_CONTAINER_ID.findall(now)) <= set(around) and not self._is_ours(now)
        if pid <= 1 or foreign or _of_the_kernel(pid):
            raise NotOurs(f"process {pid}", now)
        relative = self._relative(cgroup)
        others = [each / relative for each in self._hierarchies() if each != self._procs and (each / relative).is_dir()]
        try:
            for directory in (*others, self._procs / relative):
                (directory / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise HostError(f"process {pid} cannot join cgroup {cgroup}: {error}") from error

    def freeze(self, cgroup: str) -> bool:
        """Asks for it (again: cgroup v1 gives up on a process that cannot stop just now); whether all is stopped."""
        found = self._existing(cgroup)
        if not found:
            raise HostError(f"there is no cgroup {cgroup}")
        for directory in found:
            self._write_freezer(directory, frozen=True)
        return self.frozen(cgroup)

    def thaw(self, cgroup: str) -> None:
        for directory in self._existing(cgroup):
            with contextlib.suppress(FileNotFoundError):
                self._write_freezer(directory, frozen=False)

    def frozen(self, cgroup: str) -> bool:
        """False also for a cgroup that is gone."""
        found = [self._is_frozen(directory) for directory in self._existing(cgroup)]
        return bool(found) and all(found)

    def kill_step(self, cgroup: str) -> int:
        """SIGKILL to everything in it; returns how many were still there. Frozen groups are thawed after the
        signal: on cgroup v1 it is delivered only then, and nothing runs in between."""
        for directory in self._existing(cgroup):
            if (directory / "cgroup.kill").exists():
                (directory / "cgroup.kill").write_text("1")
        pids = self.pids_in(cgroup)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for directory in self._trees(cgroup):
            with contextlib.suppress(OSError):
                self._write_freezer(directory, frozen=False)
        return len(pids)

    # --- where things are

    def _write_freezer(self, directory: Path, *, frozen: bool) -> None:
        if self.unified:
            (directory / "cgroup.freeze").write_text("1" if frozen else "0")
        else:
            (directory / "freezer.state").write_text("FROZEN" if frozen else "THAWED")

    def _is_frozen(self, directory: Path) -> bool:
        try:
            if self.unified:
                return "frozen 1" in (directory / "cgroup.events").read_text()
            return (directory / "freezer.state").read_text().strip() == "FROZEN"
        except OSError:
            return False

    def _is_ours(self, path: str) -> bool:
        if ".." in path.split("/"):
            return False
        if any(path == prefix or path.startswith(prefix + "/") for prefix in self._prefixes):
            return True
        found = _CONTAINER_ID.search(path)
        return found is not None and found.group() in self._allowed

    def _relative(self, cgroup: str) -> str:
        if not self._is_ours(cgroup):
            raise NotOurs(f"cgroup {cgroup}", cgroup)
        return cgroup.strip("/")

    def spellings(self, cgroup: str) -> list[str]:
        """A cgroup under its own name, and as the slice that an engine with the systemd driver makes of it."""
        plain = self._relative(cgroup)
        if not cgroup.startswith(self._prefixes[0]):
            return [plain]
        parts = [part.replace("-", "_") for part in plain.split("/")]
        return [plain, "/".join("-".join(parts[: depth + 1]) + ".slice" for depth in range(len(parts)))]

    def _existing(self, cgroup: str) -> list[Path]:
        return [self._procs / path for path in self.spellings(cgroup) if (self._procs / path).is_dir()]

    def _trees(self, cgroup: str) -> Iterator[Path]:
        for top in self._existing(cgroup):
            for directory, _, _ in os.walk(top):
                yield Path(directory)

    def _hierarchies(self) -> list[Path]:
        if self.unified:
            return [self.root]
        return [path for path in self.root.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink()]


def cgroup_lines(pid: int) -> list[tuple[str, str]]:
    """(controllers, path) of each hierarchy; controllers are empty for the unified one."""
    try:
        text = Path(f"/proc/{int(pid)}/cgroup").read_text()
    except OSError:
        raise HostError(f"there is no process {pid}") from None
    lines = (line.split(":", 2) for line in text.splitlines())
    return [(controllers, path) for _, controllers, path in lines]


def _cgroup_path(pid: int, controller: str) -> str:
    for controllers, path in cgroup_lines(pid):
        if controller in controllers.split(","):
            return path
    raise HostError(f"process {pid} is in no {controller or 'unified'} cgroup")


def _of_the_kernel(pid: int) -> bool:
    """Whether it is a thread of the kernel. An empty command line would not say so: a program that has just begun has
    none for a moment, between the end of exec's work on files and that on memory.
    """
    try:
        stat = Path(f"/proc/{int(pid)}/stat").read_bytes()
    except OSError:
        raise HostError(f"there is no process {pid}") from None
    return bool(int(stat[stat.rindex(b")") + 2 :].split()[6]) & _PF_KTHREAD)


def _remove_tree(top: Path) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
    return not top.exists()
