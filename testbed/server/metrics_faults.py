"""Faults on ``/metrics``: which injections hold now, and how many there have been.

Fault kinds come as CustomResourceDefinitions; the server knows none of them by name, and reads Chaos Mesh's status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from testbed.api.exposition import COUNTER, Family, metric
from testbed.api.fault_objects import fault_title, is_fault, records_of
from testbed.api.resources import NODES, PODS, ResourceType

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from testbed.server.catalog import Catalog

Json = dict[str, Any]
Target = tuple[str, str, str]  # fault, target, node

ACTIVE = Family(
    "testbed_fault_active", "1 while an injection is in effect, 0 while its fault object is still there; kills, which "
    "nothing holds, have none.",
    ("fault", "target", "node"))
OVERDUE = Family(
    "testbed_fault_overdue_seconds", "How long an injection has been in effect beyond its deadline; 0 before it.",
    ACTIVE.labels)
INJECTIONS = Family("testbed_faults_total", "Injections since this API server was first scraped.", ("fault",), COUNTER)
FAMILIES = (ACTIVE, OVERDUE, INJECTIONS)


def _now_ns() -> int:
    return int(asyncio.get_running_loop().time() * 1e9)


class FaultMetrics:
    """``items``: the objects of a kind. ``now_ns``: CLOCK_MONOTONIC, on which deadlines are."""

    def __init__(
        self, catalog: Catalog, items: Callable[[ResourceType], list[Json]], now_ns: Callable[[], int] = _now_ns,
    ) -> None:
        self._catalog, self._items, self._now_ns = catalog, items, now_ns
        # By fault object's UID; and the sums of those that are gone: a counter must not fall when objects are deleted.
        self._injected: dict[str, tuple[str, int]] = {}
        self._gone: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        faults = [item for served in self._catalog if is_fault(served.resource)
                  for item in self._items(served.resource)]
        targets = list(self._targets(faults))
        yield metric(ACTIVE, sorted(_most((key, float(_holds(record))) for key, record in targets).items()))
        yield metric(OVERDUE, sorted(_most(
            (key, max(0.0, (self._now_ns() - int(record["deadlineNs"])) / 1e9)) for key, record in targets
            if _holds(record) and record.get("deadlineNs")).items()))
        there = {item["metadata"]["uid"]: (_name(item), _count(item)) for item in faults}
        _add(self._gone, (value for uid, value in self._injected.items() if uid not in there))
        self._injected = there
        sums = dict(self._gone)
        _add(sums, there.values())
        yield metric(INJECTIONS, [((name,), count) for name, count in sorted(sums.items())])

    def _targets(self, faults: Iterable[Json]) -> Iterator[tuple[Target, Json]]:
        """Each injection that can hold, and its record. A kill's says Injected for as long as its object is there."""
        places: Mapping[str, str] = {} if not faults else self._places()
        for fault in faults:
            for record in records_of(fault):
                if record.get("oneShot"):
                    continue
                target = str(record.get("id", ""))
                place = places.get(target) or places.get("/".join(target.split("/")[:2]), "")
                yield (_name(fault), target, place), record

    def _places(self) -> dict[str, str]:
        """The node of each pod, by its key, and of each node."""
        pods = {f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}":
                str(pod["spec"].get("nodeName") or "") for pod in self._items(PODS)}
        return {**pods, **{node["metadata"]["name"]: node["metadata"]["name"] for node in self._items(NODES)}}


def _add(sums: dict[str, int], counts: Iterable[tuple[str, int]]) -> None:
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count


def _most(samples: Iterable[tuple[Target, float]]) -> dict[Target, float]:
    """Several objects may do the same to the same target."""
    found: dict[Target, float] = {}
    for key, value in samples:
        found[key] = max(found.get(key, 0.0), value)
    return found


def _holds(record: Json) -> bool:
    return record.get("phase") == "Injected"


def _name(fault: Json) -> str:
    return fault_title(str(fault.get("kind", "")), (fault.get("spec") or {}).get("action"))


def _count(fault: Json) -> int:
    return sum(int(record.get("injectedCount") or 0) for record in records_of(fault))
