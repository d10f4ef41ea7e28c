"""Which metrics our own processes expose: the samples of every family that they declare."""

from __future__ import annotations

from functools import cache

from support.metrics_document import every_family

from testbed.api.exposition import HISTOGRAM, Family


@cache
def families() -> frozenset[Family]:
    return frozenset(every_family())


def is_exposed(name: str) -> bool:
    """Whether there are samples of that name."""
    return any(name == family.name if family.type != HISTOGRAM else
               name in (f"{family.name}_bucket", f"{family.name}_sum", f"{family.name}_count") for family in families())
