"""Statistics over runs, with what the number of runs supports and no more.

The bootstrap is the percentile one, seeded, which for medians of few values is sounder than BCa. Runs in which
something did not come while we watched are censored values: they count as *longer than watched* (Kaplan and Meier's
estimator), and are never dropped. numpy is imported only where an interval is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN, Quantity, Unit
from testbed.experiment.result import RunResult, Statistic
from testbed.experiment.result.statistics import Outlier
from testbed.experiment.run_values import Observed, names_over, observed, observed_whole

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 2000
LEVEL = 0.95  # of intervals
MIN_FOR_INTERVAL = 5  # fewer values than this give no interval worth printing
MIN_FOR_OUTLIERS = 5
OUTLIER_Z = 3.5  # Iglewicz and Hoaglin's limit for the modified z
_SAME = 1e-9  # two shares of survivors that differ by rounding only


def median(values: Sequence[float]) -> float:
    """Raises: ValueError when there are none."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], q: float) -> float:
    """Linear between order statistics (numpy's default, type 7).

    Raises: ValueError when there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    if position == low or ordered[low] == ordered[low + 1]:
        return ordered[low]
    if math.isinf(ordered[low + 1]):
        return ordered[low + 1]
    return ordered[low] + (ordered[low + 1] - ordered[low]) * (position - low)


def supported_quantile(q: float) -> int:
    """The least number of values that says anything of quantile ``q``: one expected beyond it.

    0.95 needs 20 and 0.99 needs 100; with fewer, the quantile is the maximum by another name.
    """
    return math.ceil(round(1 / (1 - q), 6))


def zero_bound(n: int) -> float | None:
    """What never happened in ``n`` runs happens in at most this share of them (rule of three, 95 %)."""
    return min(1.0, 3 / n) if n else None


# --- censored values


def survival_quantile(values: Sequence[Observed], q: float) -> float:
    """The time by which a share ``q`` has come, after Kaplan and Meier; infinite when it lies beyond what was watched.

    Without censored values and for q = 0.5 it is the median.

    Raises: ValueError when there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values, key=_when)
    alive = 1.0
    at_risk = len(ordered)
    for position, item in enumerate(ordered):
        if item.value is not None:
            alive *= 1 - 1 / at_risk
            if alive < 1 - q - _SAME:
                return item.value
            if abs(alive - (1 - q)) <= _SAME:  # exactly at the share: the middle of the step, as the median does
                following = next((later.value for later in ordered[position + 1:] if later.value is not None), None)
                return math.inf if following is None else (item.value + following) / 2
        at_risk -= 1
    return math.inf


def _when(item: Observed) -> tuple[float, bool]:
    """Events come before what was given up at the same moment."""
    return (item.watched_s, True) if item.value is None else (item.value, False)


def _survival_medians(values: Sequence[Observed], seed: int) -> Floats:
    """Kaplan-Meier medians of bootstrap resamples of (time, censored) pairs."""
    import numpy as np

    ordered = sorted(values, key=_when)
    times = np.array([math.inf if item.value is None else item.value for item in ordered])
    came = np.array([item.value is not None for item in ordered])
    n = len(ordered)
    drawn = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=RESAMPLES)
    at_risk = drawn[:, ::-1].cumsum(axis=1)[:, ::-1]
    ends = np.where(came, drawn, 0) / np.maximum(at_risk, 1)
    alive = np.cumprod(1 - ends, axis=1)
    below = (alive < 0.5 - _SAME) & came
    reached = (alive <= 0.5 + _SAME) & came
    found = [np.where(mask.any(axis=1), times[mask.argmax(axis=1)], math.inf) for mask in (reached, below)]
    middle: Floats = (found[0] + found[1]) / 2
    return middle


# --- intervals and outliers


