"""What all families of kube-state-metrics are made of: gauges over objects, and ways to read an object's JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from testbed.api.meta import parse_time, quantity
from testbed.api.resources import ResourceType

Json = dict[str, Any]
Items = Callable[[ResourceType], list[Json]]
Sample = tuple[Sequence[str], float]

CONDITION_STATUSES = ("true", "false", "unknown")
UNITS = {"cpu": "core", "memory": "byte"}


def gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def status_of(obj: Json) -> Json:
    return obj.get("status") or {}


def spec_of(obj: Json) -> Json:
    return obj.get("spec") or {}


def key_of(obj: Json) -> tuple[str, str]:
    """Namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def owner_of(obj: Json) -> tuple[str, str]:
    """Kind and name of its controller, both empty when it has none."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next(((item["kind"], item["name"]) for item in owners if item.get("controller")), ("", ""))


def owners(name: str, text: str, labels: Sequence[str], items: Iterable[Json]) -> Metric:
    return gauge(name, text, (*labels, "owner_kind", "owner_name", "owner_is_controller"), (
        ((*key_of(item), *owner_of(item), "true" if any(owner_of(item)) else ""), 1.0) for item in items))


def condition_values(obj: Json, kind: str) -> list[tuple[str, float]]:
    """One value per status of one condition; none when it is not there."""
    found = next((item for item in status_of(obj).get("conditions") or () if item["type"] == kind), None)
    if found is None:
        return []
    return [(status, float(found["status"].lower() == status)) for status in CONDITION_STATUSES]


def all_conditions(items: Iterable[Json]) -> Iterator[tuple[Json, tuple[str, str], float]]:
    """Each object with each of its conditions' kinds and each status, and whether it is that."""
    return ((item, (each["type"], status), float(each["status"].lower() == status)) for item in items
            for each in status_of(item).get("conditions") or () for status in CONDITION_STATUSES)


def created(items: Iterable[Json]) -> Iterator[Sample]:
    return ((key_of(item), at) for item in items for at in moment(item["metadata"].get("creationTimestamp")))


def moments(items: Iterable[Json], field: str) -> Iterator[Sample]:
    """A time of the status, where there is one."""
    return ((key_of(item), at) for item in items for at in moment(status_of(item).get(field)))


def numbers(items: Iterable[Json], part: str, field: str, default: int) -> Iterator[Sample]:
    return ((key_of(item), float((item.get(part) or {}).get(field, default))) for item in items)


def given_numbers(items: Iterable[Json], part: str, field: str) -> Iterator[Sample]:
    """Only of those that have the field."""
    return ((key_of(item), float(item[part][field])) for item in items
            if (item.get(part) or {}).get(field) is not None)


def moment(text: str | None) -> list[float]:
    return [parse_time(text).timestamp()] if text else []


def unit(resource: str) -> tuple[str, str]:
    return resource.replace("-", "_").replace(".", "_").replace("/", "_"), UNITS.get(resource, "integer")


def amounts(resources: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, float(quantity(value))) for name, value in resources.items()]
