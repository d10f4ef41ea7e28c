"""Gives processes back what they have open in a file system that goes away: each open file, directory, shared mapping
and working directory in it is opened once more by its name, where the same file now is, and takes its place.

So a database that began a file while a fault was in force can go on with it. What cannot be opened again stays as it
is, and answers errors from then on: deleted files, and those that the process may not open (any more). Locks on such
files are lost. x86_64; elsewhere nothing is done. Standard library only.
"""

import contextlib
import ctypes
import os
import re
import struct
from pathlib import Path

import vdso
from members import ENDED, belongs, processes
from stopped import Busy, Caller, stopped

# linux: arch/x86/entry/syscalls/syscall_64.tbl
OPEN, CLOSE, LSEEK, MMAP, MSYNC, CHDIR, DUP3 = 2, 3, 8, 9, 26, 80, 292
NOT_AGAIN = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_NOCTTY
MAP_SHARED, MAP_FIXED, MS_SYNC = 1, 16, 4
AT_FDCWD, AT_STATX_DONT_SYNC = -100, 0x4000
TRIES = 2

_libc = ctypes.CDLL(None)


def give_back(container, gone, point):
    """``gone``: the mount that was at ``point`` (``mounts.Mounted``). Whether all of it was given back."""
    try:
        image = vdso.Image()
        image.system_call()
    except vdso.Unfit:
        return False
    done = True
    for pid in sorted(processes()):
        if belongs(pid, {"containers": [container]}):
            for _ in range(TRIES):
                try:
                    done &= _of_process(pid, gone, point, image)
                    break
                except ENDED:
                    break
                except (Busy, OSError):
                    continue
            else:
                done = False
    return done


def _of_process(pid, gone, point, image):
    if not (_files(pid, gone) or _maps(pid, gone) or _folder(pid, gone)):
        return True
    place = vdso.span(pid)
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory, stopped(pid) as threads:
        if place is None or not threads or image.slots(os.pread(memory.fileno(), place[1], place[0])) is None:
            return False
        with Caller(pid, threads[0], place[0] + image.system_call()) as call, \
                _Letters(memory.fileno(), place[0] + image.area, vdso.AREA) as letters:
            taker = _Taker(call, letters, point)
            done = [taker.map(*found) for found in _maps(pid, gone)]
            done += [taker.file(*found) for found in _files(pid, gone)]
            done += [taker.folder(path) for path in _folder(pid, gone)]
    return all(done)


def _files(pid, gone):
    """(descriptor, flags, position, path from the root of what is gone) of what is open in it."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError):
            lines = Path(entry.path).read_text().splitlines()
            told = dict(line.split(":", 1) for line in lines if ":" in line)
            if _device(f"/proc/{pid}/fd/{entry.name}") == gone.device:
                path = str(Path(f"/proc/{pid}/fd/{entry.name}").readlink())
                found.append((int(entry.name), int(told["flags"], 8), int(told["pos"]), path))
    return found


def _maps(pid, gone):
    """(address, length, protection, offset, path) of what is mapped of it and shared."""
    found = []
    major, minor = (int(part) for part in gone.device.split(":"))
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[3] == f"{major:02x}:{minor:02x}" and "s" in words[1]:
            begin, end = (int(part, 16) for part in words[0].split("-"))
            rights = sum(bit for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if letter in words[1])
            path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[5])
            found.append((begin, end - begin, rights, int(words[2], 16), path))
    return found


def _folder(pid, gone):
    """The working directory, where it is in it."""
    return [str(Path(f"/proc/{pid}/cwd").readlink())] if _device(f"/proc/{pid}/cwd") == gone.device else []


def _device(path):
    """"major:minor" of where a file is, without asking the file system, which may be dead."""
    told = ctypes.create_string_buffer(256)
    if _libc.statx(AT_FDCWD, os.fsencode(path), AT_STATX_DONT_SYNC, 0, told):
        raise FileNotFoundError(path)
    return "{}:{}".format(*struct.unpack_from("<II", told, 136))  # linux: include/uapi/linux/stat.h, stx_dev_major


class _Letters:
    """Room for a name in the process's memory: what is there is put back."""

    def __init__(self, memory, address, length):
        self._memory, self._address, self._length = memory, address, length

    def __enter__(self):
        self._before = os.pread(self._memory, self._length, self._address)
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            os.pwrite(self._memory, self._before, self._address)

    def write(self, text):
        content = os.fsencode(text) + b"\0"
        if len(content) > self._length:
            raise OSError(36, os.strerror(36))  # ENAMETOOLONG
        os.pwrite(self._memory, content, self._address)
        return self._address


class _Taker:
    """Replaces one thing after another. Each answers whether it could."""

    def __init__(self, call, letters, point):
        self._call, self._letters, self._point = call, letters, point

    def _open(self, path, flags):
        name = self._letters.write(self._point if path == "/" else self._point + path)
        return self._call(OPEN, name, flags & ~NOT_AGAIN, 0)

    def file(self, descriptor, flags, position, path):
        try:
            fresh = self._open(path, flags)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            self._call(LSEEK, fresh, position, os.SEEK_SET)
        self._call(DUP3, fresh, descriptor, flags & os.O_CLOEXEC)
        self._call(CLOSE, fresh)
        return True

    def map(self, address, length, rights, offset, path):
        with contextlib.suppress(OSError):  # what cannot be written any more is lost
            self._call(MSYNC, address, length, MS_SYNC)
        try:
            fresh = self._open(path, os.O_RDWR if rights & 2 else os.O_RDONLY)
        except OSError:
            return False
        self._call(MMAP, address, length, rights, MAP_SHARED | MAP_FIXED, fresh, offset)
        self._call(CLOSE, fresh)
        return True

    def folder(self, path):
        try:
            self._call(CHDIR, self._letters.write(self._point if path == "/" else self._point + path))
        except OSError:
            return False
        return True
