"""Delays or fails operations on the files of a volume, by a FUSE file system over it that passes everything through:
plan has ``container`` (id), ``volume`` (path in it), ``path`` (pattern, or empty), ``methods`` (empty: all),
``percent``, ``delay_ns`` and ``errno`` (0: none).

Only who opens a file after the beginning meets it; a file opened before stays what it was. When this is killed, what
is mounted answers ENOTCONN until ``clear``. Needs /dev/fuse, the container's pid namespace, and the capabilities that
``mounts.py`` names, besides those of who may do everything with files. Standard library only.
"""

import errno
import fnmatch
import heapq
import os
import random
import re
import resource
import select
import time

import fuse_wire as wire
import mounts
from members import ENDED, belongs, processes
from passthrough import Passthrough

ROOT_DESCRIPTOR = 100  # of the volume as it is below, for those who look at this process
COUNTED_AS = {"rename2": "rename", "fallocate": "write", "copy_file_range": "write"}


def hold(plan, ready, over):
    pid = first_process(plan["container"])
    below = mounts.volume(pid, plan["volume"])
    if below.source.startswith(mounts.NAME):
        raise mounts.Unfit(f"another injection has {plan['volume']} already")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    root = os.open(f"/proc/{pid}/root{plan['volume']}", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(root, ROOT_DESCRIPTOR, inheritable=False)
    device = wire.Device(os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK))
    os.umask(0)
    server = Server(device, Passthrough(ROOT_DESCRIPTOR), Rule(plan))
    mounts.mount_fuse(pid, below, device.descriptor, plan["id"], os.fstat(root).st_mode)
    server.serve(over, lambda: ready(f"a FUSE file system over {plan['volume']}"))
    clear(plan)
    server.finish()


def clear(plan):
    try:
        mounts.unmount(first_process(plan["container"]), plan["id"])
    except ENDED:
        return


def first_process(container):
    """Raises: ProcessLookupError."""
    for pid in sorted(processes()):
        if belongs(pid, {"containers": [container]}):
            return pid
    raise ProcessLookupError(f"container {container[:12]} has no process")


class Rule:
    """Which operations meet what."""

    def __init__(self, plan):
        self.delay_s, self.errno, self.share = plan["delay_ns"] / 1e9, plan["errno"], plan["percent"] / 100
        self._methods = frozenset(plan["methods"])
        self._volume = os.fsencode(plan["volume"])
        self._matches = pattern(plan["path"]) if plan["path"] else None
        self._draw = random.Random(plan["id"])

    def concerns(self, method, path):
        """``path``: from the volume's root, with a slash before it; empty: the root itself."""
        if self._methods and COUNTED_AS.get(method, method) not in self._methods:
            return False
        return self._matches is None or bool(self._matches(self._volume + path))

    def met(self, method, paths):
        return any(self.concerns(method, path) for path in paths) and (
            self.share >= 1 or self._draw.random() < self.share)


def pattern(text):
    """Whether a path matches: ``*`` and ``?`` stand for slashes too, ``**/`` for any directories or none (as in the
    glob crate with which chaos-mesh's toda matches)."""
    parts = [fnmatch.translate(part)[4:-3] for part in text.split("**/")]  # without its (?s: and )\Z
    return re.compile(os.fsencode("(?s:" + "(?:.*/)?".join(parts) + r")\Z")).match


class Server:
    """Answers the kernel, at once or late."""

    def __init__(self, device, system, rule):
        self._device, self._system, self._rule = device, system, rule
        self._late = []  # (when, in which order, request)
        self._order = 0

    def serve(self, over, begun):
        """Until it is over. ``begun`` is called when the kernel has asked for the first time."""
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(over, select.POLLIN)
        while not over():
            poll.poll(self._wait_ms(over))
            self._answer_due(time.monotonic())
            request = self._device.receive()
            if request is None:
                continue
            if request.method == "init":
                self._device.start(request)
                self._system.direct = self._device.direct
                begun()
            else:
                self._take(request)

    def finish(self):
        """Answers all that wait, when nothing more is asked by name."""
        self._rule = None
        self._answer_due(float("inf"))
        try:
            while request := self._device.receive():
                self._take(request)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _wait_ms(self, over):
        left_s = min(over.left_s(), 3600.0)
        if self._late:
            left_s = min(left_s, self._late[0][0] - time.monotonic())
        return max(0, left_s * 1000)

    def _take(self, request):
        if request.method == "interrupt":
            self._answer_given_up(request.fields[0])
        elif request.method in wire.UNANSWERED:
            if request.method != "destroy":
                getattr(self._system, request.method)(request)
        elif self._rule is not None and self._rule.met(request.method, self._system.paths(request)):
            if self._rule.delay_s:
                self._order += 1
                heapq.heappush(self._late, (time.monotonic() + self._rule.delay_s, self._order, request))
            else:
                self._device.refuse(request, self._rule.errno)
        else:
            self._answer(request)

    def _answer_given_up(self, unique):
        for item in self._late:
            if item[2].unique == unique:
                self._late.remove(item)
                heapq.heapify(self._late)
                self._device.refuse(item[2], errno.EINTR)
                return

    def _answer_due(self, now):
        while self._late and self._late[0][0] <= now:
            self._answer(heapq.heappop(self._late)[2])

    def _answer(self, request):
        try:
            content = getattr(self._system, request.method or "_")(request)
        except OSError as error:
            self._device.refuse(request, error.errno or errno.EIO)
        except AttributeError:
            self._device.refuse(request, errno.ENOSYS)
        except (KeyError, ValueError):
            self._device.refuse(request, errno.ESTALE)
        else:
            self._device.answer(request, content)
