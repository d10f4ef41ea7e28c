"""This machine's processes, cgroups and namespaces, behind ``Host``.

Decides where an act is done (in this process when root, else through the helper), waits until it has taken effect,
and says whether a container that lies outside the instance's cgroup is ours (the engine's labels tell). The acts and
their guard are ``host_acts``; programs in other namespaces are ``host_spawn``, run by the helper process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from testbed.api import labels
from testbed.errors import EngineError, EngineUnavailable, HostError
from testbed.runtime.cgroup_usage import read_interfaces, read_usage
from testbed.runtime.containers import ExecResult
from testbed.runtime.host_acts import HostActs, NotOurs
from testbed.runtime.host_channel import ContainerTransport, HelperChannel, LocalTransport
from testbed.runtime.host_protocol import ProcessIdentity, RunResult
from testbed.runtime.protocol import Engine
from testbed.runtime.usage import GroupUsage, InterfaceUsage

Result = TypeVar("Result")

_FREEZE_S = 5.0
_THAW_S = 0.2
_KILL_S = 10.0
_REMOVE_S = 5.0
_POLL_S = 0.002
_SLACK_S = 1.0
_RUN_LIMIT_BYTES = 1 << 20
_CONTAINER_NAMESPACES = ("cgroup", "ipc", "uts", "net", "pid", "mnt")
_TOOLS = ("ip", "nft", "tc", "iptables")
_CAP_SYS_ADMIN, _CAP_NET_ADMIN, _CAP_KILL = 21, 12, 5


def open_host(instance_id: str, engine: Engine) -> LinuxHost:
    return LinuxHost(instance_id, engine, in_process=may_act_in_process())


def may_act_in_process() -> bool:
    """Root, with the capabilities that signals, namespaces and cgroups need."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            needed = (_CAP_SYS_ADMIN, _CAP_NET_ADMIN, _CAP_KILL)
            return os.geteuid() == 0 and all(held >> number & 1 for number in needed)
    return False


