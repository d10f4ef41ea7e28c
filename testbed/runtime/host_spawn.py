"""Starts a program inside another process's namespaces, as that container would run it itself.

Decides the order in which namespaces, cgroups, user, groups, capabilities and no-new-privileges are taken over. The
caller (``host_helper``) waits, limits and kills. Runs in a small process without threads, because it forks. The
container's seccomp filter cannot be read back by anyone, so it is not taken over.

Sources: setns(2), capabilities(7), prctl(2); opencontainers/runc libcontainer/setns_init_linux.go for the order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import HostError
from testbed.runtime.host_acts import HostActs, cgroup_lines

#: Entered in this order: mnt last, because afterwards the host's files are out of reach.
NAMESPACES = {"cgroup": 0x02000000, "ipc": 0x08000000, "uts": 0x04000000, "net": 0x40000000, "pid": 0x20000000,
              "mnt": 0x00020000}
_PR_SET_PDEATHSIG, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 23, 24, 8, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """``namespaces``: of process ``pid`` to enter. ``as_container``: take over identity, cgroups and environment
    too. ``merge``: stderr goes where stdout goes."""

    argv: tuple[str, ...]
    pid: int = 0
    ticks: int = 0
    namespaces: tuple[str, ...] = ()
    as_container: bool = False
    env: dict[str, str] | None = None
    stdin: bytes = b""
    merge: bool = False


@dataclass
class Started:
    """``pid``: our child, to be waited for. ``report``: carries the program's own pid, or why it could not run."""

    pid: int
    stdout: int
    stderr: int
    report: int


@dataclass
class _Identity:
    uids: list[int] = field(default_factory=list)
    gids: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    capabilities: dict[str, int] = field(default_factory=dict)
    no_new_privileges: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    cgroup_files: list[Path] = field(default_factory=list)


def spawn(acts: HostActs, program: Program, cgroup_root: str) -> Started:
    """Everything about the target is read and opened first, then the guard looks: so a recycled pid is found out.

    Raises: NotOurs, HostError.
    """
    handles: list[tuple[int, int]] = []
    identity: _Identity | None = None
    try:
        if program.pid:
            handles = _open_namespaces(program)
            identity = _identity_of(program.pid, cgroup_root) if program.as_container else None
            acts.guard_process(program.pid, program.ticks)
            _refuse_own_network(program)
        return _fork(program, handles, identity)
    except OSError as error:
        raise HostError(f"{program.argv[0]} could not be run: {error}") from error
    finally:
        for handle, _ in handles:
            os.close(handle)


