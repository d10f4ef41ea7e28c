"""Makes one swarm of a cluster's engines, and the network that its tasks are on. Levels: what is so already is left.

Three managers where there are three nodes, so that losing a node leaves a majority; else one. A swarm is begun only
when every engine says that it is in none: one that is silent may know of a swarm that is there.

The network is a bridge of each node's own that Swarm knows of (scope swarm, made from a configuration that each node's
process 1 sees to): tasks get addresses of their node's range, which the gateway routes, as it does for our own pods.
Swarm's virtual addresses and its routing mesh need ip_vs, which a kernel may lack; this needs nothing of the kernel, so
it is used everywhere, and figures do not depend on the kernel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from testbed.api.instance import SWARM_NETWORK_PART, Instance
from testbed.errors import EngineUnavailable
from testbed.runtime.swarm import SwarmEngine
from testbed.supervisors.swarm.timers import Timers

log = logging.getLogger("supervisor")

Json = dict[str, Any]
NETWORK = "pods"
_MANAGERS = 3
_OVERLAYS, _OVERLAY_PREFIX = "198.18.0.0/15", 24  # RFC 2544: nobody's; no task of ours is on one


def manager_count(nodes: int) -> int:
    return _MANAGERS if nodes >= _MANAGERS else 1


async def ensure(instance: Instance, engines: Mapping[str, SwarmEngine], timers: Timers) -> None:
    """One attempt. Raises: EngineUnavailable (an engine does not answer yet), EngineError."""
    infos = dict(zip(engines, await asyncio.gather(*(engine.info() for engine in engines.values())), strict=True))
    addresses = {node.name: instance.uplink_address(node.pod_cidr) for node in instance.nodes}
    if not any(_state(info) == "active" for info in infos.values()):
        first = next(iter(engines))
        if (state := _state(infos[first])) != "inactive":
            raise EngineUnavailable(f"{first} is not in a swarm yet: {state}")
        spec = {"Dispatcher": {"HeartbeatPeriod": int(timers.heartbeat_s * 1e9)}}
        await engines[first].init_swarm(addresses[first], spec=spec, pool=_OVERLAYS, prefix=_OVERLAY_PREFIX)
        log.info("%s: began the swarm", first)
        infos[first] = await engines[first].info()
    manager = next((name for name, info in infos.items() if info["Swarm"].get("ControlAvailable")), "")
    if not manager:
        raise EngineUnavailable("no manager of the swarm answers")
    await _join(instance, engines, infos, addresses, manager)
    await engines[manager].ensure_network(
        {"Name": NETWORK, "Driver": "bridge", "Scope": "swarm", "ConfigFrom": {"Network": SWARM_NETWORK_PART}})


async def _join(
    instance: Instance, engines: Mapping[str, SwarmEngine], infos: Mapping[str, Json], addresses: Mapping[str, str],
    manager: str,
) -> None:
    """One after the other: managers agree on each newcomer."""
    tokens = (await engines[manager].swarm())["JoinTokens"]
    managers = [node.name for node in instance.nodes][:manager_count(len(instance.nodes))]
    for name, info in infos.items():
        if _state(info) == "inactive":
            await engines[name].join_swarm(addresses[name], remote=addresses[manager],
                                           token=tokens["Manager" if name in managers else "Worker"])
            log.info("%s: joined the swarm", name)


def _state(info: Json) -> str:
    """inactive, pending, active, error or locked."""
    return str((info.get("Swarm") or {}).get("LocalNodeState") or "inactive")
