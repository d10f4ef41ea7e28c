"""The next node of a cluster: its name, its range of addresses and its ports."""

from __future__ import annotations

import random

from testbed.api.instance import NODE_KINDS, SLICE, Instance, NodeInstance, check_name
from testbed.errors import InvalidInput
from testbed.machines import addresses

MAX_NODES = 100


def new_node(
    instance: Instance, name: str, cpu: str, memory: str, *, avoid: frozenset[int] | set[int] = frozenset(),
    kind: str = SLICE,
) -> NodeInstance:
    """The next node: first free name, first free /24, free ports (none of ``avoid``).

    Raises: InvalidInput when the name is taken or cannot be one, or there is no such kind; EnvironmentProblem when no
    port is free.
    """
    if kind not in NODE_KINDS:
        raise InvalidInput(f"there are no nodes of kind {kind!r}", hint="one of: " + ", ".join(NODE_KINDS))
    names = {node.name for node in instance.nodes}
    if len(names) >= MAX_NODES:
        raise InvalidInput(f"cluster {instance.name!r} has {MAX_NODES} nodes already")
    name = check_name(name) if name else next(f"node-{k}" for k in range(1, MAX_NODES + 2) if f"node-{k}" not in names)
    if name in names:
        raise InvalidInput(f"there already is a node {name!r} in cluster {instance.name!r}")
    used = {node.pod_cidr for node in instance.nodes}
    cidr = next(one for one in (instance.pod_cidr(k) for k in range(1, MAX_NODES + 2)) if one not in used)
    ports = {instance.api_port, *instance.node_ports, *instance.ingress_ports, *avoid}
    for node in instance.nodes:
        ports |= {node.agent_port, node.to_agent_port, node.to_api_port}
    agent, to_agent, to_api = addresses.choose_ports(3, ports, random.Random())
    return NodeInstance(name, cidr, agent, to_agent, to_api, kind=kind, cpu=cpu, memory=memory,
                        zone=instance.next_zone())
