"""Statistics over runs, with what the number of runs supports and no more.

Plain Python: a run has tens of values, and numpy would cost the runner 30 MB. The bootstrap is the percentile one,
seeded, which for medians of few values is sounder than BCa.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from testbed.experiment.result import Disruption, RunResult, Statistic

RESAMPLES = 4000
MIN_FOR_INTERVAL = 5  # fewer values than this give no interval worth printing


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


def median_interval(values: Sequence[float], seed: int, level: float = 0.95) -> tuple[float, float] | None:
    """Bootstrap percentile interval of the median; None when there are too few values."""
    if len(values) < MIN_FOR_INTERVAL:
        return None
    generator = random.Random(seed)
    medians = sorted(median(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - level) / 2
    return quantile(medians, tail), quantile(medians, 1 - tail)


def statistic(
    disruption: str, quantity: str, values: Iterable[float | None], *, seed: int, unit: str = "s"
) -> Statistic:
    """One quantity over runs. A None is a run in which it did not end while we watched."""
    everything = list(values)
    seen = [value for value in everything if value is not None]
    censored = len(everything) - len(seen)
    if not seen:
        return Statistic(disruption=disruption, quantity=quantity, unit="s" if unit == "s" else "", n=0,
                         censored=censored)
    ordered = sorted(seen) + [math.inf] * censored
    middle, interval = median(ordered), median_interval(seen, seed)
    p95 = quantile(ordered, 0.95) if len(ordered) >= supported_quantile(0.95) else None
    return Statistic(
        disruption=disruption, quantity=quantity, unit="s" if unit == "s" else "", n=len(seen), censored=censored,
        median=_finite(middle), p95=_finite(p95), minimum=min(seen), maximum=max(seen),
        ci_low=interval[0] if interval and not censored else None,
        ci_high=interval[1] if interval and not censored else None, values=tuple(seen),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def over_runs(runs: Sequence[RunResult], seed: int) -> tuple[Statistic, ...]:
    """Detection, isolation, repair, outage and failed requests of every disruption that was asked for."""
    trusted = [run for run in runs if not run.void_reason]
    names = dict.fromkeys(item.name for run in trusted for item in run.disruptions if item.kind != "uninvited")
    result: list[Statistic] = []
    for name in names:
        found = [item for run in trusted if (item := run.disruption(name)) is not None]
        result.append(statistic(name, "detection", (item.detection_s for item in found), seed=seed))
        if any(item.kind in ("fault", "uninvited") for item in found):
            result.append(statistic(name, "isolation", (item.isolation_s for item in found), seed=seed))
        result.append(statistic(name, "repair", (item.repair_s for item in found), seed=seed))
        result.extend(_of_clients(name, found, seed))
    return tuple(result)


def _of_clients(name: str, found: Sequence[Disruption], seed: int) -> list[Statistic]:
    measured = [item for item in found if item.requests.due]
    if not measured:
        return []
    return [
        statistic(name, "outage", (item.outage_s for item in measured), seed=seed),
        statistic(name, "failed", (float(item.requests.failed) for item in measured), seed=seed, unit=""),
    ]
