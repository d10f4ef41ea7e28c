"""Which faults reach which nodes. Pure.

The machine's engine does not know of the containers of a node with an engine of its own, so a fault that acts through
it cannot break them: it is refused by a word, never pretended. What acts on processes and cgroups can (containers.py).
The same holds where another orchestrator looks after the containers: there is no sandbox of ours to act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faults.protocol import Fault, Refused, Target
from testbed.api.labels import NODE_KIND, SUPERVISOR

SLICE, ENGINE = "slice", "engine"
_WHY = {
    SLICE: ("{fault} is for nodes with a container engine of their own, and {node} is a share of this machine's",
            "add one: testbed node add --kind engine; or bring a cluster up with: testbed up --node-kind engine"),
    ENGINE: ("{fault} cannot be done on nodes of kind engine, of which {node} is one",
             "use nodes of kind slice; on these: PodChaos, FreezeChaos, NodeChaos and EngineChaos"),
}


def check_reach(
    fault: Fault, spec: Mapping[str, Any], targets: Sequence[Target], nodes: Iterable[Mapping[str, Any]]
) -> None:
    """``nodes``: Node objects. Raises: Refused for the first target that the fault cannot reach."""
    described = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    reached = fault.reaches(spec)
    for target in targets:
        if target.node not in described:
            continue
        kind, other = described[target.node].get(NODE_KIND, SLICE), described[target.node].get(SUPERVISOR, "")
        if other and not fault.elsewhere:
            raise Refused(f"{fault.name} needs what only our own cluster has, and {target.node} is run by {other}",
                          hint="there: PodChaos container-kill and pod-kill, FreezeChaos, StressChaos, "
                               "NodeChaos kill and freeze, EngineChaos")
        if kind in _WHY and kind not in reached:
            why, hint = _WHY[kind]
            raise Refused(why.format(fault=fault.name, node=target.node), hint=hint)