def _open_namespaces(program: Program) -> list[tuple[int, int]]:
    unknown = set(program.namespaces) - set(NAMESPACES)
    if unknown:
        raise HostError(f"there is no namespace {', '.join(sorted(unknown))}")
    wanted = [(name, flag) for name, flag in NAMESPACES.items() if name in program.namespaces]
    return [(os.open(f"/proc/{program.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag) for name, flag in wanted]


def _refuse_own_network(program: Program) -> None:
    """A container that shares the host's network is not a place to change networks in."""
    if "net" not in program.namespaces or program.as_container:
        return
    if Path(f"/proc/{program.pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
        raise HostError(f"process {program.pid} is in the host's own network: left alone")


def _identity_of(pid: int, cgroup_root: str) -> _Identity:
    status = dict(
        (line.split(":", 1)[0], line.split(":", 1)[1].split())
        for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return _Identity(
        uids=[int(number) for number in status["Uid"]], gids=[int(number) for number in status["Gid"]],
        groups=[int(number) for number in status.get("Groups", [])],
        capabilities={name: int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        no_new_privileges=status.get("NoNewPrivs") == ["1"],
        environment=dict(
            pair.decode(errors="surrogateescape").split("=", 1) for pair in environment if b"=" in pair
        ),
        directory=str(Path(f"/proc/{pid}/cwd").readlink()),
        cgroup_files=list(_cgroup_files(pid, Path(cgroup_root))),
    )


def _cgroup_files(pid: int, root: Path) -> Iterator[Path]:
    unified = (root / "cgroup.controllers").exists()
    for controllers, path in cgroup_lines(pid):
        if unified and not controllers:
            yield root / path.strip("/") / "cgroup.procs"
        elif not unified:
            name = controllers.removeprefix("name=") or "unified"
            candidates = [root / name, *(root / part for part in name.split(","))]
            found = next((place for place in candidates if place.is_dir()), None)
            if found is not None:
                yield found / path.strip("/") / "cgroup.procs"


# --- children


def _fork(program: Program, handles: list[tuple[int, int]], identity: _Identity | None) -> Started:
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    stdin = _stdin(program.stdin)
    child = os.fork()
    if not child:
        _in_child(report_write, lambda: _enter_and_run(
            program, handles, identity, stdin, out_write, out_write if program.merge else err_write, report_write
        ))
    for handle in (out_write, err_write, report_write, stdin):
        os.close(handle)
    return Started(child, out_read, err_read, report_read)


def _stdin(data: bytes) -> int:
    if not data:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    handle = os.memfd_create("stdin", os.MFD_CLOEXEC)
    os.write(handle, data)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _in_child(report: int, work: Callable[[], None]) -> None:
    """Nothing comes back from a forked child: it becomes the program, or says why not and ends."""
    try:
        work()
    except BaseException as error:
        with contextlib.suppress(OSError):
            said = error.strerror if isinstance(error, OSError) else str(error)
            os.write(report, f"error {said}".encode(errors="replace"))
    finally:
        os._exit(127)


def _enter_and_run(
    program: Program, handles: list[tuple[int, int]], identity: _Identity | None, stdin: int, out: int, err: int,
    report: int,
) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    for cgroup_file in identity.cgroup_files if identity else ():
        _join(cgroup_file)
    for handle, flag in handles:
        if _libc.setns(handle, flag) != 0:
            raise OSError(ctypes.get_errno(), "namespace cannot be entered: " + os.strerror(ctypes.get_errno()))
    if "pid" in program.namespaces:
        # Only a child of the one that entered lives in the new pid namespace.
        inner = os.fork()
        if inner:
            os.write(report, f"pid {inner}\n".encode())
            os.close(report)
            _, status = os.waitpid(inner, 0)
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        os.setsid()
    else:
        os.write(report, f"pid {os.getpid()}\n".encode())
    for source, target in ((stdin, 0), (out, 1), (err, 2)):
        os.dup2(source, target, inheritable=True)
    if identity:
        os.chdir(identity.directory)
        _become(identity)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has cleared it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    environment = dict(identity.environment if identity and program.env is None else program.env or os.environ)
    try:
        os.execvpe(program.argv[0], list(program.argv), environment)
    except OSError as error:
        raise OSError(error.errno, f"{program.argv[0]} could not be run: {error.strerror}") from error


def _join(cgroup_file: Path) -> None:
    """A hierarchy that cannot be joined (its controller is not delegated, the group is going) must not fail a probe
    whose main process lives on: the freezer's and memory's are the ones that count."""
    try:
        cgroup_file.write_text("0")
    except OSError as error:
        if any(part in ("freezer", "memory") for part in cgroup_file.parts):
            raise OSError(error.errno, f"the container's cgroup cannot be joined: {error.strerror}") from error


def _become(identity: _Identity) -> None:
    """User, groups and capabilities of the target, as capabilities(7) lets one give them away."""
    capabilities = identity.capabilities
    for number in range(64):
        held = _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if held == 1 and not capabilities["CapBnd"] >> number & 1:
            _prctl(_PR_CAPBSET_DROP, number)
    os.setgroups(identity.groups)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresgid(*identity.gids[:3])
    os.setresuid(*identity.uids[:3])
    _prctl(_PR_SET_KEEPCAPS, 0)
    _capset(capabilities["CapEff"], capabilities["CapPrm"], capabilities["CapInh"])
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(64):
        if capabilities["CapAmb"] >> number & 1:
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
    if identity.no_new_privileges:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _capset(effective: int, permitted: int, inheritable: int) -> None:
    low = 0xFFFFFFFF
    header = struct.pack("=II", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32,
                       inheritable >> 32)
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be taken over: " + os.strerror(ctypes.get_errno()))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")
