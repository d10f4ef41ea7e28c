"""The small process that forks for a Host, and does its acts when the Host's own process is not root.

It reads one JSON request a line and writes one JSON answer a line (``id`` joins them), on standard input and output,
until its input ends. It runs beside its owner (root) or in a labelled container (not root); in both it is started by
``BOOTSTRAP`` with the sources of ``MODULES``, so it needs Python's standard library only.

It decides when a spawned program is over, and kills what outlives its deadline, group and all.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.errors import HostError
from testbed.runtime.host_acts import HostActs, NotOurs
from testbed.runtime.host_spawn import Program, Started, spawn

MODULES = ("testbed.errors", "testbed.runtime.host_acts", "testbed.runtime.host_spawn", "testbed.runtime.host_helper")

#: Reads the sources (one JSON line) and becomes the helper. ``readline`` on the raw file: nothing may be read ahead.
BOOTSTRAP = """
import sys, json, types
line = sys.stdin.buffer.raw.readline()
for package in ("testbed", "testbed.runtime"):
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = []
request = json.loads(line)
for name, source in request["modules"]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules["testbed.runtime.host_helper"].serve(request["instance"], request["cgroup_root"])
"""

_CHUNK = 65536
_ACTS = ("signal", "create_cgroup", "remove_cgroup", "join_cgroup", "freeze", "thaw", "kill_step", "allow")


@dataclass
class _Running:
    """A spawned program. ``inner``: its own pid (the leader of its group), once known."""

    request: int
    started: Started
    ends: int  # pidfd of our child
    deadline: float
    limit: int
    inner: int = 0
    failure: str = ""
    report: bytes = b""
    output: dict[int, bytearray] = field(default_factory=dict)


def serve(instance_id: str, cgroup_root: str) -> None:
    """Until standard input ends."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    _enter_host_cgroup_view()
    HelperServer(HostActs(instance_id, cgroup_root), cgroup_root, source, sink).run()


def _enter_host_cgroup_view() -> None:
    """In a container with a cgroup namespace of its own, paths would be relative to that."""
    with contextlib.suppress(OSError):
        handle = os.open("/proc/1/ns/cgroup", os.O_RDONLY)
        ctypes.CDLL(None).setns(handle, 0x02000000)
        os.close(handle)


