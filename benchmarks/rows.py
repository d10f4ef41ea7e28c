"""One line of the table, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.load.outage import percentile


@dataclass(frozen=True)
class Row:
    """``measured`` and ``target`` in ``unit``; met when measured is at most the target."""

    what: str
    measured: float
    target: float
    unit: str
    note: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.target

    def line(self) -> str:
        return (f"{'ok  ' if self.met else 'MISS'}  {self.what:<58} {self.measured:>9.3f} {self.unit:<6} "
                f"target {self.target:g} {self.unit}{'   ' + self.note if self.note else ''}")


def spread(values: Sequence[float]) -> str:
    """``median 61.2 (50.1-80.3, n 15)``."""
    return f"median {statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f}, n {len(values)})"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie (nearest rank)."""
    return percentile(sorted(values), share)
