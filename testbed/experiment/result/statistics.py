"""Quantities over runs, and objectives with what was measured."""

from __future__ import annotations

from typing import Literal

from testbed.experiment.result.value import Value


class ObjectiveResult(Value):
    """One objective as written, and what was measured. ``met`` None: it could not be judged, ``note`` says why.

    ``disruption`` and ``quantity`` are what it is about, as in ``Statistic``.
    """

    text: str
    disruption: str = ""
    quantity: str = ""
    met: bool | None
    measured: float | None = None
    limit: float = 0.0
    unit: Literal["s", "", "ratio", "times"] = ""
    note: str = ""


class Outlier(Value):
    """A run whose value lies far from the others' (modified z above 3.5)."""

    run: int
    value: float
    score: float


class Statistic(Value):
    """One quantity of one disruption, or of the whole run (``disruption`` ""), over all trusted runs.

    ``p95`` and ``p99`` are None where ``n`` does not support them. ``censored``: runs in which it did not end while we
    watched; the median, its interval and quantiles then are Kaplan-Meier's, and None where they lie beyond what was
    watched. ``zero_bound``: of a count that was zero in every run, the most that the share of runs with one can be
    (3/n, 95 %).
    """

    disruption: str
    quantity: str  # as `testbed.experiment.quantities` names it
    unit: Literal["s", "", "ratio", "times"] = "s"
    n: int
    censored: int = 0
    median: float | None = None
    mean: float | None = None
    p95: float | None = None
    p99: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    ci_low: float | None = None  # of the median
    ci_high: float | None = None
    ci_level: float = 0.95
    zero_bound: float | None = None
    outliers: tuple[Outlier, ...] = ()
    values: tuple[float, ...] = ()
    runs: tuple[int, ...] = ()  # which run each value is of