class LinuxHost:
    """Reading needs no privilege and is always done in process; acting is, when ``in_process``."""

    def __init__(self, instance_id: str, engine: Engine, *, in_process: bool) -> None:
        self._instance_id = instance_id
        self._engine = engine
        self._in_process = in_process
        self._acts = HostActs(instance_id)
        transport = LocalTransport() if in_process else ContainerTransport(instance_id, engine)
        self._channel = HelperChannel(instance_id, transport)

    # --- processes

    async def identify(self, pid: int) -> ProcessIdentity:
        return ProcessIdentity(pid, self._acts.identify(pid))

    async def alive(self, process: ProcessIdentity) -> bool:
        return self._acts.alive(process.pid, process.start_ticks)

    async def wait_exit(self, process: ProcessIdentity) -> int:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return time.monotonic_ns()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()
        try:
            if not self._acts.alive(process.pid, process.start_ticks):
                return time.monotonic_ns()
            loop.add_reader(handle, _note, ended)
            return await ended
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    async def signal(self, process: ProcessIdentity, signal: int) -> None:
        await self._act("signal", pid=process.pid, ticks=process.start_ticks, number=signal)

    async def cgroup_of(self, process: ProcessIdentity) -> str:
        return self._acts.cgroup_of(process.pid, process.start_ticks)

    async def numbers_of(self, pid: int) -> tuple[int, ...]:
        return self._acts.numbers_of(pid)

    # --- cgroups

    async def pids_in(self, cgroup: str) -> tuple[int, ...]:
        return tuple(await self._look(self._acts.pids_in, cgroup))

    async def memory_in(self, cgroup: str) -> int:
        return await self._look(self._acts.memory_in, cgroup)

    async def usage_in(self, cgroup: str) -> GroupUsage:
        return await self._look(self._usage_in, cgroup)

    def _usage_in(self, cgroup: str) -> GroupUsage:
        for path in self._acts.spellings(cgroup):
            found = read_usage(self._acts.root, path, unified=self._acts.unified)
            if found is not None:
                return found
        raise HostError(f"there is no cgroup {cgroup}")

    async def interfaces_of(self, process: ProcessIdentity) -> tuple[InterfaceUsage, ...]:
        return read_interfaces(process.pid)

    async def create_cgroup(self, cgroup: str) -> None:
        await self._act("create_cgroup", cgroup=cgroup)

    async def remove_cgroup(self, cgroup: str) -> None:
        await self._until("remove_cgroup", cgroup, _REMOVE_S, "removed: something is still in it")

    async def join_cgroup(self, cgroup: str, pid: int) -> None:
        await self._act("join_cgroup", cgroup=cgroup, pid=pid)

    async def freeze(self, cgroup: str) -> None:
        await self._until("freeze", cgroup, _FREEZE_S, "frozen: a process in it does not stop")

    async def thaw(self, cgroup: str) -> None:
        await self._act("thaw", cgroup=cgroup)
        with contextlib.suppress(HostError):  # a group above is frozen still and keeps this one so: our part is done
            await self._poll(lambda: self._is_thawed(cgroup), _THAW_S, "")

    async def _is_thawed(self, cgroup: str) -> bool:
        return not await self.frozen(cgroup)

    async def frozen(self, cgroup: str) -> bool:
        return await self._look(self._acts.frozen, cgroup)

    async def kill_cgroup(self, cgroup: str) -> None:
        async def emptied() -> bool:
            return not await self._act("kill_step", cgroup=cgroup)

        await self._poll(emptied, _KILL_S, f"cgroup {cgroup} cannot be emptied")

    async def _until(self, act: str, cgroup: str, deadline_s: float, failure: str) -> None:
        async def done() -> bool:
            return bool(await self._act(act, cgroup=cgroup))

        await self._poll(done, deadline_s, f"cgroup {cgroup} cannot be {failure}")

    async def _poll(self, done: Callable[[], Awaitable[bool]], deadline_s: float, failure: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        while not await done():
            if loop.time() > deadline:
                raise HostError(failure)
            await asyncio.sleep(_POLL_S)

    # --- programs

    async def run_in(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, namespaces: tuple[str, ...] = ("net",),
        stdin: bytes = b"", timeout_s: float = 5.0,
    ) -> RunResult:
        answer = await self._spawn(
            argv, timeout_s, _RUN_LIMIT_BYTES, pid=process.pid, ticks=process.start_ticks, namespaces=namespaces,
            stdin=stdin.decode("latin-1"),
        )
        return _run_result(answer)

    async def exec_in_container(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None,
        timeout_s: float, limit_bytes: int = 10240,
    ) -> ExecResult:
        timeout_s = await self._while_frozen(process, argv, timeout_s)
        answer = await self._spawn(
            argv, timeout_s, limit_bytes, pid=process.pid, ticks=process.start_ticks,
            namespaces=_CONTAINER_NAMESPACES, as_container=True, merge=True,
            env=None if env is None else dict(env),
        )
        return ExecResult(exit_code=int(answer["exit_code"]), output=answer["stdout"].encode("latin-1"))

    async def _while_frozen(self, process: ProcessIdentity, argv: tuple[str, ...], timeout_s: float) -> float:
        """Seconds left once the container is not frozen. What joins a frozen group stops at once and cannot be
        killed until the thaw, so nothing is started in one; to its caller that is a program that takes too long."""
        cgroup = self._acts.cgroup_of(process.pid, process.start_ticks)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while await self._look(self._acts.frozen, cgroup):
            if loop.time() + _POLL_S * 5 > deadline:
                raise TimeoutError(f"{argv[0]} did not run within {timeout_s:g} s: its container is frozen")
            await asyncio.sleep(_POLL_S * 5)
        return max(0.001, deadline - loop.time())

    async def run(self, argv: tuple[str, ...], *, timeout_s: float = 5.0) -> RunResult:
        if not _allowed_tool(argv):
            raise HostError(f"{' '.join(argv)}: not done in this machine's own network",
                            hint="routes to Services (ip route), and looking, are all that is")
        return _run_result(await self._spawn(argv, timeout_s, _RUN_LIMIT_BYTES))

    async def _spawn(self, argv: tuple[str, ...], timeout_s: float, limit: int, **program: Any) -> dict[str, Any]:
        if not argv or any("\0" in part for part in argv):
            raise HostError("a program needs a name, and no NUL in its arguments")
        request = {"namespaces": (), "stdin": ""} | program
        try:
            answer: dict[str, Any] = await self._allowing(lambda: self._channel.ask(
                "spawn", argv=argv, timeout_s=timeout_s, limit=limit, **request
            ))
        except TimeoutError:
            raise TimeoutError(f"{argv[0]} did not end within {timeout_s:.3g} s") from None
        return answer

    # --- the guard's other half

    async def _act(self, name: str, **arguments: Any) -> Any:
        async def act() -> Any:
            if self._in_process:
                return getattr(self._acts, name)(**arguments)
            return await self._channel.ask(name, **arguments)

        return await self._allowing(act)

    async def _look(self, look: Callable[[str], Result], cgroup: str) -> Result:
        async def act() -> Result:
            return look(cgroup)

        return await self._allowing(act)

    async def _allowing(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """Once more when the guard has refused, and the engine's labels say that the container is of this
        instance."""
        try:
            return await act()
        except NotOurs as refusal:
            if not refusal.container or not await self._labelled_ours(refusal.container):
                raise
            self._acts.allow(refusal.container)
            self._channel.allow(refusal.container)
            if not self._in_process or self._channel.running:
                await self._channel.ask("allow", container=refusal.container)
            return await act()

    async def _labelled_ours(self, container: str) -> bool:
        try:
            state = await self._engine.inspect(container)
        except (EngineError, EngineUnavailable):
            return False
        return state.labels.get(labels.INSTANCE) == self._instance_id

    async def close(self) -> None:
        await self._channel.close()


def _note(ended: asyncio.Future[int]) -> None:
    if not ended.done():
        ended.set_result(time.monotonic_ns())


def _run_result(answer: Mapping[str, Any]) -> RunResult:
    return RunResult(exit_code=int(answer["exit_code"]), stdout=answer["stdout"].encode("latin-1"),
                     stderr=answer["stderr"].encode("latin-1"))


def _allowed_tool(argv: tuple[str, ...]) -> bool:
    """Looking is allowed with every tool; changing, only routes, and how our own bridges ask for neighbours."""
    if not argv or argv[0] not in _TOOLS:
        return False
    words = [word for word in argv[1:] if not word.startswith("-")]
    if argv[0] == "ip" and words[:1] in (["route"], ["r"]):
        return True
    if argv[:6] == ("ip", "ntable", "change", "name", "arp_cache", "dev"):
        return argv[6].startswith("tb-")
    if argv[0] == "iptables":
        return "-L" in argv or "-S" in argv
    return len(words) <= 1 or words[1] in ("show", "list", "get", "ls")