class HelperServer:
    def __init__(self, acts: HostActs, cgroup_root: str, source: int, sink: int) -> None:
        self._acts = acts
        self._cgroup_root = cgroup_root
        self._source = source
        self._sink = sink
        self._poll = select.poll()
        self._poll.register(source, select.POLLIN)
        self._buffer = b""
        self._programs: dict[int, _Running] = {}  # by each of its descriptors
        self._left: dict[int, int] = {}  # pidfd: pid of a killed child that has not ended yet (its group is frozen)

    def run(self) -> None:
        while True:
            ready = [handle for handle, _ in self._poll.poll(self._patience_ms())]
            # Requests last: they open descriptors, whose numbers earlier ones of this round may just have left.
            for handle in sorted(ready, key=lambda item: item == self._source):
                if handle == self._source:
                    data = os.read(self._source, _CHUNK)
                    if not data:
                        return
                    self._requests(data)
                elif handle in self._left:
                    self._reap_left(handle)
                elif handle in self._programs:
                    self._program_moved(self._programs[handle], handle)
            self._end_late_ones()

    # --- requests

    def _requests(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                self._do(int(request["id"]), request["op"], request["args"])
            except NotOurs as error:
                self._answer(request["id"], error=error.message, container=error.container, not_ours=True)
            except (HostError, OSError, TypeError) as error:
                self._answer(request["id"], error=str(error))

    def _do(self, number: int, operation: str, arguments: dict[str, Any]) -> None:
        if operation == "spawn":
            self._spawn(number, arguments)
        elif operation == "cancel":
            for running in {id(item): item for item in self._programs.values()}.values():
                if running.request == arguments["request"]:
                    self._kill(running, "cancelled")
        elif operation in _ACTS:
            self._answer(number, value=getattr(self._acts, operation)(**arguments))
        else:
            self._answer(number, error=f"there is no act {operation!r}")

    def _answer(self, number: int, **value: Any) -> None:
        data = json.dumps({"id": number} | value).encode() + b"\n"
        while data:
            data = data[os.write(self._sink, data) :]

    # --- programs

    def _spawn(self, number: int, arguments: dict[str, Any]) -> None:
        timeout_s, limit = float(arguments.pop("timeout_s")), int(arguments.pop("limit"))
        arguments["stdin"] = arguments["stdin"].encode("latin-1")
        arguments["argv"] = tuple(arguments["argv"])
        arguments["namespaces"] = tuple(arguments["namespaces"])
        started = spawn(self._acts, Program(**arguments), self._cgroup_root)
        running = _Running(number, started, os.pidfd_open(started.pid), time.monotonic() + timeout_s, limit)
        running.output = {started.stdout: bytearray(), started.stderr: bytearray()}
        for handle in _handles(running):
            os.set_blocking(handle, False)
            self._programs[handle] = running
            self._poll.register(handle, select.POLLIN)

    def _program_moved(self, running: _Running, handle: int) -> None:
        if handle == running.ends:
            self._finish(running)
        elif not self._read(running, handle):
            self._poll.unregister(handle)  # at its end; closed with the others

    def _read(self, running: _Running, handle: int) -> bool:
        """One piece; False at the end. Beyond the limit it is read, so that nobody blocks, and dropped."""
        try:
            data = os.read(handle, _CHUNK)
        except BlockingIOError:
            return True
        if handle == running.started.report:
            running.report += data
            for line in running.report.split(b"\n"):
                if line.startswith(b"pid ") and line[4:].isdigit():
                    running.inner = int(line[4:])
                elif line.startswith(b"error "):
                    running.failure = line[6:].decode(errors="replace")
        else:
            kept = running.output[handle]
            kept += data[: max(0, running.limit - len(kept))]
        return bool(data)

    def _finish(self, running: _Running) -> None:
        """Its child has ended; what is still in the pipes is taken, but a grandchild that keeps one open is not
        waited for."""
        for handle in (running.started.report, running.started.stdout, running.started.stderr):
            while select.select([handle], [], [], 0)[0] and self._read(running, handle):
                continue
        _, status = os.waitpid(running.started.pid, 0)
        self._close(running)
        if running.failure:
            self._answer(running.request, error=running.failure)
            return
        code = os.waitstatus_to_exitcode(status)
        self._answer(running.request, value={
            "exit_code": code if code >= 0 else 128 - code,
            "stdout": running.output[running.started.stdout].decode("latin-1"),
            "stderr": running.output[running.started.stderr].decode("latin-1"),
        })

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for running in {id(item): item for item in self._programs.values()}.values():
            if running.deadline <= now:
                self._kill(running, "timeout")

    def _kill(self, running: _Running, why: str) -> None:
        """The answer does not wait for the death: in a frozen group SIGKILL works only after the thaw."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if running.inner:
                os.killpg(running.inner, signal.SIGKILL)
            else:
                os.kill(running.started.pid, signal.SIGKILL)
        left = os.dup(running.ends)
        self._left[left] = running.started.pid
        self._poll.register(left, select.POLLIN)
        self._close(running)
        self._answer(running.request, error=why, late=True)

    def _reap_left(self, handle: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._left.pop(handle), 0)
        self._poll.unregister(handle)
        os.close(handle)

    def _close(self, running: _Running) -> None:
        for handle in _handles(running):
            self._programs.pop(handle, None)
            with contextlib.suppress(KeyError):
                self._poll.unregister(handle)
            os.close(handle)

    def _patience_ms(self) -> float | None:
        deadlines = [running.deadline for running in self._programs.values()]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None


def _handles(running: _Running) -> Iterator[int]:
    yield from (running.ends, running.started.stdout, running.started.stderr, running.started.report)


def sources() -> list[tuple[str, str]]:
    """Name and text of each module that the helper is made of."""
    here = Path(__file__).parent.parent
    return [(name, (here.parent / (name.replace(".", "/") + ".py")).read_text()) for name in MODULES]
