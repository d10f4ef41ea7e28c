"""A cluster whose containers another orchestrator looks after: the same API, Services by the same ClusterIPs.

What sets its pace and what it cannot do is told by whoever opens it: an experiment knows no driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faults.protocol import Fault, Refused
from faults.registry import Registry, fault_name
from testbed.api.instance import Instance
from testbed.client.protocol import Client
from testbed.errors import InvalidInput
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.platforms.protocol import Timing
from testbed.experiment.platforms.testbed import TestbedPlatform

# What of an object the orchestrator does not do.
LeftOut = Callable[[Mapping[str, Any]], Sequence[str]]


class SupervisedPlatform(TestbedPlatform):
    """``timing``: the orchestrator's timers in words. ``left_out``: asked of every manifest."""

    def __init__(self, instance: Instance, client: Client, timing: Timing, left_out: LeftOut) -> None:
        super().__init__(instance, client)
        self.name = instance.platform
        self._timing, self._left_out = timing, left_out

    def timing(self) -> Timing:
        return self._timing

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        """Raises: InvalidInput for faults that cannot be done here."""
        wrong = [f"{step.name}: {why}" for step in loaded.experiment.spec.method
                 if step.fault is not None and (why := self._impossible(step.fault))]
        if wrong:
            raise InvalidInput(f"platform {self.name} cannot do this experiment: {'; '.join(wrong)}",
                               hint="docs/platforms.md lists the faults that work there")
        manifests = [*loaded.manifests, *(item for items in loaded.applied.values() for item in items)]
        found = {f"{item.get('kind')} {item['metadata']['name']}": self._left_out(item) for item in manifests}
        return tuple(f"{self.name} leaves out of {what}: {'; '.join(lines)}" for what, lines in found.items() if lines)

    def _impossible(self, fault: Mapping[str, Any]) -> str:
        """Why a fault cannot be done here; empty: it can, or the chaos daemon will say so."""
        try:
            known: Fault = Registry().get(fault_name(fault))
        except Refused:
            return ""
        if not known.elsewhere:
            return f"{known.name} needs what only our own cluster has"
        if known.level == "node" and not self.instance.nodes:
            return f"{known.name} needs nodes with engines of their own (spec.cluster.nodeKind: engine)"
        return ""
