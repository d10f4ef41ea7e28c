"""``--until-ci 10%``: whether enough runs were made for an interval that narrow. Pure.

The rule looks at the *width* of the interval only, never at where it lies or at a p value, so looking after each run
does not hunt for significance (a fixed-width sequential interval, Chow and Robbins 1965). Its cost is stated in
docs/statistics.md: stopping at a width that happens to be small makes the interval hold the truth a little less often
than it says. The cap is fixed before the first run, and looks are counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.experiment.quantities import OF_DISRUPTION
from testbed.experiment.result.run import RunResult
from testbed.experiment.run_values import Observed, names_over, observed
from testbed.experiment.statistics import MIN_FOR_INTERVAL, censored_interval, median_interval, survival_quantile

MINIMUM_RUNS = MIN_FOR_INTERVAL


def half_width(values: Sequence[Observed], seed: int = 0) -> float | None:
    """Half the interval of the median, in the values' own unit; None for too few values, infinite when an end lies
    beyond what was watched."""
    if len(values) < MINIMUM_RUNS:
        return None
    seen = [item.value for item in values if item.value is not None]
    interval = median_interval(seen, seed) if len(seen) == len(values) else censored_interval(values, seed)
    if interval is None or not all(math.isfinite(end) for end in interval):
        return math.inf
    return (interval[1] - interval[0]) / 2


def narrow(values: Sequence[Observed], target_ratio: float, floor: float, seed: int) -> tuple[bool, float]:
    """Whether the interval of the median is within ``target_ratio`` of it on each side, and its half-width relative to
    the median (infinite where that cannot be said). ``floor``: a half-width below it is narrow enough whatever the
    median is."""
    half = half_width(values, seed)
    if half is None:
        return False, math.inf
    middle = survival_quantile(values, 0.5)
    relative = half / middle if 0 < middle < math.inf else 0.0 if half == 0 else math.inf
    return relative <= target_ratio or half <= floor, relative


@dataclass(frozen=True)
class Look:
    """One look at the runs so far. ``widest``: what still is too wide, and by how much; "" when nothing is."""

    enough: bool
    widest: str = ""
    ratio: float = 0.0


def look(runs: Sequence[RunResult], target_ratio: float, seed: int = 0) -> Look:
    """Whether every primary time of every disruption is known that well, over the runs that can be trusted."""
    trusted = [run for run in runs if run.trusted]
    worst = Look(True)
    for name in names_over(trusted):
        for quantity in OF_DISRUPTION:
            if not quantity.primary or quantity.unit != "s":
                continue
            values = observed(quantity, name, trusted)
            if not values:
                continue
            known, ratio = narrow(values, target_ratio, quantity.floor, seed)
            if not known and (worst.enough or ratio > worst.ratio):
                worst = Look(False, f"{name}.{quantity.key}", ratio)
    return worst if trusted and names_over(trusted) else Look(False, "no run can be trusted yet", math.inf)
