"""StressChaos: stress-ng loads a container's CPUs and memory, inside the container's own limits.

It runs in a holder container of the tools image that joins the target's pid namespace, so that the target's end is its
end, as on Chaos Mesh (pkg/chaosdaemon/stress_server_linux.go); and the host moves it into the target's cgroup before it
begins. That works with every cgroup version and driver, where a group nested below a container's does only
with cgroup v1 and the cgroupfs driver. A stress that uses up the memory kills the target, or itself: as oomScoreAdj
says, and the targets' own scores (of a Guaranteed pod -997, of a BestEffort one 1000).

Look: ``stress.used`` {"for_s"} answers {"cpus", "memory_bytes", "processes"} of what the stress takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from faults import holder_container, shares, stressors
from faults.containers import locate, process_of
from faults.effects import Effect, Load
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import STRESS_CHAOS
from faults.protocol import Aim, Drawing, Json, NotInEffect, Tools
from testbed.errors import EngineError, HostError, Mistake, NoSuchContainer
from testbed.runtime.containers import ContainerState
from testbed.runtime.usage import ContainerUsage

_LOOK_S = 0.15
_CPU_SHARE, _MEMORY_SHARE = 0.05, 0.9  # of what was asked; a machine may be busy with other things
_BYTES_PER_S = 400e6  # how fast memory is filled at least
_DEATH_SEEN_S = 5.0
_CHILD_WITHIN_S = 8.0
_MIB = 1 << 20


class Stressing(HeldFault):
    """What stress of a container and of a node have in common. The plan has ``stress``, ``cgroup`` (where it counts)
    and ``most_cpus`` and ``most_bytes`` (what it can get there). ``where``: that place, in words."""

    fields = {"stressors": stressors.SCHEMA}
    drawn = Drawing("stressed", "#d35400")
    where = ""

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        return stressors.mistakes(spec)

    def verify_within_s(self, plan: Json) -> float:
        return 5.0 + int(plan["stress"]["memory_bytes"]) / _BYTES_PER_S

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        stress = plan["stress"]
        used = await holder_container.look(tools, holder, "stress.used", {"for_s": _LOOK_S})
        total = await self.usage(tools, plan)  # once: an engine answers a second question a second later
        cpus, memory = min(stress["cpus"], plan["most_cpus"]), stress["memory_bytes"]
        seen = " and ".join([*([f"{used['cpus']:.2f} of {cpus:g} CPUs"] if cpus or not memory else []),
                             *([f"{used['memory_bytes'] // _MIB} of {memory // _MIB} MiB"] if memory else [])])
        least = min(_MEMORY_SHARE * memory, plan["most_bytes"] / 2)  # the target has its part of a limit
        enough = used["cpus"] >= _CPU_SHARE * cpus and used["memory_bytes"] >= least
        if used["processes"] < 2 or not enough:
            raise NotInEffect(f"the stress takes {seen} only")
        return f"the stress takes {seen}; all {self.where} {total.memory_bytes // _MIB} MiB"

    @abstractmethod
    async def usage(self, tools: Tools, plan: Json) -> ContainerUsage:
        """What all that it counts with uses. Raises: NotInEffect when that cannot be seen."""

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        stress = plan["stress"]
        return (Load(plan["cgroup"], stress["cpus"], stress["memory_bytes"]),)


class ContainerStress(Stressing):
    kind = STRESS_CHAOS
    summary = "stress-ng loads the container's CPUs and memory, within its limits"
    level = "container"
    fields = {
        "stressors": stressors.SCHEMA,
        "stressngStressors": {"type": "string", "maxLength": 2000,
                              "description": "Options of stress-ng instead of stressors; an allow-list holds."},
    }
    first_container = True
    where = "of the container takes"
    elsewhere = True
    after_restart = "container"
    example = {"stressors": {"cpu": {"workers": 1, "load": 50}}}

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        found = await locate(tools, aim.target)
        if await tools.host.frozen(found["cgroup"]):
            raise NotInEffect(f"container {aim.target.id} is frozen: nothing can run in it")
        share = await shares.of_container(tools, aim.target)
        stress = stressors.stress_of(aim.spec, share.memory_bytes)
        if not share.memory_is_own:
            shares.check_machine_spares(stress.memory_bytes, f"container {aim.target.id}",
                                        "ask for less, or give the container a limit (resources.limits.memory)")
        argument = {**stress.to_json(), "cgroup": found["container_id"]}
        hold = Hold(aim.entry_id, self.name, "stress", argument, found["container_id"], aim.deadline_ns, pid=True,
                    cap_add=("SYS_RESOURCE",) if stress.oom_score_adj < 0 else ())
        return {**found, "stress": stress.to_json(), "most_cpus": share.cpus, "most_bytes": share.memory_bytes,
                "hold": hold.to_json()}

    async def inject(self, tools: Tools, plan: Json, remaining_s: float) -> None:
        async def join(holder: ContainerState) -> None:
            await _move_child(tools, holder, plan["cgroup"])

        hold = Hold.from_json(plan["hold"])
        try:
            try:
                await holder_container.begin(tools, hold, join)
            except EngineError:  # an engine may lack this capability itself: then the score stays, and it is said
                if not hold.cap_add:
                    raise
                await tools.engine.remove(holder_container.name_of(tools, hold, "hold"))
                await holder_container.begin(tools, replace(hold, cap_add=()), join)
        except NotInEffect:
            if not await self._out_of_memory(tools, plan):
                raise

    async def verify(self, tools: Tools, plan: Json) -> str:
        try:
            return await super().verify(tools, plan)
        except NotInEffect:
            if await self._out_of_memory(tools, plan):
                return "the container ran out of memory and was killed (OOMKilled)"
            raise

    async def _out_of_memory(self, tools: Tools, plan: Json) -> bool:
        """Whether the target has died of it. The engine tells a death a little later than the holder's is seen."""
        if not plan["stress"]["memory_bytes"] or await tools.host.alive(process_of(plan)):
            return False
        until = asyncio.get_running_loop().time() + _DEATH_SEEN_S
        while asyncio.get_running_loop().time() < until:
            try:
                state = await tools.engine.inspect(plan["container_id"])
            except NoSuchContainer:
                return False
            if not state.running:
                return state.oom_killed
            await asyncio.sleep(0.02)
        return False

    async def usage(self, tools: Tools, plan: Json) -> ContainerUsage:
        try:
            return await tools.engine.usage(plan["container_id"])
        except EngineError as error:
            raise NotInEffect(f"the container's usage cannot be seen: {error}") from error


