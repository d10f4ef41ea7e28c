"""Delays or fails operations on the files of a volume, by a FUSE file system over it that passes everything through:
plan has ``container`` (id), ``volume`` (path in it), ``path`` (pattern, or empty), ``methods`` (empty: all),
``percent``, ``delay_ns`` and ``errno`` (0: none).

Only who opens a file after the beginning meets it; a file opened before stays what it was. At the end those that were
opened meanwhile are opened again on the volume itself (``reopened.py``). Several on one volume lie over each other.
When this is killed, what is mounted answers ENOTCONN until ``clear``. Needs /dev/fuse, the container's pid namespace,
and the capabilities that ``mounts.py`` names, besides those of who may do everything with files. Standard library only.
"""

import contextlib
import errno
import fnmatch
import heapq
import json
import os
import random
import re
import resource
import select
import sys
import time
from pathlib import Path

import fuse_wire as wire
import mounts
import reopened
from members import ENDED, belongs, is_holder, processes
from passthrough import Passthrough

ROOT_DESCRIPTOR = 100  # of the volume as it is below, for those who look at this process
COUNTED_AS = {"rename2": "rename", "fallocate": "write", "copy_file_range": "write"}


def hold(plan, ready, over):
    pid = first_process(plan["container"])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0)
    device = wire.Device(os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK))
    with mounts.alone(pid):
        below, others = mounts.volume(pid, plan["volume"])
        held = [server_of(injection) for injection in others]
        root = os.open(f"/proc/{held[0][0]}/fd/{ROOT_DESCRIPTOR}" if held else f"/proc/{pid}/root{below.point}",
                       os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(root, ROOT_DESCRIPTOR, inheritable=False)
        rules = {None: Rule(plan)} | {os.pidfd_open(server): Rule(other) for server, other in reversed(held)}
        server = Server(device, Passthrough(ROOT_DESCRIPTOR), rules)
        mounts.mount_fuse(pid, below, device.descriptor, plan["id"], os.fstat(root).st_mode)
    server.serve(over, lambda: ready(f"a FUSE file system over {plan['volume']}"))
    server.let_be()
    child = os.fork()
    if child == 0:  # this process must go on answering what the other does
        os.close(device.descriptor)
        os._exit(_cleared(plan))
    ended = os.pidfd_open(child)
    server.serve_until(ended)
    os.close(ended)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(errno.EBUSY, f"what is over {plan['volume']} could not be taken away")


def server_of(injection):
    """(process, plan) of what serves an injection's file system. Raises: Unfit when nothing does."""
    for pid in processes():
        with contextlib.suppress(OSError, ValueError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
            plan = json.loads(words[-1]) if words[-3:-1] == ["hold", "files"] and is_holder(pid) else {}
            if plan.get("id") == injection:
                return pid, plan
    raise mounts.Unfit("what an injection left whose holder was killed must be cleared first")


def _cleared(plan):
    try:
        clear(plan)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def clear(plan):
    try:
        pid = first_process(plan["container"])
        with mounts.alone(pid):
            gone = mounts.ours(pid, plan["id"])
            mounts.unmount(pid, plan["id"])
    except ENDED:
        return
    for mount in gone:
        reopened.give_back(plan["container"], mount, mount.point)


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


def _acts_for_us(thread):
    """Whether another injection that ends has a thread open its files again."""
    try:
        tracer = re.search(r"TracerPid:\t(\d+)", Path(f"/proc/{thread}/status").read_text())[1]
        return tracer != "0" and "/opt/testbed/hold.py" in Path(f"/proc/{tracer}/cmdline").read_text()
    except (OSError, TypeError):
        return False


class Server:
    """Answers the kernel, at once or late. ``rules``: by a descriptor that becomes readable when the rule has ended.

    Where several injections are on one volume, the last one serves the volume itself, by the rules of all: so those
    below it can go before it does. Of several errors the newest rule's counts.
    """

    def __init__(self, device, system, rules):
        self._device, self._system, self._rules = device, system, rules
        self._late = []  # (when, in which order, request, error)
        self._order = 0

    def serve(self, over, begun):
        """Until it is over. ``begun`` is called when the kernel has asked for the first time."""
        poll = select.poll()
        for one in (self._device.fileno(), over.fileno(), *(rule for rule in self._rules if rule is not None)):
            poll.register(one, select.POLLIN)
        while not over():
            came = [descriptor for descriptor, _ in poll.poll(self._wait_ms(over))]
            for ended in self._rules.keys() & set(came):
                poll.unregister(ended)
                del self._rules[ended]
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

    def let_be(self):
        """From now on nothing meets anything, and what waits is answered."""
        self._rules = {}
        self._answer_due(float("inf"))

    def serve_until(self, ended):
        """``ended``: a descriptor that becomes readable when nothing more will be asked."""
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while ended not in (ready := [descriptor for descriptor, _ in poll.poll()]):
            try:
                request = self._device.receive()
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
                poll.unregister(self._device)  # nobody has anything open in it
                continue
            if request is not None and ready:
                self._take(request)

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
        else:
            self._meet(request)

    def _meet(self, request):
        paths = self._system.paths(request)
        met = [rule for rule in self._rules.values() if rule.met(request.method, paths)]
        if met and _acts_for_us(request.pid):
            met = []
        late_s, number = sum(rule.delay_s for rule in met), next((rule.errno for rule in met if rule.errno), 0)
        if late_s:
            self._order += 1
            heapq.heappush(self._late, (time.monotonic() + late_s, self._order, request, number))
        elif number:
            self._device.refuse(request, number)
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
            request, number = heapq.heappop(self._late)[2:]
            if number:
                self._device.refuse(request, number)
            else:
                self._answer(request)

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
