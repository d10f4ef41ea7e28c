"""Does to a directory what applications do to file systems, and prints as JSON what came of it. Run with the directory
to work in; the same is to come out on any file system. Standard library only: it runs inside containers."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import stat
import sys
import threading
from pathlib import Path

ROOM = Path(sys.argv[1]) / "torture"
found = {}


def case(function):
    """Runs it in a fresh directory; what it returns, or the error that it meets, is the result."""
    os.mkdir(ROOM)
    os.chdir(ROOM)
    try:
        found[function.__name__] = function()
    except OSError as error:
        found[function.__name__] = errno.errorcode.get(error.errno or 0, str(error))
    finally:
        os.chdir("/")
        for root, folders, files in os.walk(ROOM, topdown=False):
            for name in files:
                os.unlink(Path(root) / name)
            for name in folders:
                path = Path(root) / name
                path.unlink() if path.is_symlink() else path.rmdir()
        os.rmdir(ROOM)


def refused(function, *arguments, **more):
    try:
        function(*arguments, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


@case
def written_and_read():
    content = os.urandom(3_000_001)
    Path("a").write_bytes(content)
    with open("a", "r+b") as file:
        file.seek(1_000_000)
        file.write(b"in the middle")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    seen = Path("a").read_bytes()
    return [len(seen), seen[1_000_000:1_000_013].decode(), seen[:1_000_000] == content[:1_000_000]]


@case
def appended():
    for word in ("one", "two", "three"):
        with open("a", "a") as file:
            file.write(word)
    return Path("a").read_text()


@case
def appended_by_two():
    one, two = os.open("a", os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open("a", os.O_WRONLY | os.O_APPEND)
    for index in range(10):
        os.write((one, two)[index % 2], b"%d" % index)
    return Path("a").read_text()


@case
def holes():
    with open("a", "wb") as file:
        file.truncate(1 << 30)
        file.seek(512 << 20)
        file.write(b"x" * 4096)
    handle = os.open("a", os.O_RDONLY)
    return [os.stat("a").st_size, os.stat("a").st_blocks < 1000, os.lseek(handle, 0, os.SEEK_DATA) == 512 << 20,
            os.lseek(handle, 512 << 20, os.SEEK_HOLE) == (512 << 20) + 4096, os.pread(handle, 3, 7).hex()]


@case
def beyond_four_gigabytes():
    with open("a", "wb") as file:
        file.seek(5 << 30)
        file.write(b"far")
    with open("a", "rb") as file:
        file.seek(5 << 30)
        return [os.stat("a").st_size, file.read().decode()]


@case
def truncated():
    Path("a").write_bytes(b"0123456789")
    os.truncate("a", 4)
    with open("a", "r+b") as file:
        file.truncate(6)
    return Path("a").read_bytes().decode()


@case
def modes():
    os.umask(0o027)
    Path("a").touch()
    os.mkdir("d")
    seen = [os.stat("a").st_mode & 0o7777, os.stat("d").st_mode & 0o7777]
    os.umask(0o022)
    os.chmod("a", 0o640)
    os.chmod("d", 0o3771)
    Path("d/b").touch()
    os.mkdir("d/e")
    return [*seen, *(os.stat(name).st_mode & 0o7777 for name in ("a", "d", "d/b", "d/e")),
            os.stat("a").st_uid == os.geteuid(), os.stat("a").st_gid == os.getegid()]


@case
def set_user_id_goes_on_write():
    Path("a").write_bytes(b"x")
    os.chmod("a", 0o6755)
    before = os.stat("a").st_mode & 0o7777
    Path("a").open("ab").write(b"y")
    return [before, os.stat("a").st_mode & 0o7777]


@case
def owners():
    Path("a").touch()
    os.symlink("a", "l")
    return [refused(os.chown, "a", 1234, 4321), os.stat("a").st_uid in (1234, os.geteuid()),
            refused(os.lchown, "l", 55, 66), os.lstat("l").st_uid in (55, os.geteuid())]


@case
def times():
    Path("a").touch()
    os.utime("a", ns=(1_234_567_890_123_456_789, 987_654_321_012_345_678))
    os.symlink("a", "l")
    os.utime("l", ns=(10**9, 2 * 10**9), follow_symlinks=False)
    os.mkdir("d")
    os.utime("d", ns=(-5 * 10**9, -5 * 10**9))
    return [os.stat("a").st_atime_ns, os.stat("a").st_mtime_ns, os.lstat("l").st_mtime_ns, os.stat("d").st_mtime_ns]


@case
def hard_links():
    Path("a").write_text("one")
    os.link("a", "b")
    Path("b").write_text("two")
    same = os.stat("a").st_ino == os.stat("b").st_ino
    count = os.stat("a").st_nlink
    os.unlink("a")
    return [same, count, os.stat("b").st_nlink, Path("b").read_text()]


@case
def symbolic_links():
    os.symlink("where/ever", "l")
    os.mkdir("d")
    os.symlink("d", "m")
    Path("m/x").write_text("through")
    return [os.readlink("l"), os.path.exists("l"), Path("d/x").read_text(), stat.S_ISLNK(os.lstat("l").st_mode)]


@case
def renamed():
    Path("a").write_text("a")
    Path("b").write_text("b")
    with open("a") as file:
        os.rename("a", "b")
        Path("c").write_text("c")
        libc = ctypes.CDLL(None, use_errno=True)
        none = libc.renameat2(-100, b"c", -100, b"b", 1), errno.errorcode.get(ctypes.get_errno())
        swapped = libc.renameat2(-100, b"c", -100, b"b", 2)
        os.mkdir("d")
        os.rename("b", "d/e")
        os.rename("d", "f")
        return [file.read(), none, swapped, Path("c").read_text(), sorted(os.listdir()), Path("f/e").read_text(),
                refused(os.rename, "c", "f"), refused(os.rename, "gone", "x")]


@case
def deleted_while_open():
    with open("a", "w+") as file:
        file.write("still here")
        file.flush()
        os.unlink("a")
        left = os.listdir()
        file.seek(0)
        return [left, file.read(), os.fstat(file.fileno()).st_nlink]


@case
def mapped():
    Path("a").write_bytes(b"\0" * 10_000)
    with open("a", "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
        shared[5_000:5_005] = b"hello"
        shared.flush()
        seen = Path("a").read_bytes()[5_000:5_005].decode()
        file.seek(5_000)
        file.write(b"HELLO")
        file.flush()
        return [seen, shared[5_000:5_005].decode()]


@case
def mapped_while_appended():
    with open("a", "a+b") as file:
        file.write(b"0" * 5_000)
        file.flush()
        shared = mmap.mmap(file.fileno(), 0)
        shared[0:5] = b"hello"
        seen = os.pread(file.fileno(), 5, 0).decode()
        file.write(b"the end")
        file.flush()
        shared.flush()
    content = Path("a").read_bytes()
    return [seen, len(content), content[:5].decode(), content[-7:].decode()]


@case
def executed():
    Path("run").write_text("#!/bin/sh\necho ran\n")
    os.chmod("run", 0o755)
    return os.popen("./run").read()


@case
def attributes():
    Path("a").touch()
    os.setxattr("a", "user.colour", b"green")
    os.setxattr("a", "user.size", b"x" * 2000)
    seen = [sorted(name for name in os.listxattr("a") if name.startswith("user.")),
            os.getxattr("a", "user.colour").decode(), len(os.getxattr("a", "user.size"))]
    os.removexattr("a", "user.colour")
    return [*seen, refused(os.getxattr, "a", "user.colour"),
            refused(os.setxattr, "a", "user.size", b"y", os.XATTR_CREATE)]


@case
def directories():
    for index in range(3000):
        os.close(os.open(f"file-{index:04d}", os.O_CREAT | os.O_WRONLY))
    os.mkdir("d")
    names = os.listdir()
    kinds = {entry.name: entry.is_dir() for entry in os.scandir()}
    count = os.stat(".").st_nlink
    return [len(names), len(set(names)), sum(kinds.values()), refused(os.rmdir, "."), count,
            refused(os.mkdir, "d"), refused(os.unlink, "d"), refused(os.rmdir, "file-0001")]


@case
def special_files():
    os.mkfifo("p", 0o622)
    writer = threading.Thread(target=lambda: Path("p").write_text("through the pipe"))
    writer.start()
    said = Path("p").read_text()
    writer.join()
    return [said, stat.S_ISFIFO(os.stat("p").st_mode), os.stat("p").st_mode & 0o777]


@case
def locks():
    with open("a", "w") as one, open("a", "w") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        busy = refused(fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(one, fcntl.LOCK_EX)
        return busy


@case
def reserved():
    with open("a", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 100_000)
        copied = os.stat("a").st_blocks * 512 >= 100_000
    Path("b").write_bytes(b"0123456789")
    with open("b", "rb") as source, open("c", "wb") as target:
        return [os.stat("a").st_size, copied, os.copy_file_range(source.fileno(), target.fileno(), 5, 2)]


@case
def exclusive():
    os.close(os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return [refused(os.open, "a", os.O_CREAT | os.O_EXCL), refused(os.open, "a/b", os.O_RDONLY),
            refused(os.open, "n" * 256, os.O_CREAT), refused(os.open, "gone", os.O_RDONLY)]


@case
def permissions():
    os.mkdir("closed", 0o000)
    Path("a").write_text("x")
    os.chmod("a", 0o000)
    seen = [refused(os.listdir, "closed"), refused(os.open, "a", os.O_RDONLY), os.access("a", os.W_OK)]
    os.chmod("closed", 0o700)
    return seen


@case
def space():
    return os.statvfs(".").f_bsize > 0 and os.statvfs(".").f_blocks > 0


@case
def by_many_at_once():
    def work(index):
        for turn in range(40):
            name = f"{index}-{turn}"
            Path(name).write_text(name)
            os.rename(name, f"{name}.done")
            assert Path(f"{name}.done").read_text() == name

    workers = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(os.listdir())


print(json.dumps(found))
