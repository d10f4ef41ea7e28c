"""What is measured of the difference between two sets of values: centres, ratio, shift, test, effect size. Pure.

What it means is `compare.py`'s; why each is computed as it is: docs/statistics.md. Heavy libraries are imported where
they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.experiment.quantities import Quantity
from testbed.experiment.run_values import Observed
from testbed.experiment.statistics import resampled_means, resampled_medians, survival_quantile

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Rules:
    """Shares are of the typical value. ``minimum_runs``: of each side, for an interval; how many it takes to show a
    difference says ``enough_runs``. ``level``: of the ratio's interval; ``shift_level``: of the shift's."""

    alpha: float = 0.02
    tolerance: float = 0.05
    margin: float = 1 / 3
    minimum_runs: int = 5
    level: float = 0.95
    shift_level: float = 0.90


RULES = Rules()


@dataclass(frozen=True)
class Sample:
    """What is known of one quantity in both sets, before the verdict. ``shifts``: estimate, low, high.

    ``missing_p``: Fisher's exact test of how often it never came; 1 where it always did. ``p`` is over both tests.
    """

    a: tuple[Observed, ...]
    b: tuple[Observed, ...]
    centres: tuple[float, float]
    shifts: tuple[float, float, float]
    ratios: tuple[float, float, float] | None
    p: float
    effect: float
    missing_p: float = 1.0

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.a), len(self.b)

    @property
    def missing(self) -> tuple[int, int]:
        return sum(item.censored for item in self.a), sum(item.censored for item in self.b)


def sample(
    quantity: Quantity[Any], a: Sequence[Observed], b: Sequence[Observed], *, seed: int, rules: Rules = RULES
) -> Sample:
    """Everything that is measured of the difference between two sets of values."""
    sides = tuple(a), tuple(b)
    if min(len(a), len(b)) < rules.minimum_runs:
        return Sample(*sides, _centres(quantity, *sides), (math.nan,) * 3, None, 1.0, 0.5)
    xs, ys = ([math.inf if item.value is None else item.value for item in side] for side in sides)
    p, effect = mann_whitney(xs, ys)
    shifts = _mean_shift(xs, ys, seed, rules) if quantity.counted else _shift(xs, ys, rules)
    missing_p = _fisher(*sides)
    if missing_p is not None:  # two looks at the same runs
        missing_p, p = min(1.0, 2 * missing_p), min(1.0, 2 * min(p, missing_p))
    return Sample(*sides, _centres(quantity, *sides), shifts, _ratio(quantity, xs, ys, seed, rules), p, effect,
                  1.0 if missing_p is None else missing_p)


def _fisher(a: Sequence[Observed], b: Sequence[Observed]) -> float | None:
    """Whether it did not come more often in one of them: ranks alone miss it where the others were fast."""
    gone = [sum(item.censored for item in side) for side in (a, b)]
    if not any(gone):
        return None
    from scipy.stats import fisher_exact

    return float(fisher_exact([[gone[0], len(a) - gone[0]], [gone[1], len(b) - gone[1]]])[1])


def _centres(quantity: Quantity[Any], a: Sequence[Observed], b: Sequence[Observed]) -> tuple[float, float]:
    def centre(side: Sequence[Observed]) -> float:
        if not side:
            return math.nan
        if quantity.counted:
            return math.fsum(item.value or 0.0 for item in side) / len(side)
        return survival_quantile(side, 0.5)

    return centre(a), centre(b)


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """(two-sided p, chance that a value of ``b`` is larger, ties counting half). Exact for few values without ties."""
    from scipy.stats import mannwhitneyu

    if len({*a, *b}) == 1:
        return 1.0, 0.5
    # Ranks are all that counts; infinities become the largest value, tied with each other.
    top = max((value for value in (*a, *b) if math.isfinite(value)), default=0.0) + 1.0
    ranks = [[min(value, top) for value in side] for side in (a, b)]
    found = mannwhitneyu(ranks[1], ranks[0], alternative="two-sided")
    return float(found.pvalue), float(found.statistic) / (len(a) * len(b))


def _shift(a: Sequence[float], b: Sequence[float], rules: Rules) -> tuple[float, float, float]:
    """Hodges and Lehmann's shift with the interval that belongs to Mann and Whitney's test (normal approximation)."""
    from statistics import NormalDist

    import numpy as np

    with np.errstate(invalid="ignore"):
        differences = np.asarray(b)[:, None] - np.asarray(a)[None, :]
    ordered = np.sort(np.nan_to_num(differences.ravel(), nan=0.0, posinf=math.inf, neginf=-math.inf))
    n, m = len(a), len(b)
    z = NormalDist().inv_cdf(0.5 + rules.shift_level / 2)
    outside = max(0, math.floor(n * m / 2 - z * math.sqrt(n * m * (n + m + 1) / 12)))
    middle = (ordered[(n * m - 1) // 2] + ordered[n * m // 2]) / 2
    return float(middle), float(ordered[outside]), float(ordered[n * m - 1 - outside])


def _mean_shift(a: Sequence[float], b: Sequence[float], seed: int, rules: Rules) -> tuple[float, float, float]:
    """Difference of means with its bootstrap interval: counts that are mostly zero have no middle worth the name."""
    import numpy as np

    of_a, of_b = _resampled(a, b, seed, resampled_means)
    drawn = of_b - of_a
    tail = (1 - rules.shift_level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return math.fsum(b) / len(b) - math.fsum(a) / len(a), float(low), float(high)


def _resampled(
    a: Sequence[float], b: Sequence[float], seed: int, draw: Callable[[Sequence[float], np.random.Generator], Floats]
) -> tuple[Floats, Floats]:
    """Bootstrap draws of both sets, independent of each other; swapping the sets swaps the draws."""
    import numpy as np

    generator = np.random.default_rng(abs(seed))
    if sorted(a) <= sorted(b):
        return draw(a, generator), draw(b, generator)
    of_b = draw(b, generator)
    return draw(a, generator), of_b


def _ratio(
    quantity: Quantity[Any], a: Sequence[float], b: Sequence[float], seed: int, rules: Rules
) -> tuple[float, float, float] | None:
    """Ratio of the centres with its bootstrap interval; None where the first may be zero or both beyond sight."""
    import numpy as np

    if quantity.counted:
        sides = _resampled(a, b, seed, resampled_means)
        centre = math.fsum(b) / len(b), math.fsum(a) / len(a)
    else:
        sides = _resampled(a, b, seed, resampled_medians)
        centre = float(np.median(b)), float(np.median(a))
    if not 0 < centre[1] < math.inf or sides[0].min() <= 0:
        return None
    with np.errstate(invalid="ignore"):
        drawn = np.nan_to_num(sides[1] / sides[0], nan=1.0, posinf=math.inf)
    tail = (1 - rules.level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return centre[0] / centre[1], float(low), float(high)
