"""A cluster whose containers another orchestrator looks after: the same API, Services by the same ClusterIPs.

What sets its pace is told by whoever opens it: an experiment knows no driver.
"""

from __future__ import annotations

from testbed.api.instance import Instance
from testbed.client.protocol import Client
from testbed.experiment.platforms.protocol import Timing
from testbed.experiment.platforms.testbed import TestbedPlatform


class SupervisedPlatform(TestbedPlatform):
    """``timing``: the orchestrator's timers in words."""

    def __init__(self, instance: Instance, client: Client, timing: Timing) -> None:
        super().__init__(instance, client)
        self.name = instance.platform
        self._timing = timing

    def timing(self) -> Timing:
        return self._timing
