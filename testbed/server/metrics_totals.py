"""Sums that never fall, over objects that come and go, with a bound on how many of them there are: whoever may write
Experiments chooses names, and a control plane may live for months. Pure.

What they count is left to `metrics_experiments.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# One number of a counter or histogram: the family, what its name ends in, its labels' values (a bucket's ``le`` last).
Key = tuple[str, str, tuple[str, ...]]

NAMED = 2  # so many of a family's labels, the first ones, have names that somebody chose
MOST_NAMES = 500  # of a family; what comes later is counted together
MOST_BOUNDS = 32  # of a family's buckets; a bucket of another bound is left out, as the others are whole without it
OTHER = "other"


class Totals:
    def __init__(self, most_names: int = MOST_NAMES) -> None:
        self._most_names = most_names
        self._sums: dict[Key, float] = {}
        self._names: dict[str, set[tuple[str, ...]]] = {}
        self._bounds: dict[str, set[str]] = {}

    def add(self, key: Key, more: float) -> None:
        family, ending, labels = key
        rest = labels[NAMED:]
        if ending == "_bucket" and not _room(self._bounds.setdefault(family, {"+Inf"}), rest[-1], MOST_BOUNDS):
            return
        names = labels[:NAMED]
        if not _room(self._names.setdefault(family, set()), names, self._most_names):
            names = (OTHER,) * len(names)
        into = family, ending, (*names, *rest)
        self._sums[into] = self._sums.get(into, 0.0) + more

    def items(self) -> Iterable[tuple[Key, float]]:
        return self._sums.items()


def _room(known: set[Any], one: Any, most: int) -> bool:
    """Whether it is known, or becomes so."""
    if one not in known and len(known) >= most:
        return False
    known.add(one)
    return True
