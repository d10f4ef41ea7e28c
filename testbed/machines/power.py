"""A node's power.

Off: first the links of all sandboxes go down, then everything on the node is killed, so that nothing of the dying
processes (FIN, RST, "refused") reaches the wire. Which agent runs is decided in ``room``; what is left of a dead node
is removed by ``errand``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import HostError
from testbed.runtime.host_protocol import Host, ProcessIdentity

INTERFACE = "eth0"


def one_per_network(pids: Iterable[int]) -> tuple[int, ...]:
    """One process of each network namespace among ``pids``, never of our own namespace. What cannot be read is left
    out: taking down the link of an unknown namespace could be the machine's own."""
    own = Path("/proc/self/ns/net").stat().st_ino
    found: dict[int, int] = {}
    for pid in pids:
        try:
            namespace = Path(f"/proc/{pid}/ns/net").stat().st_ino
        except OSError:
            continue
        if namespace != own:
            found.setdefault(namespace, pid)
    return tuple(found.values())


async def cut_links(host: Host, sandboxes: Iterable[int]) -> None:
    """Takes the link of each sandbox down; one that has ended meanwhile needs none."""

    async def one(pid: int) -> None:
        try:
            process: ProcessIdentity = await host.identify(pid)
            await host.run_in(process, ("ip", "link", "set", "dev", INTERFACE, "down"))
        except HostError:
            return

    await asyncio.gather(*(one(pid) for pid in sandboxes))


async def power_off(host: Host, cgroup: str, sandboxes: Iterable[int] | None = None) -> None:
    """Silences and kills everything in a node's cgroup. ``sandboxes``: main processes of its sandboxes, where they are
    known; else they are found through ``/proc`` (which only root can). Twice is harmless."""
    if sandboxes is None:
        sandboxes = one_per_network(await host.pids_in(cgroup))
    await cut_links(host, sandboxes)
    await host.kill_cgroup(cgroup)
