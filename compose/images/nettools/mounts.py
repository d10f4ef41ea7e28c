"""Mounts in another container's view of the file system: looks them up, puts a FUSE file system over a directory, takes
it away again.

Decides nothing about what such a file system does (``files.py``). Acts are done by a child process that enters the
mount namespace: that needs CAP_SYS_ADMIN and CAP_SYS_CHROOT, and CAP_SYS_PTRACE to get at the namespace. Standard
library only.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS, MNT_DETACH, UMOUNT_NOFOLLOW = 0x20000, 2, 8
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
OPEN_TREE, MOVE_MOUNT = 428, 429  # the same on all architectures
AT_FDCWD, OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = -100, 1, 4
MOST_LINKS = 40  # as the kernel (path_resolution(7))
NAME = "testbed-io:"  # begins the source of each of our mounts; the injection's id follows

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class Unfit(Exception):
    """This cannot be mounted there, in words."""


@dataclass(frozen=True)
class Mounted:
    number: int
    parent: int
    device: str
    point: str
    options: tuple
    shared: bool
    kind: str
    source: str


def mounts(pid):
    """What a process sees mounted (proc(5), mountinfo)."""
    return [_mounted(line) for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def stack(pid, point):
    """What is mounted at a directory, one over the other, the topmost last."""
    left = [mount for mount in mounts(pid) if mount.point == point]
    found, under = [], None
    while left:
        numbers = {mount.number for mount in left}
        for mount in left:
            if mount.parent == under or (under is None and mount.parent not in numbers):
                found.append(mount)
                under = mount.number
                left.remove(mount)
                break
        else:
            return found
    return found


def _mounted(line):
    left, _, right = line.partition(" - ")
    words, (kind, source, *_) = left.split(" "), right.split(" ")
    shared = any(word.startswith("shared:") for word in words[6:])
    return Mounted(int(words[0]), int(words[1]), words[2], _plain(words[4]), tuple(words[5].split(",")), shared, kind,
                   _plain(source))


def _plain(text):
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def place(pid, path):
    """Where a path leads in a container whose own directories may be links: /var/run is /run in many images. (The
    kernel would follow an absolute link from /proc/PID/root to our own root.) Raises: Unfit for links in a circle."""
    done, left, links = [], path.split("/"), 0
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = str(Path(f"/proc/{pid}/root", *done, part).readlink())
        except OSError:  # no link
            done.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise Unfit(f"{path} is a circle of links")
        done, left = [] if target.startswith("/") else done, target.split("/") + left
    return "/" + "/".join(done)


def volume(pid, path):
    """The volume that is mounted at a directory, below what is ours; and of which injections that is, from below.

    Raises: Unfit when there is no volume, or what is mounted on it would be seen elsewhere.
    """
    found = stack(pid, place(pid, path))
    own = [mount.source.removeprefix(NAME) for mount in found if mount.source.startswith(NAME)]
    if path == "/" or len(found) == len(own):
        raise Unfit(f"{path} is not where a volume of the container is mounted")
    below = found[-len(own) - 1]
    if found[-1].shared:
        raise Unfit(f"what is mounted on {path} would be seen outside the container (mount propagation)")
    return below, own


@contextlib.contextmanager
def alone(pid):
    """Among those that mount and unmount in the container at the same time."""
    with Path(f"/proc/{pid}/ns/mnt").open() as namespace:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        yield


def ours(pid, injection):
    """An injection's file systems among a process's mounts."""
    return [mount for mount in mounts(pid) if mount.source == NAME + injection]


def mount_fuse(pid, below, device, injection, mode):
    """Puts a FUSE file system over a volume, with the volume's own restrictions. ``mode``: st_mode of its root."""
    flags = sum({FLAGS[option] for option in below.options if option in FLAGS})
    data = f"fd={device},rootmode={mode:o},user_id=0,group_id=0,allow_other,default_permissions"

    def act():
        _checked(_libc.mount((NAME + injection).encode(), os.fsencode(below.point), b"fuse", flags, data.encode()))

    _inside(pid, act)


def unmount(pid, injection):
    """Takes an injection's file system away, also from under others of ours; harmless when there is none. To be called
    ``alone``.

    Open files in it stay what they are. Raises: Unfit when what is mounted on top of it is not ours.
    """
    while found := ours(pid, injection):
        point = found[-1].point
        sources = [mount.source for mount in stack(pid, point)]
        above = sources[sources.index(NAME + injection) + 1:]
        if not all(source.startswith(NAME) for source in above):
            raise Unfit(f"something else is mounted over {point}")
        _inside(pid, functools.partial(_pull_out, os.fsencode(point), len(above)))


def _pull_out(point, above):
    """Takes away what lies below so many mounts on a directory; those are put back."""
    kept = []
    for _ in range(above):
        kept.append(_checked(_libc.syscall(OPEN_TREE, AT_FDCWD, point, OPEN_TREE_CLONE)))
        _checked(_libc.umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW))
    _checked(_libc.umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW))
    for tree in reversed(kept):
        _checked(_libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH))


def _checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _inside(pid, act):
    """Runs ``act`` in the mount namespace of a process. Raises: OSError."""
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _checked(_libc.setns(namespace, CLONE_NEWNS))
            act()
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.close(namespace)
    said = os.read(reader, 16)
    os.close(reader)
    os.waitpid(child, 0)
    if said:
        raise OSError(int(said), f"in the container: {os.strerror(int(said))}")
