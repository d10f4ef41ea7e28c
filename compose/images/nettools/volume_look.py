"""Tries an operation on a volume in a container's own view, and tells whether it meets what an injection of
``files.py`` says. What is tried is chosen so that no data of others changes: what is there is looked at, and what is
written, renamed or deleted is a file of its own. Standard library only.
"""

import contextlib
import errno
import os
import time
from pathlib import Path

import mounts
from files import ROOT_DESCRIPTOR, Rule, first_process, server_of

OWN = ".testbed-io"
MOST_LOOKED_AT = 2000  # files of the volume, in search of one that matches


def seen(question):
    """See faults/io_chaos.py."""
    answer = {"mounted": False, "method": "", "path": "", "tries": 0, "met": 0, "errno": 0, "took_s": 0.0}
    pid = first_process(question["container"])
    if not mounts.ours(pid, question["id"]):
        return answer
    answer["mounted"] = True
    view = Path(f"/proc/{pid}/root{mounts.place(pid, question['volume'])}")
    rule = Rule({**question, "percent": 100})
    with contextlib.closing(Below(question["id"])) as below:
        chosen = choose(rule, below, view)
        if chosen is None:
            return answer
        method, path, act = chosen
        answer |= {"method": method, "path": question["volume"] + path}
        until = time.monotonic() + question["for_s"]
        while not answer["tries"] or (not answer["met"] and time.monotonic() < until):
            below.tidy()
            _try(act, question, answer)
        below.tidy()
    return answer


def _try(act, question, answer):
    began, number = time.monotonic(), 0
    try:
        act()
    except OSError as error:
        number = error.errno
    took_s = time.monotonic() - began
    answer["tries"] += 1
    if (number == question["errno"]) if question["errno"] else took_s * 1e9 >= question["delay_ns"]:
        answer.update(met=answer["met"] + 1, errno=number, took_s=took_s)


class Below:
    """The volume itself, under what is mounted over it: got from the process that serves it."""

    def __init__(self, injection):
        self._root = os.open(f"/proc/{server_of(injection)[0]}/fd/{ROOT_DESCRIPTOR}", os.O_RDONLY | os.O_DIRECTORY)
        self.path = Path(f"/proc/self/fd/{self._root}")
        self.writable = not os.fstatvfs(self._root).f_flag & os.ST_RDONLY
        self.own = f"/{OWN}-{injection[-12:]}"

    def files(self):
        """(path from the volume's root, its entry), not in the order of anything."""
        folders, count = [""], 0
        while folders:
            folder = folders.pop()
            with contextlib.suppress(OSError), os.scandir(f"{self.path}/{folder}") as entries:
                for entry in entries:
                    count += 1
                    if count > MOST_LOOKED_AT:
                        return
                    yield f"{folder}/{entry.name}", entry
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{folder}/{entry.name}")

    def tidy(self):
        """Takes its own files away."""
        for path in (self.own, f"{self.own}-2"):
            try:
                os.unlink(f"{self.path}{path}")
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                os.rmdir(f"{self.path}{path}")

    def make(self):
        Path(f"{self.path}{self.own}").write_text("testbed\n")

    def close(self):
        os.close(self._root)


def choose(rule, below, view):
    """(method, path, act) of something that meets the rule and harms nothing; None when there is none."""
    own_target = f"{view}{below.own}"
    for method, act in _of_the_root(view).items():
        if rule.concerns(method, b""):
            return method, "", act
    for method, (needs_file, act) in _of_own(own_target).items() if below.writable else ():
        if rule.concerns(method, os.fsencode(below.own)):
            return method, below.own, _with_file(below, act) if needs_file else act
    for path, entry in below.files():
        for method, act in _of_what_is_there(f"{view}{path}", entry).items():
            if rule.concerns(method, os.fsencode(path)):
                return method, path, act
    return None


def _of_the_root(view):
    return {"statfs": lambda: os.statvfs(view), "opendir": lambda: os.listdir(view),
            "readdir": lambda: os.listdir(view), "getattr": lambda: os.stat(view),
            "listxattr": lambda: os.listxattr(view), "getxattr": lambda: _getxattr(view)}


def _of_what_is_there(path, entry):
    acts = {"lookup": lambda: os.lstat(path), "getattr": lambda: os.lstat(path),
            "listxattr": lambda: os.listxattr(path, follow_symlinks=False), "getxattr": lambda: _getxattr(path)}
    if entry.is_file(follow_symlinks=False):
        acts |= {"open": lambda: _opened(path, os.O_RDONLY), "flush": lambda: _opened(path, os.O_RDONLY),
                 "read": lambda: _opened(path, os.O_RDONLY, lambda handle: os.pread(handle, 1, 0)),
                 "fsync": lambda: _opened(path, os.O_RDONLY, os.fsync)}
    elif entry.is_dir(follow_symlinks=False):
        acts |= {"opendir": lambda: os.listdir(path), "readdir": lambda: os.listdir(path)}
    elif entry.is_symlink():
        acts["readlink"] = lambda: os.readlink(path)
    return acts


def _of_own(path):
    """(whether it needs the file to be there, act)."""
    other = f"{path}-2"
    return {
        "lookup": (True, lambda: os.lstat(path)), "open": (True, lambda: _opened(path, os.O_RDONLY)),
        "read": (True, lambda: _opened(path, os.O_RDONLY, lambda handle: os.pread(handle, 1, 0))),
        "write": (True, lambda: _opened(path, os.O_WRONLY, lambda handle: os.pwrite(handle, b"x", 0))),
        "flush": (True, lambda: _opened(path, os.O_RDONLY)),
        "fsync": (True, lambda: _opened(path, os.O_RDONLY, os.fsync)),
        "create": (False, lambda: _opened(path, os.O_WRONLY | os.O_CREAT)),
        "setattr": (True, lambda: os.chmod(path, 0o600)), "unlink": (True, lambda: os.unlink(path)),
        "rename": (True, lambda: os.rename(path, other)), "link": (True, lambda: os.link(path, other)),
        "symlink": (False, lambda: os.symlink("nowhere", path)), "mkdir": (False, lambda: os.mkdir(path)),
        "mknod": (False, lambda: os.mkfifo(path)), "rmdir": (False, lambda: _made_and_removed(path)),
        "readlink": (False, lambda: _symlink_read(path)), "fsyncdir": (False, lambda: _synced_directory(path)),
        "setxattr": (True, lambda: os.setxattr(path, "user.testbed", b"x")),
        "removexattr": (True, lambda: os.removexattr(path, "user.testbed")),
    }


def _with_file(below, act):
    def acted():
        below.make()
        act()

    return acted


def _opened(path, flags, act=lambda handle: None):
    handle = os.open(path, flags)
    try:
        act(handle)
    finally:
        os.close(handle)


def _made_and_removed(path):
    os.mkdir(path)
    os.rmdir(path)


def _symlink_read(path):
    os.symlink("nowhere", path)
    os.readlink(path)


def _synced_directory(path):
    os.mkdir(path)
    _opened(path, os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def _getxattr(path):
    """Most files have none of this name, which is as good an answer."""
    try:
        os.getxattr(path, "user.testbed", follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
