"""Compares two sets of runs of one experiment: improved, same, worse, or cannot tell. Pure.

The rule, per quantity (docs/statistics.md says why, and how often it errs):

* *worse* or *improved*: Mann-Whitney finds a difference (p below 0.02, after Holm over the primary quantities), and the
  typical difference is larger than 5 % and than what can be measured at all (the quantity's floor);
* *same*: it does not, and the 90 % interval of the difference excludes one of a third (two one-sided tests), or one
  above the floor;
* *cannot tell*: neither, because the runs are too few or scatter too much, or times come from another class of machine.

Swapping A and B swaps *improved* and *worse* and changes nothing else. Values that did not come while we watched are
larger than all that came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.experiment.quantities import OF_DISRUPTION, Observed, Quantity, names_over, observed, uncertainty_s
from testbed.experiment.result.comparison import Compared, Comparison, Judgement
from testbed.experiment.result.run import RunResult
from testbed.experiment.result.whole import Environment, Result
from testbed.experiment.statistics import resampled_means, resampled_medians, survival_quantile

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]


# Tasks per CPU. Below, a cluster's own bursts; and a machine counts as another one only where it is twice as busy.
BUSY_TASKS = 2.5


@dataclass(frozen=True)
class Rules:
    """Shares are of the typical value. ``level``: of the ratio's interval; ``shift_level``: of the shift's."""

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
    def missing(self) -> tuple[int, int]:
        return sum(item.censored for item in self.a), sum(item.censored for item in self.b)


# --- two results


def compare(a: Result, b: Result, *, name_a: str = "", name_b: str = "", rules: Rules = RULES) -> Comparison:
    """``b`` held against ``a``, the baseline. Times of another class of machine are not judged."""
    return compare_runs(name_a or a.run_id, a.trusted_runs, name_b or b.run_id, b.trusted_runs, seed=a.seed,
                        rules=rules, not_comparable=machine_differences(a, b))


def compare_runs(
    name_a: str, a: Sequence[RunResult], name_b: str, b: Sequence[RunResult], *, seed: int = 0, rules: Rules = RULES,
    not_comparable: Sequence[str] = (),
) -> Comparison:
    """Runs that can be trusted, of two variants of one experiment.

    Args: not_comparable: why times must not be compared; counts are, all the same.
    """
    found: list[tuple[str, Quantity[Any], Sample]] = []
    for name in names_over((*a, *b)):
        for quantity in OF_DISRUPTION:
            values = observed(quantity, name, a), observed(quantity, name, b)
            if any(values) and (quantity.primary or any(item.value for side in values for item in side)):
                found.append((name, quantity, sample(quantity, *values, seed=seed, rules=rules)))
    adjusted = _holm([item.p if quantity.primary else None for _, quantity, item in found])
    compared = tuple(
        _judged(name, quantity, item, p, rules, not_comparable).model_copy(
            update={"uncertainty_s": max(_uncertainty(name, quantity, runs) for runs in (a, b))})
        for (name, quantity, item), p in zip(found, adjusted, strict=True))
    verdict, reason = _overall([item for item in compared if item.primary])
    return Comparison(a=name_a, b=name_b, verdict=verdict, reason=reason, not_comparable=tuple(not_comparable),
                      quantities=compared)


def _uncertainty(name: str, quantity: Quantity[Any], runs: Sequence[RunResult]) -> float:
    return uncertainty_s(quantity.key, (item for run in runs if (item := run.disruption(name)) is not None))


def compare_values(
    quantity: Quantity[Any], a: Iterable[float | None], b: Iterable[float | None], *, seed: int = 0,
    rules: Rules = RULES, disruption: str = "",
) -> Compared:
    """One quantity alone. A None did not come while it was watched."""
    sides = [[Observed(number, value) for number, value in enumerate(values, 1)] for values in (a, b)]
    found = sample(quantity, sides[0], sides[1], seed=seed, rules=rules)
    return _judged(disruption, quantity, found, found.p, rules, ())


def machine_differences(a: Result, b: Result) -> tuple[str, ...]:
    """Why the times of these two must not be compared; empty when nothing speaks against it."""
    one, other = a.environment, b.environment
    pairs = (("CPUs", one.cpus, other.cpus), ("kernel", _major(one.kernel), _major(other.kernel)),
             ("engine", one.engine, other.engine), ("profile", a.profile, b.profile),
             ("platform", one.platform, other.platform))
    found = [f"{what}: {x or 'unknown'} and {y or 'unknown'}" for what, x, y in pairs if x != y]
    return (*found, *_memory(one, other), *_business(a.trusted_runs, b.trusted_runs))


def _major(kernel: str) -> str:
    return kernel.partition(".")[0]


def _business(a: Sequence[RunResult], b: Sequence[RunResult]) -> tuple[str, ...]:
    """A machine on which others work is another machine: what starts there takes longer. Variants that are run in turns
    share it, and are compared all the same."""
    known = [sorted(run.machine.runnable for run in runs if run.machine and run.machine.runnable is not None)
             for runs in (a, b)]
    if not all(known):
        return ()
    middles = [values[len(values) // 2] for values in known]
    if max(middles) < BUSY_TASKS or max(middles) < 2 * min(middles):
        return ()
    return (f"tasks that shared each CPU: {middles[0]:.1f} and {middles[1]:.1f}",)


def _memory(one: Environment, other: Environment) -> tuple[str, ...]:
    more, less = max(one.memory_bytes, other.memory_bytes), min(one.memory_bytes, other.memory_bytes)
    if more - less <= 0.1 * more:
        return ()
    return (f"memory: {one.memory_bytes / 2**30:.1f} and {other.memory_bytes / 2**30:.1f} GiB",)


# --- one quantity


def sample(
    quantity: Quantity[Any], a: Sequence[Observed], b: Sequence[Observed], *, seed: int, rules: Rules = RULES
) -> Sample:
    """Everything that is measured of the difference between two sets of values."""
    sides = tuple(a), tuple(b)
    if min(len(a), len(b)) < rules.minimum_runs:
        return Sample(*sides, _centres(quantity, *sides), (math.nan,) * 3, None, 1.0, 0.5)
    xs, ys = ([math.inf if item.value is None else item.value for item in side] for side in sides)
    p, effect = _mann_whitney(xs, ys)
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


def _mann_whitney(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
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


def _holm(values: Sequence[float | None]) -> list[float]:
    """Holm's adjusted p of those that are not None; the others' (secondary) stays what it is: 1.0 here means unused."""
    order = sorted((index for index, value in enumerate(values) if value is not None),
                   key=lambda index: values[index] or 0.0)
    adjusted = [math.nan] * len(values)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (values[index] or 0.0) * (len(order) - position)))
        adjusted[index] = largest
    return adjusted


# --- the verdict


def _judged(
    name: str, quantity: Quantity[Any], found: Sample, p_adjusted: float, rules: Rules, not_comparable: Sequence[str]
) -> Compared:
    few = min(len(found.a), len(found.b)) < rules.minimum_runs
    p_used = found.p if math.isnan(p_adjusted) else p_adjusted
    if few:
        verdict: Judgement = "cannot tell"
        reason = f"{len(found.a)} and {len(found.b)} runs; it takes {rules.minimum_runs} of each"
    elif not_comparable and quantity.unit == "s":
        verdict, reason = "cannot tell", "times of another class of machine (" + "; ".join(not_comparable) + ")"
    else:
        verdict, reason = _verdict(quantity, found, p_used, rules)
    shift = (None, None, None) if few else tuple(_finite(value) for value in found.shifts)
    ratio = tuple(_finite(value) for value in found.ratios) if found.ratios else (None, None, None)
    return Compared(
        disruption=name, quantity=quantity.key, unit=quantity.unit, primary=quantity.primary, verdict=verdict,
        reason=reason, n_a=len(found.a), n_b=len(found.b),
        censored_a=sum(item.censored for item in found.a), censored_b=sum(item.censored for item in found.b),
        centre_a=_finite(found.centres[0]), centre_b=_finite(found.centres[1]),
        ratio=ratio[0], ratio_low=ratio[1], ratio_high=ratio[2], level=rules.level,
        shift=shift[0], shift_low=shift[1], shift_high=shift[2], shift_level=rules.shift_level,
        p=None if few else found.p, p_adjusted=None if few or math.isnan(p_adjusted) else p_adjusted,
        effect=None if few else round(found.effect, 4),
    )


def _verdict(quantity: Quantity[Any], found: Sample, p: float, rules: Rules) -> tuple[Judgement, str]:
    shift, low, high = found.shifts
    typical = _typical(found)
    if max(p, found.missing_p) < rules.alpha:
        more = found.missing[1] * len(found.a) > found.missing[0] * len(found.b)
        return ("worse" if more == quantity.lower_is_better else "improved"), (
            f"did not come in {found.missing[0]} of {len(found.a)} and {found.missing[1]} of {len(found.b)} runs")
    if p < rules.alpha and _beyond(shift, rules.tolerance, typical, quantity.floor):
        larger = shift > 0
        return ("worse" if larger == quantity.lower_is_better else "improved"), ""
    if not any(_beyond(edge, rules.margin, typical, quantity.floor) for edge in (low, high)):
        return "same", ""
    return "cannot tell", (f"no difference is shown, and one of {rules.margin:.0%} is not excluded: "
                           "more runs would tell")


def _typical(found: Sample) -> float:
    """The middle between both sets' centres; that of the one that came where the other did not."""
    known = [value for value in found.centres if math.isfinite(value)]
    return sum(known) / len(known) if known else 0.0


def _beyond(shift: float, share: float, typical: float, floor: float) -> bool:
    """Whether a shift is larger than the floor and than ``share``, as the ratio of two values that far apart around
    the typical one. It judges a shift and its opposite alike."""
    size = abs(shift)
    if size <= floor:
        return False
    # (t + s/2) / (t - s/2) > 1 + share, without dividing by what may be zero
    return typical + size / 2 > (1 + share) * (typical - size / 2)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _overall(primary: Sequence[Compared]) -> tuple[Judgement, str]:
    """Worse if anything is; else what cannot be told; else improved if anything is."""
    for verdict in ("worse", "cannot tell", "improved"):
        found = [item for item in primary if item.verdict == verdict]
        if found:
            names = ", ".join(f"{item.disruption}.{item.quantity}" for item in found)
            why = f" ({found[0].reason})" if verdict == "cannot tell" and found[0].reason else ""
            return found[0].verdict, names + why
    return ("same", "") if primary else ("cannot tell", "they have no disruption in common")

