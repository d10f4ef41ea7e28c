"""What a cluster begins as: how many nodes of which kind, how large, and who looks after its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from testbed.api.instance import SLICE, TESTBED
from testbed.errors import InvalidInput
from testbed.network.gateway import IMAGE as GATEWAY_IMAGE
from testbed.supervisors.catalog import supervisor

SANDBOX_IMAGE = "testbed-pause:1"


@dataclass(frozen=True)
class Shape:
    """What a cluster begins as.

    Attributes:
        node_cpu, node_memory, node_disk: of each node, as quantities; empty: the machine's, without a limit.
        node_kind: of its first nodes, "slice" or "engine".
        zones: over how many they are spread; 0: they name none.
        allow_privileged: containers may be privileged and add any capability.
        supervisor: who looks after the containers: "testbed", or one of testbed.supervisors.catalog.
        supervisor_options: its switches.
    """

    nodes: int = 3
    profile: str = "fast"
    node_cpu: str = ""
    node_memory: str = ""
    node_disk: str = ""
    node_kind: str = SLICE
    zones: int = 0
    allow_privileged: bool = False
    supervisor: str = TESTBED
    supervisor_options: Mapping[str, str] = field(default_factory=dict)

    def settled(self) -> Shape:
        """With what its supervisor makes of it. Raises: InvalidInput."""
        if self.supervisor == TESTBED:
            if self.supervisor_options:
                raise InvalidInput("our own supervisor has no options", hint="choose another: --supervisor compose")
            return self
        chosen = supervisor(self.supervisor)
        kind = chosen.node_kind(self.node_kind)
        return replace(self, node_kind=kind, nodes=chosen.node_count(self.nodes, kind),
                       supervisor_options=chosen.checked_options(self.supervisor_options))

    @property
    def images(self) -> tuple[str, ...]:
        """Of ours, that must be there."""
        return (GATEWAY_IMAGE, SANDBOX_IMAGE) if self.supervisor == TESTBED else supervisor(self.supervisor).images
