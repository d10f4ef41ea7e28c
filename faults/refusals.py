"""Refusals of meaning: what a fault object may not ask for although its fields are well formed. Pure.

The schema (crd.py) has judged types and words by then. The chaos daemon tells these as the status of the object; a
caller that validates files may ask for them beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults import blast_radius
from faults.durations import seconds
from faults.protocol import Refused
from faults.selection import number_of
from testbed.errors import Mistake

MAX_DURATION_S = 24 * 3600.0
DEFAULT_DURATION_S = 3600.0  # where an object names none: a fault is a lease, it always ends by itself
MAX_GRACE_S = 3600
_NEEDS_VALUE = ("fixed", "fixed-percent", "random-max-percent")


def mistakes(fault: Mapping[str, Any]) -> tuple[Mistake, ...]:
    """What is wrong with the fields that all kinds have, whatever the cluster looks like (a fault's own: its
    ``mistakes``)."""
    spec = fault.get("spec") or {}
    found: list[Mistake] = []
    duration = spec.get("duration")
    if duration is not None:
        found += _duration(str(duration))
    mode = spec.get("mode")
    if mode in _NEEDS_VALUE:
        found += _value(str(mode), str(spec.get("value") or ""))
    if spec.get("remoteCluster"):
        found.append(Mistake("there is no other cluster here", "spec.remoteCluster"))
    return (*found, *blast_radius.mistakes((fault.get("metadata") or {}).get("annotations") or {}))


def _value(mode: str, value: str) -> list[Mistake]:
    if not value:
        return [Mistake(f"mode {mode} needs a value", "spec.value")]
    try:
        number_of(mode, value)
    except Refused as error:
        return [Mistake(str(error), "spec.value")]
    return []


def _duration(text: str) -> list[Mistake]:
    try:
        length_s = seconds(text)
    except ValueError as error:
        return [Mistake(str(error), "spec.duration")]
    if not 0 < length_s <= MAX_DURATION_S:
        return [Mistake("must be more than 0 and at most 24h", "spec.duration")]
    return []


def duration_s(spec: Mapping[str, Any]) -> float:
    """How long a reversible fault is held."""
    return seconds(str(spec["duration"])) if spec.get("duration") else DEFAULT_DURATION_S
