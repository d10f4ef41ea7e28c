"""NodeChaos ``cpu-pressure`` and ``memory-pressure``: stress-ng among everything else that runs on a node.

The holder container is one more container in the node's cgroup, as a process of the system would be on a real node: it
has no pod, so the node blames its pods. CPU pressure on a node with CPUs of its own (``--node-cpu``) needs that limit
to hold for all of it together, where otherwise each container has only its own; so the node's cgroup gets it as its
quota while the pressure lasts. Nodes without one share the machine's CPUs equally. Memory pressure counts against
``--node-memory``: the node's agent sees it, tells MemoryPressure and evicts. A node that has the whole machine's memory
can take a small size only, and does not get short of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults import shares, stressors
from faults.holder_container import Hold
from faults.kinds import NODE_CHAOS
from faults.node_groups import check_powered, end_on, group_seen
from faults.protocol import Aim, Drawing, Json, NotInEffect, Refused, Tools
from faults.stress import Stressing, free_when_frozen
from faults.stressors import Stress
from testbed.errors import HostError, Mistake
from testbed.runtime.usage import ContainerUsage

_MIB = 1 << 20


class NodeStress(Stressing):
    """``part``: which of the stressors it takes; the other is refused."""

    kind = NODE_CHAOS
    level = "node"
    after_restart = "node"
    where = "containers of the node take"
    part = ""

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        present = spec.get("stressors") or {}
        if not present.get(self.part):
            return (Mistake(f"{self.action} needs workers here", f"spec.stressors.{self.part}"),)
        found = [Mistake(f"{self.action} is about {self.part} only", f"spec.stressors.{name}")
                 for name in present if name != self.part]
        return (*found, *super().mistakes(spec))

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node = aim.target.node
        await check_powered(tools, node)
        share = await shares.of_node(tools, node)
        stress = stressors.stress_of(aim.spec, share.memory_bytes)
        self.check(stress, share, node, relative=stressors.is_relative(aim.spec))
        argument = stress.to_json()
        mounts: tuple[tuple[str, str], ...] = ()
        if share.cpus_are_own and stress.cpus:
            mount, group = await group_seen(tools, node, "cpu")
            argument, mounts = {**argument, "quota": {"group": group, "cpus": share.cpus}}, (mount,)
        hold = Hold(aim.entry_id, self.name, "stress", argument, "", aim.deadline_ns,
                    cgroup_parent=tools.site.node_cgroup(node), mounts=mounts)
        return {"node": node, "cgroup": tools.site.node_cgroup(node), "stress": stress.to_json(),
                "most_cpus": share.cpus, "most_bytes": share.memory_bytes, "hold": hold.to_json()}

    def check(self, stress: Stress, share: shares.Share, node: str, *, relative: bool) -> None:
        """Raises: Refused."""

    async def undo(self, tools: Tools, plan: Json) -> None:
        await free_when_frozen(tools, plan)
        await end_on(tools, plan)

    async def usage(self, tools: Tools, plan: Json) -> ContainerUsage:
        """Of CPUs nothing is told: a node's group is the host's to read, and it reads memory only."""
        try:
            return ContainerUsage(0.0, await tools.host.memory_in(plan["cgroup"]))
        except HostError as error:
            raise NotInEffect(f"the node's cgroup cannot be read: {error}") from error


class CpuPressure(NodeStress):
    action = "cpu-pressure"
    summary = "stress-ng keeps CPUs busy on the node"
    example = {"stressors": {"cpu": {"workers": 1, "load": 50}}}
    part = "cpu"


class MemoryPressure(NodeStress):
    action = "memory-pressure"
    summary = "stress-ng holds memory on the node, which may make it evict pods"
    example = {"stressors": {"memory": {"workers": 1, "size": "64MB"}}}
    drawn = Drawing("memory", "#a04000")
    part = "memory"

    def check(self, stress: Stress, share: shares.Share, node: str, *, relative: bool) -> None:
        if share.memory_is_own:
            if stress.memory_bytes > share.memory_bytes:
                raise Refused(f"node {node} has {share.memory_bytes // _MIB} MiB of memory: it cannot hold "
                              f"{stress.memory_bytes // _MIB}", hint="ask for at most 100%")
            return
        if relative:
            raise Refused(f"node {node} has no memory of its own of which this could be a part",
                          hint="name a size, or bring the cluster up with --node-memory")
        shares.check_machine_spares(stress.memory_bytes, f"node {node}",
                                    "ask for less, or bring the cluster up with --node-memory")
