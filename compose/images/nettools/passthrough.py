"""A file system that is another one's directory, passed through: each operation is done on the files themselves.

Decides nothing about faults (``files.py``). Files are known by an open descriptor (O_PATH), not by name: so hard links,
renames and deleted open files are what they are below. The kernel checks permissions (``default_permissions``); what is
made gets the owner that its maker would have given it. Standard library only.
"""

import ctypes
import errno
import os
import stat
import time

import fuse_wire as wire

NOT_TO_REOPEN = os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_DIRECT  # O_DIRECT: buffers here are bytes
RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Node:
    """A file that the kernel knows. ``path``: by which it was found last, from the root, for rules about paths."""

    def __init__(self, number, descriptor, key, path):
        self.number, self.descriptor, self.key, self.path = number, descriptor, key, path
        self.lookups = 0

    @property
    def link(self):
        """A name by which the file itself can be acted on."""
        return f"/proc/self/fd/{self.descriptor}"


class Passthrough:
    """Each method answers one request: bytes to send. Raises: OSError, whose number is the answer."""

    def __init__(self, root):
        """``root``: an open directory."""
        found = os.fstat(root)
        top = Node(wire.ROOT, root, (found.st_dev, found.st_ino), b"")
        self._nodes, self._numbers, self._last = {wire.ROOT: top}, {top.key: wire.ROOT}, wire.ROOT
        self._listings = {}  # open directory to what it was seen to hold

    def paths(self, request):
        """Which paths an operation is about, from the root."""
        node = self._nodes.get(request.node)
        if node is None:
            return []
        method, names = request.method, request.names() if request.rest else []
        if method in ("lookup", "mknod", "mkdir", "unlink", "rmdir", "symlink", "create", "link"):
            return [node.path + b"/" + names[0]]
        if method in ("rename", "rename2"):
            return [node.path + b"/" + names[0], self._nodes[request.fields[0]].path + b"/" + names[1]]
        return [node.path]

    # --- nodes

    def _entry(self, parent, name):
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent.descriptor)
        found = os.fstat(descriptor)
        key, path = (found.st_dev, found.st_ino), parent.path + b"/" + name
        number = self._numbers.get(key)
        if number is not None:
            os.close(descriptor)
            node = self._nodes[number]
            if number != wire.ROOT:
                node.path = path
        else:
            self._last += 1
            node = self._nodes[self._last] = Node(self._last, descriptor, key, path)
            self._numbers[key] = node.number
        node.lookups += 1
        return wire.entry(node.number, found)

    def _forget(self, number, times):
        node = self._nodes.get(number)
        if node is None or number == wire.ROOT:
            return
        node.lookups -= times
        if node.lookups <= 0:
            del self._nodes[number], self._numbers[node.key]
            os.close(node.descriptor)

    def forget(self, request):
        self._forget(request.node, request.fields[0])

    def batch_forget(self, request):
        for number, times in wire.struct.iter_unpack("<QQ", request.rest[:request.fields[0] * 16]):
            self._forget(number, times)

    def lookup(self, request):
        return self._entry(self._nodes[request.node], request.names()[0])

    # --- attributes

    def _attributes(self, found):
        return wire.ATTR_OUT.pack(0, 0, 0) + wire.attributes(found)

    def getattr(self, request):
        return self._attributes(os.fstat(self._nodes[request.node].descriptor))

    def setattr(self, request):
        (valid, _, handle, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _) = request.fields
        node = self._nodes[request.node]
        if valid & (wire.FATTR_UID | wire.FATTR_GID):
            os.chown(node.link, uid if valid & wire.FATTR_UID else -1, gid if valid & wire.FATTR_GID else -1)
        if valid & wire.FATTR_MODE:
            os.chmod(node.link, mode & 0o7777)
        if valid & wire.FATTR_SIZE:
            os.truncate(handle if valid & wire.FATTR_FH else node.link, size)
            if valid & wire.FATTR_KILL_SUIDGID:
                _drop_privileges(node.link)
        if valid & (wire.FATTR_ATIME | wire.FATTR_MTIME):
            found = os.fstat(node.descriptor)
            os.utime(node.link, ns=(
                _moment(valid, wire.FATTR_ATIME, wire.FATTR_ATIME_NOW, atime, atime_ns, found.st_atime_ns),
                _moment(valid, wire.FATTR_MTIME, wire.FATTR_MTIME_NOW, mtime, mtime_ns, found.st_mtime_ns)))
        return self.getattr(request)

    def statfs(self, request):
        found = os.fstatvfs(self._nodes[wire.ROOT].descriptor)
        return wire.STATFS.pack(found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree,
                                found.f_bsize, found.f_namemax, found.f_frsize, 0)

    def getxattr(self, request):
        return _sized(request, os.getxattr(self._nodes[request.node].link, request.names()[0]))

    def listxattr(self, request):
        names = os.listxattr(self._nodes[request.node].link)
        return _sized(request, b"".join(os.fsencode(name) + b"\0" for name in names))

    def setxattr(self, request):
        size, flags = request.fields
        name, _, value = request.rest.partition(b"\0")
        os.setxattr(self._nodes[request.node].link, name, value[:size], flags)
        return b""

    def removexattr(self, request):
        os.removexattr(self._nodes[request.node].link, request.names()[0])
        return b""

    # --- names

    def _made(self, request, parent, name, mode):
        """Gives what was made its owner. A directory's set-group-id bit gives its group to what is made in it."""
        inherits = os.fstat(parent.descriptor).st_mode & stat.S_ISGID
        os.chown(name, request.uid, -1 if inherits else request.gid, dir_fd=parent.descriptor, follow_symlinks=False)
        if mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISLNK(mode):
            os.chmod(name, mode & 0o7777, dir_fd=parent.descriptor)

    def mknod(self, request):
        mode, device = request.fields[:2]
        parent, name = self._nodes[request.node], request.names()[0]
        os.mknod(name, mode, os.makedev(device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00),
                 dir_fd=parent.descriptor)
        self._made(request, parent, name, mode)
        return self._entry(parent, name)

    def mkdir(self, request):
        parent, name, mode = self._nodes[request.node], request.names()[0], request.fields[0]
        os.mkdir(name, mode, dir_fd=parent.descriptor)
        self._made(request, parent, name, mode & ~stat.S_ISGID)  # that bit it has from its parent
        return self._entry(parent, name)

    def symlink(self, request):
        parent, (name, target) = self._nodes[request.node], request.names()[:2]
        os.symlink(target, name, dir_fd=parent.descriptor)
        self._made(request, parent, name, stat.S_IFLNK)
        return self._entry(parent, name)

    def create(self, request):
        flags, mode = request.fields[:2]
        parent, name = self._nodes[request.node], request.names()[0]
        keep = flags & ~(os.O_DIRECT | os.O_NOCTTY)
        try:
            handle = os.open(name, keep | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=parent.descriptor)
            self._made(request, parent, name, mode)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            handle = os.open(name, keep & ~os.O_CREAT | os.O_NOFOLLOW, dir_fd=parent.descriptor)
        return self._entry(parent, name) + self._opened(handle)

    def link(self, request):
        parent, name = self._nodes[request.node], request.names()[0]
        os.link(self._nodes[request.fields[0]].link, name, dst_dir_fd=parent.descriptor, follow_symlinks=True)
        return self._entry(parent, name)

    def readlink(self, request):
        return os.readlink(b"", dir_fd=self._nodes[request.node].descriptor)

    def unlink(self, request):
        os.unlink(request.names()[0], dir_fd=self._nodes[request.node].descriptor)
        return b""

    def rmdir(self, request):
        os.rmdir(request.names()[0], dir_fd=self._nodes[request.node].descriptor)
        return b""

    def rename(self, request):
        return self._renamed(request, 0)

    def rename2(self, request):
        return self._renamed(request, request.fields[1])

    def _renamed(self, request, flags):
        old, new = request.names()[:2]
        source, into = self._nodes[request.node], self._nodes[request.fields[0]]
        _checked(_libc.renameat2(source.descriptor, old, into.descriptor, new, flags))
        self._found_again(into, new)
        if flags & RENAME_EXCHANGE:
            self._found_again(source, old)
        return b""

    def _found_again(self, parent, name):
        found = os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)
        number = self._numbers.get((found.st_dev, found.st_ino))
        if number is not None:
            self._nodes[number].path = parent.path + b"/" + name

    # --- open files

    direct = False  # whether their pages are kept nowhere

    def _opened(self, handle):
        return wire.OPEN_OUT.pack(handle, wire.FOPEN_DIRECT_IO if self.direct else 0, 0)

    def open(self, request):
        flags, more = request.fields
        node = self._nodes[request.node]
        handle = os.open(node.link, flags & ~NOT_TO_REOPEN)
        if more & wire.KILL_ON_OPEN:
            _drop_privileges(node.link)
        return self._opened(handle)

    def read(self, request):
        handle, offset, size = request.fields[:3]
        return os.pread(handle, size, offset)

    def write(self, request):
        handle, offset, size, flags = request.fields[:4]
        if flags & wire.FROM_CACHE:  # of a shared map: it belongs there also when the file was opened to append
            handle = os.open(self._nodes[request.node].link, os.O_WRONLY)
        try:
            written = os.pwrite(handle, request.rest[:size], offset)
            if flags & wire.KILL_ON_WRITE:
                _drop_privileges(handle)
        finally:
            if flags & wire.FROM_CACHE:
                os.close(handle)
        return wire.struct.pack("<II", written, 0)

    def flush(self, request):
        os.close(os.dup(request.fields[0]))
        return b""

    def release(self, request):
        os.close(request.fields[0])
        return b""

    def fsync(self, request):
        (os.fdatasync if request.fields[1] & 1 else os.fsync)(request.fields[0])
        return b""

    def fallocate(self, request):
        handle, offset, length, mode, _ = request.fields
        _checked(_libc.fallocate(handle, mode, offset, length))
        return b""

    def lseek(self, request):
        handle, offset, whence, _ = request.fields
        return wire.struct.pack("<Q", os.lseek(handle, offset, whence))

    def copy_file_range(self, request):
        source, begin, _, target, into, length, _ = request.fields
        return wire.struct.pack("<II", os.copy_file_range(source, target, min(length, 1 << 30), begin, into), 0)

    # --- directories

    def opendir(self, request):
        handle = os.open(self._nodes[request.node].link, os.O_RDONLY | os.O_DIRECTORY)
        return wire.OPEN_OUT.pack(handle, 0, 0)

    def readdir(self, request):
        handle, offset, size = request.fields[:3]
        if not offset or handle not in self._listings:
            self._listings[handle] = _listing(handle)
        answer, listing = b"", self._listings[handle]
        for index in range(offset, len(listing)):
            item = wire.dirent(listing[index][0], index + 1, *listing[index][1:])
            if len(answer) + len(item) > size:
                break
            answer += item
        return answer

    def releasedir(self, request):
        self._listings.pop(request.fields[0], None)
        return self.release(request)

    fsyncdir = fsync


