"""Mounts in another container's view of the file system: looks them up, puts a FUSE file system over a directory, takes
it away again.

Decides nothing about what such a file system does (``files.py``). Acts are done by a child process that enters the
mount namespace: that needs CAP_SYS_ADMIN and CAP_SYS_CHROOT, and CAP_SYS_PTRACE to get at the namespace. Standard
library only.
"""

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS, MNT_DETACH, UMOUNT_NOFOLLOW = 0x20000, 2, 8
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
NAME = "testbed-io:"  # begins the source of each of our mounts; the injection's id follows

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class Unfit(Exception):
    """This cannot be mounted there, in words."""


@dataclass(frozen=True)
class Mounted:
    point: str
    options: tuple
    shared: bool
    kind: str
    source: str


def mounts(pid):
    """What a process sees mounted, the topmost last (proc(5), mountinfo)."""
    return [_mounted(line) for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def _mounted(line):
    left, _, right = line.partition(" - ")
    words, (kind, source, *_) = left.split(" "), right.split(" ")
    return Mounted(_plain(words[4]), tuple(words[5].split(",")), any(word.startswith("shared:") for word in words[6:]),
                   kind, _plain(source))


def _plain(text):
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def volume(pid, path):
    """What is mounted at a directory. Raises: Unfit when that is no volume, or what is mounted on it would be seen
    elsewhere."""
    found = [mount for mount in mounts(pid) if mount.point == path]
    if path == "/" or not found:
        raise Unfit(f"{path} is not where a volume of the container is mounted")
    if not Path(f"/proc/{pid}/root{path}").is_dir():
        raise Unfit(f"{path} is a file, not a directory")
    if found[-1].shared:
        raise Unfit(f"what is mounted on {path} would be seen outside the container (mount propagation)")
    return found[-1]


def ours(pid, injection):
    """Whether an injection's file system is among a process's mounts."""
    return any(mount.source == NAME + injection for mount in mounts(pid))


def mount_fuse(pid, below, device, injection, mode):
    """Puts a FUSE file system over a volume, with the volume's own restrictions. ``mode``: st_mode of its root."""
    flags = sum({FLAGS[option] for option in below.options if option in FLAGS})
    data = f"fd={device},rootmode={mode:o},user_id=0,group_id=0,allow_other,default_permissions"

    def act():
        _checked(_libc.mount((NAME + injection).encode(), os.fsencode(below.point), b"fuse", flags, data.encode()))

    _inside(pid, act)


def unmount(pid, injection):
    """Takes an injection's file system away; harmless when there is none.

    Open files in it stay what they are. Raises: Unfit when something is mounted on top of it.
    """
    while found := [mount for mount in mounts(pid) if mount.source == NAME + injection]:
        point = found[-1].point
        if [mount for mount in mounts(pid) if mount.point == point][-1].source != NAME + injection:
            raise Unfit(f"something else is mounted over {point}")
        _inside(pid, lambda point=point: _checked(
            _libc.umount2(os.fsencode(point), MNT_DETACH | UMOUNT_NOFOLLOW)))


def _checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


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
