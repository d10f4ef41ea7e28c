"""What the families of kube-state-metrics are made of: of one object, the samples of each family; and ways to read it.

Nothing looks at more than its own object, so what is written of one stays as it is until the object changes
(``metrics_state``). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.api.exposition import GAUGE, Family, labelled, line
from testbed.api.meta import parse_time, quantity
from testbed.api.resources import ResourceType

Json = dict[str, Any]
Values = Iterable[tuple[tuple[str, ...], float]]  # of the labels after the object's own, and the number
Read = Callable[[Json], Values]

CREATED = "Unix creation timestamp"
GENERATION = "Sequence number representing a specific generation of the desired state."
CONDITION_STATUSES = ("true", "false", "unknown")
OWNER = ("owner_kind", "owner_name", "owner_is_controller")
NAMELESS: tuple[str, ...] = ()
_BYTES = ("memory", "storage", "ephemeral_storage")


@dataclass(frozen=True)
class Row:
    """One family of a kind. ``labels``: beside the object's own."""

    name: str
    text: str
    read: Read
    labels: tuple[str, ...] = ()
    type: str = GAUGE


@dataclass(frozen=True)
class Kind:
    """The families of one kind of object. ``key``: the labels that all their samples begin with, and ``identify`` their
    values for an object."""

    resource: ResourceType
    key: tuple[str, ...]
    identify: Callable[[Json], tuple[str, ...]]
    rows: tuple[Row, ...]

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(Family(row.name, row.text, (*self.key, *row.labels), row.type) for row in self.rows)

    def lines(self, obj: Json) -> tuple[str, ...]:
        """The samples of each family, in the families' order."""
        own = labelled(self.key, self.identify(obj))
        return tuple([_lines(row, own, obj) for row in self.rows])


def _lines(row: Row, own: str, obj: Json) -> str:
    return "".join([line(row.name, f"{own},{labelled(row.labels, values)}" if values else own, value)
                    for values, value in row.read(obj)])


# --- reading an object


def key_of(obj: Json) -> tuple[str, ...]:
    """Namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def name_of(obj: Json) -> tuple[str, ...]:
    return (obj["metadata"]["name"],)


def status_of(obj: Json) -> Json:
    return obj.get("status") or {}


def spec_of(obj: Json) -> Json:
    return obj.get("spec") or {}


def owner_of(obj: Json) -> tuple[str, str]:
    """Kind and name of its controller, both empty when it has none."""
    found = obj["metadata"].get("ownerReferences") or ()
    return next(((item["kind"], item["name"]) for item in found if item.get("controller")), ("", ""))


def text_of(obj: Json, *fields: str) -> tuple[str, ...]:
    """Fields of one map; what is not there is empty."""
    return tuple([str(obj.get(field) or "") for field in fields])


def moment(text: str | None) -> list[float]:
    return [parse_time(text).timestamp()] if text else []


def unit(resource: str) -> tuple[str, str]:
    """kube-state-metrics' name of a resource and its unit."""
    name = resource.replace("-", "_").replace(".", "_").replace("/", "_")
    if name == "cpu":
        return name, "core"
    return name, "byte" if name in _BYTES or name.startswith("hugepages_") else "integer"


def amounts(resources: Mapping[str, Any] | None) -> list[tuple[str, float]]:
    return [(name, float(quantity(value))) for name, value in (resources or {}).items()]


# --- what a row reads


def created(obj: Json) -> Values:
    return ((NAMELESS, at) for at in moment(obj["metadata"].get("creationTimestamp")))


def deletion(obj: Json) -> Values:
    return ((NAMELESS, at) for at in moment(obj["metadata"].get("deletionTimestamp")))


def generation(obj: Json) -> Values:
    return [(NAMELESS, float(obj["metadata"].get("generation", 0)))]


def status_moment(field: str) -> Read:
    """A time of the status, where there is one."""
    return lambda obj: ((NAMELESS, at) for at in moment(status_of(obj).get(field)))


def number(part: str, field: str, default: int = 0) -> Read:
    return lambda obj: [(NAMELESS, float((obj.get(part) or {}).get(field, default)))]


def given(part: str, field: str) -> Read:
    """Only where it stands there."""
    return lambda obj: [(NAMELESS, float(value))] if (value := (obj.get(part) or {}).get(field)) is not None else []


def fact(read: Callable[[Json], tuple[str, ...]]) -> Read:
    """1, and what it says is in the labels."""
    return lambda obj: [(read(obj), 1.0)]


def each(read: Callable[[Json], Iterable[tuple[str, ...]]]) -> Read:
    """As ``fact``, several times."""
    return lambda obj: ((values, 1.0) for values in read(obj))


def one_of(choices: tuple[str, ...], read: Callable[[Json], str | None]) -> Read:
    """0 or 1 for each choice; nothing where there is none yet."""
    return lambda obj: [((choice,), float(choice == chosen)) for choice in choices] if (chosen := read(obj)) else []


def condition(kind: str) -> Read:
    """One value per status of one condition; none when it is not there."""
    return lambda obj: [((status,), float(found["status"].lower() == status)) for found in conditions(obj)
                        if found["type"] == kind for status in CONDITION_STATUSES]


def condition_met(kind: str) -> Read:
    """Since when a condition is true, where it is."""
    return lambda obj: ((NAMELESS, at) for found in conditions(obj)
                        if (found["type"], found["status"]) == (kind, "True")
                        for at in moment(found.get("lastTransitionTime")))


def all_conditions(obj: Json) -> Values:
    return [((found["type"], status), float(found["status"].lower() == status)) for found in conditions(obj)
            for status in CONDITION_STATUSES]


def conditions(obj: Json) -> list[Json]:
    return status_of(obj).get("conditions") or []


def owners(obj: Json) -> Values:
    found = obj["metadata"].get("ownerReferences") or ()
    return [((item["kind"], item["name"], str(bool(item.get("controller"))).lower()), 1.0) for item in found] or [
        (("", "", ""), 1.0)]
