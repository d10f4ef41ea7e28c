"""``/metrics`` of the control plane: kube-state-metrics' names for what the store holds, ``testbed_*`` for the rest.

Everything is computed at the scrape, so the numbers cannot drift from what the API says. It is made of parts: one that
breaks is left out and counted, the others go on. What the parts show is theirs (``metrics_*``). prometheus-client is
loaded at the first scrape: a control plane that nobody scrapes does not pay for it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from testbed.api.exposition import CONTENT_TYPE, COUNTER, Family, metric
from testbed.api.measures import LoopLag
from testbed.api.resources import ResourceType
from testbed.controlplane.manager import ControlPlane
from testbed.server import metrics_own as own
from testbed.server.metrics_faults import FaultMetrics
from testbed.server.metrics_state import StateText
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Json = dict[str, Any]
Part = Callable[[], Iterable["Metric"]]
Item = TypeVar("Item")

FAILURES = Family(
    "testbed_scrape_failures_total", "Parts of this page that broke and were left out, or left an object out.",
    ("part",), COUNTER)

_log = logging.getLogger(__name__)


class Exposition:
    """Called, it makes the body of ``/metrics`` and its content type. ``state``: for tests to read."""

    def __init__(self, registry: Registry, control_plane: ControlPlane, requests: RequestCounts) -> None:
        self._registry = registry
        self._failures: Counter[str] = Counter()
        self._lag = LoopLag()
        self.state = StateText(lambda resource: registry.list(resource).items, self._failed)
        self.parts: dict[str, Part] = {
            "build": own.build_metrics,
            "process": own.process_metrics,
            "loop": lambda: own.lag_metrics(self._lag),
            "api": lambda: own.request_metrics(requests),
            "store": lambda: own.store_metrics(registry.store),
            "controllers": lambda: own.controller_metrics(control_plane.controllers),
            "endpoints": lambda: own.endpoint_metrics(self._items),
            "faults": FaultMetrics(registry.catalog, self._items).collect,
        }

    def __call__(self) -> tuple[bytes, str]:
        text = "".join(self._whole("state", self.state.text))
        return self._own_text() + text.encode(), CONTENT_TYPE

    def _own_text(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        collected = CollectorRegistry(auto_describe=False)
        collected.register(self)
        return generate_latest(collected)

    def collect(self) -> Iterator[Metric]:
        """For prometheus-client: all but the state."""
        for name, part in self.parts.items():
            yield from self._whole(name, part)
        yield metric(FAILURES, [((name,), count) for name, count in sorted(self._failures.items())])

    def _whole(self, name: str, part: Callable[[], Iterable[Item]]) -> list[Item]:
        """All of a part, or nothing of it."""
        try:
            return list(part())
        except Exception:
            _log.exception("a bug of ours: no metrics of the part %s", name)
            self._failed(name)
            return []

    def _failed(self, name: str) -> None:
        self._failures[name] += 1

    def _items(self, resource: ResourceType) -> list[Json]:
        return [stored.value for stored in self._registry.list(resource).items]

    async def close(self) -> None:
        await self._lag.close()
