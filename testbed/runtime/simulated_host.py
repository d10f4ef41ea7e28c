"""The simulated machine's processes and cgroups, behind ``Host``. The same guard as on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from testbed.api import labels
from testbed.errors import HostError
from testbed.runtime.containers import ExecResult
from testbed.runtime.host_acts import NotOurs
from testbed.runtime.host_protocol import ProcessIdentity, RunResult
from testbed.runtime.simulated_exec import program_of, run_inside
from testbed.runtime.simulated_machine import IDLE_CPUS, Process, SimulatedMachine
from testbed.runtime.simulated_programs import known
from testbed.runtime.usage import GroupUsage, InterfaceUsage

_SIGKILL = 9


class SimulatedHost:
    """``who``: under what name its signals are noted."""

    def __init__(self, machine: SimulatedMachine, instance_id: str, who: str = "") -> None:
        self.machine = machine
        self.who = who
        self._instance_id = instance_id
        self._prefix = f"/testbed-{instance_id}"

    # --- the guard

    def _is_ours(self, cgroup: str) -> bool:
        if ".." in cgroup.split("/"):
            return False
        if SimulatedMachine.within(cgroup, self._prefix):
            return True
        container = self.machine.containers.get(cgroup.rsplit("/", 1)[-1])
        return container is not None and container.spec.labels.get(labels.INSTANCE) == self._instance_id

    def _guard(self, cgroup: str) -> str:
        if not self._is_ours(cgroup):
            raise NotOurs(f"cgroup {cgroup}", cgroup)
        return cgroup

    def _process(self, identity: ProcessIdentity) -> Process | None:
        found = self.machine.processes.get(identity.pid)
        return found if found is not None and found.start_ticks == identity.start_ticks else None

    def _living(self, identity: ProcessIdentity) -> Process:
        found = self._process(identity)
        if found is None:
            raise HostError(f"process {identity.pid} has ended")
        if not self._is_ours(found.cgroup):
            raise NotOurs(f"process {identity.pid}", found.cgroup)
        return found

    # --- processes

    async def identify(self, pid: int) -> ProcessIdentity:
        if pid not in self.machine.processes:
            raise HostError(f"there is no process {pid}")
        return ProcessIdentity(pid, self.machine.processes[pid].start_ticks)

    async def alive(self, process: ProcessIdentity) -> bool:
        return self._process(process) is not None

    async def wait_exit(self, process: ProcessIdentity) -> int:
        found = self._process(process)
        if found is not None:
            await asyncio.shield(found.ended)
            await asyncio.sleep(self.machine.latency_s("pidfd"))
        return int(asyncio.get_running_loop().time() * 1e9)

    async def signal(self, process: ProcessIdentity, signal: int) -> None:
        if self._process(process) is not None:
            self.machine.send_signal(self._living(process), signal, self.who)

    async def cgroup_of(self, process: ProcessIdentity) -> str:
        found = self._process(process)
        if found is None:
            raise HostError(f"process {process.pid} has ended")
        return found.cgroup

    async def numbers_of(self, pid: int) -> tuple[int, ...]:
        return ((await self.identify(pid)).pid,)

    # --- cgroups

    async def pids_in(self, cgroup: str) -> tuple[int, ...]:
        return tuple(sorted(item.pid for item in self.machine.members(self._guard(cgroup))))

    async def memory_in(self, cgroup: str) -> int:
        self._guard(cgroup)
        own = sum(item.memory_bytes for item in self.machine.containers.values()
                  if item.running and self.machine.within(item.cgroup, cgroup))
        return own + self.machine.damage.load_of(cgroup)[1]

    async def usage_in(self, cgroup: str) -> GroupUsage:
        """Of containers that idle, and of what faults burn there."""
        inside = [item for item in self.machine.containers.values()
                  if item.running and self.machine.within(item.cgroup, self._guard(cgroup))]
        if not inside:
            raise HostError(f"there is no cgroup {cgroup}")
        cpus, held_bytes = self.machine.damage.load_of(cgroup)
        ages = [self.machine.age_s(item) for item in inside]
        memory_bytes = sum(item.memory_bytes for item in inside) + held_bytes
        return GroupUsage(
            cpu_seconds=sum(ages) * IDLE_CPUS + max(ages) * cpus, memory_bytes=memory_bytes,
            working_set_bytes=memory_bytes, rss_bytes=memory_bytes, threads=len(inside))

    async def interfaces_of(self, process: ProcessIdentity) -> tuple[InterfaceUsage, ...]:
        """Traffic is not counted here."""
        return (InterfaceUsage("eth0", *[0] * 8),) if self._process(process) is not None else ()

    async def create_cgroup(self, cgroup: str) -> None:
        self.machine.cgroups.add(self._guard(cgroup))

    async def remove_cgroup(self, cgroup: str) -> None:
        if self.machine.members(self._guard(cgroup)):
            raise HostError(f"cgroup {cgroup} cannot be removed: something is still in it")
        self.machine.cgroups = {item for item in self.machine.cgroups if not self.machine.within(item, cgroup)}
        self.machine.frozen = {item for item in self.machine.frozen if not self.machine.within(item, cgroup)}

    async def join_cgroup(self, cgroup: str, pid: int) -> None:
        if pid not in self.machine.processes:
            raise HostError(f"there is no process {pid}")
        self.machine.cgroups.add(self._guard(cgroup))
        self.machine.processes[pid].cgroup = cgroup

    async def freeze(self, cgroup: str) -> None:
        self._guard(cgroup)
        if not any(self.machine.within(item, cgroup) for item in self.machine.cgroups):
            raise HostError(f"there is no cgroup {cgroup}")
        self.machine.frozen.add(cgroup)
        await asyncio.sleep(self.machine.latency_s("pidfd"))

    async def thaw(self, cgroup: str) -> None:
        self.machine.thaw(self._guard(cgroup))

    async def frozen(self, cgroup: str) -> bool:
        return self.machine.is_frozen(self._guard(cgroup))

    async def kill_cgroup(self, cgroup: str) -> None:
        self._guard(cgroup)
        for process in self.machine.members(cgroup):
            self.machine.send_signal(process, _SIGKILL, self.who)
        for frozen in [item for item in self.machine.frozen if self.machine.within(item, cgroup)]:
            self.machine.thaw(frozen)
        await asyncio.gather(*(asyncio.shield(process.ended) for process in self.machine.members(cgroup)))

    # --- programs

    async def run_in(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, namespaces: tuple[str, ...] = ("net",),
        stdin: bytes = b"", timeout_s: float = 5.0,
    ) -> RunResult:
        found = self._living(process)
        await asyncio.sleep(self.machine.latency_s("enter"))
        container = self.machine.container_of(found)
        if container is not None and argv[:4] == ("ip", "link", "set", "dev"):
            container.link_up = argv[-1] != "down"
        output = bytearray()
        code = await program_of(self.machine, found, container, output.extend, stdin).run(argv) if known(argv) else 0
        return RunResult(code, bytes(output), b"")

    async def exec_in_container(
        self, process: ProcessIdentity, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None,
        timeout_s: float, limit_bytes: int = 10240,
    ) -> ExecResult:
        found = self._living(process)
        if not known(argv):
            raise HostError(f"{argv[0]} could not be run: No such file or directory")
        spent_s = self.machine.latency_s("enter")
        container = self.machine.container_of(found)
        return await run_inside(self.machine, found, container, argv, timeout_s, limit_bytes, spent_s)

    async def run(self, argv: tuple[str, ...], *, timeout_s: float = 5.0) -> RunResult:
        await asyncio.sleep(self.machine.latency_s("enter"))
        return RunResult(0, b"", b"")

    async def close(self) -> None:
        return
