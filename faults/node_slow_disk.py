"""NodeChaos ``slow-disk``: what a node's containers read from and write to disks is limited, by cgroup.

A holder container in the node's cgroup writes the limits of the node's groups, of which it sees the cluster's only, and
takes them back. On cgroup v1 (blkio.throttle) the kernel limits direct and synchronous transfers; what it writes back
later in its own name is not limited. Of a disk that cannot be told (btrfs, zfs, a tmpfs) nothing can be limited: the
object says so.

Look: ``slow_disk.timed`` {"wbps": bytes, "riops": count, ...} answers with the seconds that direct transfers take.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from faults import holder_container
from faults.effects import Disk, Effect
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import NODE_CHAOS
from faults.node_groups import check_powered, end_on, group_seen
from faults.protocol import Aim, Drawing, Json, NotInEffect, Tools
from faults.stress import free_when_frozen
from faults.stressors import size_bytes
from testbed.errors import Mistake

_BYTES = {"readBytesPerSecond": "rbps", "writeBytesPerSecond": "wbps"}
_COUNTS = {"readsPerSecond": "riops", "writesPerSecond": "wiops"}
_LEAST_BYTES, _MOST_BYTES = 64 * 1024, 100_000_000
_TIMED_S = 0.4  # how long a transfer is meant to take that shows the limit
_LEAST_S = 0.15  # the kernel lets a little pass at first
_BLOCK = 65536
_RATE: Json = {"type": "string", "maxLength": 32, "description": "Such as 1MB or 512KiB; from 64KiB to 100MB."}
_COUNT: Json = {"type": "integer", "minimum": 10, "maximum": 10_000}


class SlowDisk(HeldFault):
    kind = NODE_CHAOS
    action = "slow-disk"
    summary = "the node's containers read and write disks slowly"
    level = "node"
    fields = {**dict.fromkeys(_BYTES, _RATE), **dict.fromkeys(_COUNTS, _COUNT)}
    needs = ("blkio",)
    after_restart = "node"
    example = {"writeBytesPerSecond": "1MB"}
    drawn = Drawing("slow disk", "#7d6608")

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        found: list[Mistake] = []
        for field in _BYTES:
            try:
                value = size_bytes(str(spec[field]), 0) if field in spec else _LEAST_BYTES
            except ValueError as error:
                found.append(Mistake(str(error), f"spec.{field}"))
                continue
            if not _LEAST_BYTES <= value <= _MOST_BYTES:
                found.append(Mistake("must be from 64KiB to 100MB", f"spec.{field}"))
        if not any(field in spec for field in (*_BYTES, *_COUNTS)):
            found.append(Mistake("name a limit: " + ", ".join((*_BYTES, *_COUNTS)), "spec"))
        return tuple(found)

    def verify_within_s(self, plan: Json) -> float:
        return 8.0

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        node = aim.target.node
        await check_powered(tools, node)
        limits = {key: size_bytes(aim.spec[field], 0) for field, key in _BYTES.items() if field in aim.spec}
        limits |= {key: int(aim.spec[field]) for field, key in _COUNTS.items() if field in aim.spec}
        mount, group = await group_seen(tools, node, "blkio")
        argument = {"group": group, "limits": limits, "devices": _state_device(tools)}
        cgroup = tools.site.node_cgroup(node)
        hold = Hold(aim.entry_id, self.name, "slow_disk", argument, "", aim.deadline_ns, cgroup_parent=cgroup,
                    mounts=(mount,))
        return {"node": node, "cgroup": cgroup, "limits": limits, "hold": hold.to_json()}

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        limits = plan["limits"]
        amounts = {kind: max(2, int(_TIMED_S * value)) for kind, value in limits.items()}
        amounts |= {kind: -(-amounts[kind] // _BLOCK) * _BLOCK for kind in ("rbps", "wbps") if kind in amounts}
        took = await holder_container.look(tools, holder, "slow_disk.timed", amounts)
        seen = [f"{kind} {amounts[kind] / max(took[kind], 1e-6):.0f} of {limits[kind]}" for kind in limits]
        if any(seconds < _LEAST_S for seconds in took.values()):
            raise NotInEffect("direct transfers are not slowed down: " + ", ".join(seen))
        return "direct transfers in the node's cgroup, a second: " + ", ".join(seen)

    async def undo(self, tools: Tools, plan: Json) -> None:
        await free_when_frozen(tools, plan)
        await end_on(tools, plan)

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        return (Disk(plan["cgroup"], tuple(sorted(plan["limits"].items()))),)


def _state_device(tools: Tools) -> list[str]:
    """Of the volumes' disk, where that is a disk."""
    device = tools.site.directory.stat().st_dev
    return [f"{os.major(device)}:{os.minor(device)}"] if os.major(device) else []
