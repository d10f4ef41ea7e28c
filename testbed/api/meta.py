"""metav1: ObjectMeta, owner references, selectors, conditions, times and quantities."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation, Overflow
from typing import Any

from pydantic import Field

from testbed.api.base import View


class OwnerReference(View):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(View):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object (kubernetes: metav1.GetControllerOf)."""
        return next((owner for owner in self.owner_references if owner.controller), None)

    @property
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None


class Resource(View):
    """A view of a whole object."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` of what is cluster-wide."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name


class Condition(View):
    type: str = ""
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_update_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    last_probe_time: datetime | None = None
    observed_generation: int | None = None


class LabelSelectorRequirement(View):
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """kubernetes: apimachinery/pkg/labels/selector.go Requirement.Matches."""
        if self.operator == "In":
            return self.key in labels and labels[self.key] in self.values
        if self.operator == "NotIn":
            return self.key not in labels or labels[self.key] not in self.values
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        if self.operator in ("Gt", "Lt") and self.values:
            try:
                have, want = int(labels[self.key]), int(self.values[0])
            except (KeyError, ValueError):
                return False
            return have > want if self.operator == "Gt" else have < want
        return False


class LabelSelector(View):
    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.match_labels and not self.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy all parts. The empty selector matches everything."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


IntOrString = int | str


def scaled(value: IntOrString, total: int, *, round_up: bool) -> int:
    """An int, or a percentage of ``total`` (kubernetes: intstr.GetScaledValueFromIntOrPercent).

    Raises: ValueError when a string is not ``<digits>%``.
    """
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"{value!r} is neither a number nor a percentage")
    part = int(value[:-1]) * total / 100
    return math.ceil(part) if round_up else math.floor(part)


_SUFFIXES: dict[str, Decimal] = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?\Z", re.ASCII)
_LARGEST = Decimal(2**63 - 1)  # kubernetes: what is larger is capped


def quantity(text: str | int | float) -> Decimal:
    """``500m``, ``1Gi``, ``2e3`` as a number (kubernetes: apimachinery/pkg/api/resource/quantity.go).

    Raises: ValueError when it is not a quantity.
    """
    value = str(text).strip()
    number = value.rstrip("numkKMGTPEi")
    if number and number[-1] in "eE":  # 12E is a suffix, 12E3 an exponent; rstrip cut nothing of the latter
        number = value
    suffix = value[len(number):]
    if not _NUMBER.match(number) or suffix not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity")
    try:
        return max(-_LARGEST, min(_LARGEST, Decimal(number) * _SUFFIXES[suffix]))
    except (InvalidOperation, Overflow):
        raise ValueError(f"{text!r} is not a quantity") from None


def parse_time(text: str) -> datetime:
    """RFC 3339, with or without fractions of a second."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def format_time(moment: datetime, *, micro: bool = False) -> str:
    """``2026-11-29T12:00:00Z`` (metav1.Time), or with microseconds (metav1.MicroTime)."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def matches_labels(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """A Service's or controller's plain map selector. An empty one matches nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def as_json(value: Any) -> Any:
    """Nested views, tuples and times as plain JSON values."""
    if isinstance(value, View):
        return value.json_value()
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
