"""Quantities over runs, and objectives with what was measured."""

from __future__ import annotations

from typing import Literal

from testbed.experiment.result.value import Value


class ObjectiveResult(Value):
    """One objective as written, and what was measured. ``met`` None: it could not be judged, ``note`` says why."""

    text: str
    met: bool | None
    measured: float | None = None
    limit: float = 0.0
    unit: Literal["s", "", "ratio"] = ""
    note: str = ""


class Statistic(Value):
    """One quantity of one disruption over all trusted runs.

    ``p95`` is None where ``n`` does not support it. ``censored``: runs in which it did not end while we watched.
    """

    disruption: str
    quantity: str  # detection, isolation, repair, outage, failed
    unit: Literal["s", ""] = "s"
    n: int
    censored: int = 0
    median: float | None = None
    p95: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    ci_low: float | None = None  # of the median
    ci_high: float | None = None
    ci_level: float = 0.95
    values: tuple[float, ...] = ()