def median_interval(values: Sequence[float], seed: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Bootstrap percentile interval of the median; None when there are too few values."""
    if len(values) < MIN_FOR_INTERVAL:
        return None
    if min(values) == max(values):
        return values[0], values[0]
    import numpy as np

    drawn = resampled_medians(values, np.random.default_rng(seed))
    return _percentiles(drawn, level)


def resampled_medians(values: Sequence[float], generator: np.random.Generator) -> Floats:
    """Medians of bootstrap resamples."""
    import numpy as np

    with np.errstate(invalid="ignore"):  # between two infinities
        made: Floats = np.median(_resamples(values, generator), axis=1)
    made[np.isnan(made)] = math.inf
    return made


def resampled_means(values: Sequence[float], generator: np.random.Generator) -> Floats:
    """Means of bootstrap resamples."""
    made: Floats = _resamples(values, generator).mean(axis=1)
    return made


def _resamples(values: Sequence[float], generator: np.random.Generator) -> Floats:
    import numpy as np

    made: Floats = generator.choice(np.asarray(values, dtype=float), size=(RESAMPLES, len(values)))
    return made


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - level) / 2
    # Order statistics, not between two of them: halfway to infinity is infinity.
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def censored_interval(values: Sequence[Observed], seed: int, level: float = LEVEL) -> tuple[float, float] | None:
    """The same where some are censored; an end is infinite where it lies beyond what was watched."""
    if len(values) < MIN_FOR_INTERVAL:
        return None
    return _percentiles(_survival_medians(values, seed), level)


def outliers(values: Sequence[Observed], floor: float = 0.0) -> tuple[Outlier, ...]:
    """Runs whose modified z (0.6745 × distance from the median / MAD) is above 3.5.

    Where more than half are equal (MAD 0), the mean distance takes the MAD's place (1.2533 × it). What lies nearer to
    the median than ``floor`` is none.
    """
    seen = [item for item in values if item.value is not None]
    if len(seen) < MIN_FOR_OUTLIERS:
        return ()
    middle = median([item.value for item in seen if item.value is not None])
    distances = [abs((item.value or 0.0) - middle) for item in seen]
    mad = median(distances)
    unit = mad / 0.6745 if mad > 0 else 1.253314 * sum(distances) / len(distances)
    if unit <= 0:
        return ()
    return tuple(
        Outlier(run=item.run, value=item.value or 0.0, score=round(((item.value or 0.0) - middle) / unit, 1))
        for item, distance in zip(seen, distances, strict=True) if distance / unit > OUTLIER_Z and distance > floor)


# --- the statistic


def statistic_of(
    disruption: str, quantity: str, values: Sequence[Observed], *, seed: int, unit: Unit = "s",
    floor: float = 0.0,
) -> Statistic:
    """One quantity over runs, censored ones included."""
    seen = [(item.run, item.value) for item in values if item.value is not None]
    censored = len(values) - len(seen)
    if not seen:
        return Statistic(disruption=disruption, quantity=quantity, unit=unit, n=0, censored=censored)
    numbers = [value for _, value in seen]
    interval = censored_interval(values, seed) if censored else median_interval(numbers, seed)
    low, high = interval or (None, None)
    return Statistic(
        disruption=disruption, quantity=quantity, unit=unit, n=len(seen), censored=censored,
        median=_finite(_quantile(values, numbers, 0.5)), mean=None if censored else math.fsum(numbers) / len(numbers),
        p95=_finite(_quantile(values, numbers, 0.95)), p99=_finite(_quantile(values, numbers, 0.99)),
        minimum=min(numbers), maximum=max(numbers), ci_low=_finite(low), ci_high=_finite(high),
        ci_level=LEVEL,
        zero_bound=zero_bound(len(numbers)) if unit == "" and not any(numbers) else None,
        outliers=outliers(values, floor), values=tuple(numbers), runs=tuple(run for run, _ in seen),
    )


def _quantile(values: Sequence[Observed], numbers: Sequence[float], q: float) -> float | None:
    """None where there are too few values for it."""
    if q > 0.5 and len(values) < supported_quantile(q):
        return None
    return quantile(numbers, q) if len(numbers) == len(values) else survival_quantile(values, q)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def over_runs(runs: Sequence[RunResult], seed: int) -> tuple[Statistic, ...]:
    """Every quantity of every disruption that was asked for, and of the whole run what no disruption has, over the runs
    that can be trusted."""
    trusted = [run for run in runs if run.trusted]
    whole = (statistic_of("", quantity.key, values, seed=seed, unit=quantity.unit, floor=quantity.floor)
             for quantity in OF_RUN if quantity.primary and (values := observed_whole(quantity, trusted)))
    return (*whole, *(found for name in names_over(trusted) for quantity in OF_DISRUPTION
                      if (found := _over(quantity, name, trusted, seed)) is not None))


def _over(quantity: Quantity[Any], name: str, runs: Sequence[RunResult], seed: int) -> Statistic | None:
    """None where it says nothing: never measured, or a part that took no time in any run."""
    values = observed(quantity, name, runs)
    idle = quantity.unit == "s" and not any(item.value for item in values)
    if not values or (idle and not quantity.primary and not quantity.censored):
        return None
    return statistic_of(name, quantity.key, values, seed=seed, unit=quantity.unit, floor=quantity.floor)
