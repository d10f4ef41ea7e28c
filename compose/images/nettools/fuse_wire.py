"""The kernel's FUSE protocol (linux: include/uapi/linux/fuse.h, version 7.31 and later), as far as a file system needs
it that passes everything through: reads requests of ``/dev/fuse``, packs answers. Decides nothing. Standard library
only.
"""

import errno
import os
import struct
from dataclasses import dataclass

OPCODES = {
    1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 5: "readlink", 6: "symlink", 8: "mknod", 9: "mkdir",
    10: "unlink", 11: "rmdir", 12: "rename", 13: "link", 14: "open", 15: "read", 16: "write", 17: "statfs",
    18: "release", 20: "fsync", 21: "setxattr", 22: "getxattr", 23: "listxattr", 24: "removexattr", 25: "flush",
    26: "init", 27: "opendir", 28: "readdir", 29: "releasedir", 30: "fsyncdir", 35: "create", 36: "interrupt",
    38: "destroy", 42: "batch_forget", 43: "fallocate", 45: "rename2", 46: "lseek", 47: "copy_file_range",
}
UNANSWERED = ("forget", "batch_forget", "interrupt", "destroy")
ROOT = 1  # number of the root's node

# What is asked for at the start, where the kernel has it.
ASYNC_READ, ATOMIC_O_TRUNC, BIG_WRITES, AUTO_INVAL_DATA = 1 << 0, 1 << 3, 1 << 5, 1 << 12
PARALLEL_DIROPS, MAX_PAGES, HANDLE_KILLPRIV_V2, INIT_EXT = 1 << 18, 1 << 22, 1 << 28, 1 << 30
DIRECT_IO_ALLOW_MMAP = 1 << 36
WANTED = (ASYNC_READ | ATOMIC_O_TRUNC | BIG_WRITES | AUTO_INVAL_DATA | PARALLEL_DIROPS | MAX_PAGES | HANDLE_KILLPRIV_V2
          | INIT_EXT | DIRECT_IO_ALLOW_MMAP)
MAX_WRITE = 1 << 20
FOPEN_DIRECT_IO = 1
KILL_ON_OPEN, KILL_ON_WRITE = 1, 1 << 2  # set-user-id bits are to go
FROM_CACHE = 1  # of a write

FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << bit for bit in range(7))
FATTR_ATIME_NOW, FATTR_MTIME_NOW, FATTR_KILL_SUIDGID = 1 << 7, 1 << 8, 1 << 11

IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
ATTR = struct.Struct("<6Q10I")
ENTRY = struct.Struct("<4Q2I")
ATTR_OUT = struct.Struct("<QII")
OPEN_OUT = struct.Struct("<QIi")
STATFS = struct.Struct("<5Q4I24x")
DIRENT = struct.Struct("<QQII")
INIT_OUT = struct.Struct("<4I2H2I2H2I24x")
SETATTR = struct.Struct("<II6Q8I")
# Fixed parts of requests; names follow them.
FIXED = {"getattr": struct.Struct("<IIQ"), "setattr": SETATTR, "mknod": struct.Struct("<IIII"),
         "mkdir": struct.Struct("<II"), "rename": struct.Struct("<Q"), "rename2": struct.Struct("<QII"),
         "link": struct.Struct("<Q"), "open": struct.Struct("<II"), "opendir": struct.Struct("<II"),
         "read": struct.Struct("<QQIIQII"), "readdir": struct.Struct("<QQIIQII"), "write": struct.Struct("<QQIIQII"),
         "release": struct.Struct("<QIIQ"), "releasedir": struct.Struct("<QIIQ"), "fsync": struct.Struct("<QII"),
         "fsyncdir": struct.Struct("<QII"), "flush": struct.Struct("<QIIQ"), "create": struct.Struct("<IIII"),
         "setxattr": struct.Struct("<II"), "getxattr": struct.Struct("<II"), "listxattr": struct.Struct("<II"),
         "forget": struct.Struct("<Q"), "interrupt": struct.Struct("<Q"), "batch_forget": struct.Struct("<II"),
         "fallocate": struct.Struct("<QQQII"), "lseek": struct.Struct("<QQII"),
         "copy_file_range": struct.Struct("<7Q")}


@dataclass
class Request:
    """``fields``: the fixed part; ``rest``: what follows it."""

    method: str
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    fields: tuple
    rest: bytes

    def names(self):
        return self.rest.split(b"\0")


class Device:
    """An open ``/dev/fuse``. ``direct``: whether files are read and written without the page cache, so that each call
    is seen: that needs a kernel which maps such files all the same (6.6)."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.direct = False
        self._buffer = bytearray(MAX_WRITE + (1 << 16))

    def fileno(self):
        return self.descriptor

    def receive(self):
        """The next request; None when there is none now. Raises: OSError ENODEV when it is not mounted any more."""
        try:
            length = os.readv(self.descriptor, [self._buffer])
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT):  # ENOENT: it was taken back
                return None
            raise
        _, opcode, unique, node, uid, gid, pid, _, _ = IN_HEADER.unpack_from(self._buffer)
        method = OPCODES.get(opcode, "")
        begin, fields = IN_HEADER.size, ()
        if method in FIXED:
            fields = FIXED[method].unpack_from(self._buffer, begin)
            begin += FIXED[method].size
        return Request(method, unique, node, uid, gid, pid, fields, bytes(memoryview(self._buffer)[begin:length]))

    def answer(self, request, content=b""):
        self._send(request.unique, 0, content)

    def refuse(self, request, number):
        self._send(request.unique, -number, b"")

    def _send(self, unique, error, content):
        try:
            os.writev(self.descriptor, [OUT_HEADER.pack(OUT_HEADER.size + len(content), error, unique), content])
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for it any more
                raise

    def start(self, request):
        """Answers the first request of all."""
        major, minor, readahead, flags = struct.unpack_from("<4I", request.rest)
        offered = flags
        if flags & INIT_EXT:
            offered |= struct.unpack_from("<I", request.rest, 16)[0] << 32
        chosen = WANTED & offered
        self.direct = bool(chosen & DIRECT_IO_ALLOW_MMAP)
        self.answer(request, INIT_OUT.pack(7, min(minor, 38), readahead, chosen & 0xFFFFFFFF, 64, 48, MAX_WRITE, 1,
                                           MAX_WRITE // 4096, 0, chosen >> 32, 0))


def attributes(found):
    """Of an ``os.stat_result``."""
    def whole(ns):
        return (ns // 10**9) & 0xFFFFFFFFFFFFFFFF

    return ATTR.pack(found.st_ino, found.st_size, found.st_blocks, whole(found.st_atime_ns), whole(found.st_mtime_ns),
                     whole(found.st_ctime_ns), found.st_atime_ns % 10**9, found.st_mtime_ns % 10**9,
                     found.st_ctime_ns % 10**9, found.st_mode, found.st_nlink, found.st_uid, found.st_gid,
                     _device(found.st_rdev), found.st_blksize, 0)


def _device(number):
    """linux: new_encode_dev()."""
    major, minor = os.major(number), os.minor(number)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def entry(node, found):
    """Kept by nobody: others may change the same files beside this file system."""
    return ENTRY.pack(node, 0, 0, 0, 0, 0) + attributes(found)


def dirent(inode, offset, name, kind):
    return (DIRENT.pack(inode, offset, len(name), kind) + name).ljust((DIRENT.size + len(name) + 7) & ~7, b"\0")
