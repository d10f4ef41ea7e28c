"""One process' page of metrics, made of parts: one that breaks is left out and counted, the others go on.

What the parts show is their owners'; every page has the process itself (``process_*``, as every client library of
Prometheus), how late its loop is, and what was left out. prometheus-client is loaded at the first scrape.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from testbed.api.exposition import COUNTER, Family, client_text, metric
from testbed.api.measures import LoopLag

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Item = TypeVar("Item")
Part = Callable[[], Iterable["Metric"]]

LAG = Family("testbed_loop_lag_seconds", "How late the process' event loop was at worst in the last 10 s.",
             ("process",))
FAILURES = Family("testbed_scrape_failures_total", "Parts of this page that broke and were left out, or left an object "
                  "out.", ("part",), COUNTER)
FAMILIES = (LAG, FAILURES)

_log = logging.getLogger(__name__)


class Page:
    """``process``: what it is called in logs and metrics. ``parts``: by name; the order is that of the page."""

    def __init__(self, process: str, parts: Mapping[str, Part]) -> None:
        self._process, self._lag = process, LoopLag()
        self._failures: Counter[str] = Counter()
        self.parts: dict[str, Part] = {"process": _process_metrics, "loop": self._loop_metrics, **parts}

    def text(self) -> bytes:
        """All parts."""
        return client_text(self._collect)

    def _collect(self) -> Iterator[Metric]:
        for name, part in self.parts.items():
            yield from self.whole(name, part)
        yield metric(FAILURES, [((name,), count) for name, count in sorted(self._failures.items())])

    def whole(self, name: str, part: Callable[[], Iterable[Item]]) -> list[Item]:
        """All of what ``part`` gives, or nothing of it."""
        try:
            return list(part())
        except Exception:
            _log.exception("a bug of ours: no metrics of the part %s", name)
            self.failed(name)
            return []

    def failed(self, name: str) -> None:
        """Something of that part was left out."""
        self._failures[name] += 1

    async def close(self) -> None:
        await self._lag.close()

    def _loop_metrics(self) -> Iterator[Metric]:
        yield metric(LAG, [((self._process,), self._lag.worst_s())])


def _process_metrics() -> Iterable[Metric]:
    from prometheus_client import ProcessCollector

    return ProcessCollector(registry=None).collect()