def _listing(handle):
    own = os.fstat(handle).st_ino
    with os.scandir(handle) as entries:
        found = [(entry.inode(), os.fsencode(entry.name), _kind(entry)) for entry in entries]
    return [(own, b".", stat.S_IFDIR >> 12), (own, b"..", stat.S_IFDIR >> 12), *found]


def _kind(entry):
    """d_type; 0: the kernel asks when it needs to know."""
    if entry.is_symlink():
        return stat.S_IFLNK >> 12
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR >> 12
    return stat.S_IFREG >> 12 if entry.is_file(follow_symlinks=False) else 0


def _drop_privileges(file):
    """What the kernel does when a file with a set-user-id bit is changed by somebody (inode_remove_privs)."""
    mode = os.stat(file).st_mode
    if mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode):
        os.chmod(file, mode & 0o7777 & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)))


def _moment(valid, given, now, seconds, nanoseconds, present_ns):
    if valid & now:
        return time.time_ns()
    return _signed(seconds) * 10**9 + nanoseconds if valid & given else present_ns


def _signed(value):
    return value - (1 << 64) if value >> 63 else value


def _sized(request, value):
    """An answer to one who asks how long it is first."""
    size = request.fields[0]
    if not size:
        return wire.struct.pack("<II", len(value), 0)
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value
