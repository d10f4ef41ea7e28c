"""NodeChaos ``disk-fill``: a file takes up the node's own share of disk, or a size that the object names.

With ``--node-disk`` a node has a disk of its own: the files of its pods' volumes may not be more. Its agent counts the
file, tells DiskPressure and evicts, as upstream. A node without one shares the machine's disk: it takes a size only,
at most a quarter of what is free, and does not get short. What is written is really written, and never more than half
of what is free on the machine. An application that must meet ENOSPC itself wants an IOChaos.

Look: ``disk_fill.held`` {"node", "id"} answers {"bytes"}.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from faults import holder_container, shares
from faults.effects import Disk, Effect
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import NODE_CHAOS
from faults.node_groups import check_powered
from faults.protocol import Aim, Drawing, Json, NotInEffect, Refused, Tools
from faults.stressors import size_bytes
from testbed.errors import Mistake

_MIB = 1 << 20


class DiskFill(HeldFault):
    kind = NODE_CHAOS
    action = "disk-fill"
    summary = "a file fills the node's own disk, which may make it evict pods"
    level = "node"
    fields = {"size": {"type": "string", "maxLength": 32,
                       "description": "For disk-fill: 500MB, 1GiB, or 95% of the node's own disk."}}
    after_restart = "node"
    example = {"size": "8MB"}
    drawn = Drawing("disk full", "#6e2c00")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        try:
            if size_bytes(str(spec.get("size", "")), 1 << 40) <= 0:
                return (Mistake("must be more than 0", "spec.size"),)
        except ValueError as error:
            return (Mistake(str(error), "spec.size"),)
        return ()

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node = aim.target.node
        await check_powered(tools, node)
        text, share = str(aim.spec["size"]), await shares.disk_of_node(tools, node)
        if not share.is_own and text.strip().endswith("%"):
            raise Refused(f"node {node} has no disk of its own of which this could be a part",
                          hint="name a size, or bring the cluster up with --node-disk")
        size = size_bytes(text, share.total_bytes)
        free, part = shutil.disk_usage(tools.site.directory).free, 2 if share.is_own else 4
        if size > free // part:
            raise Refused(f"{size // _MIB} MiB are more than a {'half' if part == 2 else 'quarter'} of what is free on "
                          f"this machine's disk ({free // part // _MIB} MiB)", hint="ask for less")
        hold = Hold(aim.entry_id, self.name, "disk_fill", {"node": node, "bytes": size}, "", aim.deadline_ns,
                    cap_add=("DAC_OVERRIDE",), mounts=((str(tools.site.directory / "nodes"), "/nodes"),))
        return {"node": node, "cgroup": tools.site.node_cgroup(node), "id": aim.entry_id, "bytes": size,
                "share": share.total_bytes if share.is_own else 0, "hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        found = await holder_container.look(tools, holder, "disk_fill.held", {"node": plan["node"], "id": plan["id"]})
        if found["bytes"] < plan["bytes"]:
            raise NotInEffect(f"the file takes {found['bytes'] // _MIB} of {plan['bytes'] // _MIB} MiB")
        whole = f" of the node's {plan['share'] // _MIB} MiB" if plan["share"] else ""
        return f"a file takes {found['bytes'] // _MIB} MiB{whole}"

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Disk(plan["cgroup"], filled_bytes=plan["bytes"]),)
