"""``/metrics`` of the control plane: kube-state-metrics' names for what the store holds, ``testbed_*`` for the rest.

Everything is computed at the scrape, so the numbers cannot drift from what the API says. What the parts show is theirs
(``metrics_*``). A control plane that nobody scrapes pays for nothing.
"""

from __future__ import annotations

from typing import Any

from testbed.api.exposition import CONTENT_TYPE
from testbed.api.resources import ResourceType
from testbed.api.scrape import Page
from testbed.controlplane.manager import ControlPlane
from testbed.server import metrics_own as own
from testbed.server.metrics_experiments import ExperimentMetrics
from testbed.server.metrics_faults import FaultMetrics
from testbed.server.metrics_state import StateText
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts

Json = dict[str, Any]


class Exposition:
    """Called, it makes the body of ``/metrics`` and its content type. ``state``: for tests to read."""

    def __init__(self, registry: Registry, control_plane: ControlPlane, requests: RequestCounts) -> None:
        self._registry = registry
        experiments = ExperimentMetrics(self._items, registry.clock, lambda: self.page.failed("experiments"))
        self.page = Page("api", {
            "build": own.build_metrics,
            "api": lambda: own.request_metrics(requests),
            "store": lambda: own.store_metrics(registry.store),
            "controllers": lambda: own.controller_metrics(control_plane.controllers),
            "endpoints": lambda: own.endpoint_metrics(self._items),
            "faults": FaultMetrics(registry.catalog, self._items).collect,
            "experiments": experiments.collect,
        })
        self.state = StateText(lambda resource: registry.list(resource).items, self.page.failed)

    def __call__(self) -> tuple[bytes, str]:
        state = "".join(self.page.whole("state", self.state.text))  # first: what it leaves out is counted below
        return self.page.text() + state.encode(), CONTENT_TYPE

    def _items(self, resource: ResourceType) -> list[Json]:
        return [stored.value for stored in self._registry.list(resource).items]

    async def close(self) -> None:
        await self.page.close()