async def _move_child(tools: Tools, holder: ContainerState, cgroup: str) -> None:
    """Moves what a holder's program has started, not the program: a scope of systemd ends when it is empty."""
    try:
        own = await tools.host.cgroup_of(await tools.host.identify(holder.pid))
    except HostError:
        return  # it has ended already, and has said why
    until = asyncio.get_running_loop().time() + _CHILD_WITHIN_S
    while asyncio.get_running_loop().time() < until:
        children = [pid for pid in await tools.host.pids_in(own) if pid != holder.pid]
        for pid in children:
            await tools.host.join_cgroup(cgroup, pid)
        if children or await holder_container.words(tools, holder.id):
            return
        await asyncio.sleep(0.01)


async def free_when_frozen(tools: Tools, plan: Json) -> None:
    """Kills a holder of a frozen node: what is frozen dies only when it is thawed (cgroup v1), so it leaves the group
    first."""
    if not await tools.host.frozen(plan["cgroup"]):
        return
    state = await holder_container.find(tools, Hold.from_json(plan["hold"]))
    if state is None or not state.running or state.pid <= 1:
        return
    try:
        process = await tools.host.identify(state.pid)
        own = await tools.host.cgroup_of(process)
    except HostError:
        return  # it has ended
    pids = await tools.host.pids_in(own) if state.id in own else (state.pid,)
    outside = f"{tools.site.cgroup}/holders"
    await tools.host.create_cgroup(outside)
    for pid in pids:
        with contextlib.suppress(HostError):
            await tools.host.join_cgroup(outside, pid)
    await tools.host.signal(process, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DEATH_SEEN_S):
            await tools.host.wait_exit(process)
