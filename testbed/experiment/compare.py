"""Compares two sets of runs of one experiment: improved, same, worse, or cannot tell. Pure.

The rule, per quantity (docs/statistics.md says why, and how often it errs):

* *worse* or *improved*: Mann-Whitney finds a difference (p below 0.02, after Holm over the primary quantities), and the
  typical difference is larger than 5 % and than what can be measured at all (the quantity's floor);
* *same*: it does not, and the 90 % interval of the difference excludes one of a third (two one-sided tests), or one
  above the floor;
* *cannot tell*: neither, because the runs are too few to show anything in so many values at once (``enough_runs``) or
  scatter too much, or times come from another class of machine.

Swapping A and B swaps *improved* and *worse* and changes nothing else. Values that did not come while we watched are
larger than all that came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from testbed.experiment.contrast import RULES, Rules, Sample, sample
from testbed.experiment.enough_runs import judged_together, too_few
from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN, Quantity
from testbed.experiment.result.comparison import Compared, Comparison, Judgement
from testbed.experiment.result.run import RunResult
from testbed.experiment.result.whole import Environment, Result
from testbed.experiment.run_values import Observed, names_over, observed, observed_whole, uncertainty_s

# Tasks per CPU. Below, a cluster's own bursts; and a machine counts as another one only where it is twice as busy.
BUSY_TASKS = 2.5


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
    found = [(name, quantity, sample(quantity, *values, seed=seed, rules=rules))
             for name, quantity, values in _values(a, b)]
    primary = [index for index, (_, quantity, _) in enumerate(found) if quantity.primary]
    together = {primary[place] for place in judged_together([found[index][2].sizes for index in primary], rules)}
    adjusted = _holm([item.p if index in together else None for index, (_, _, item) in enumerate(found)])

    def at_once(index: int) -> int:
        return len(together) if index in together else len(primary) if index in primary else 1

    compared = tuple(
        judged(name, quantity, item, adjusted[index], rules, not_comparable, at_once=at_once(index)).model_copy(
            update={"uncertainty_s": max(_uncertainty(name, quantity, runs) for runs in (a, b))})
        for index, (name, quantity, item) in enumerate(found))
    verdict, reason = _overall([item for item in compared if item.primary])
    return Comparison(a=name_a, b=name_b, verdict=verdict, reason=reason, not_comparable=tuple(not_comparable),
                      quantities=compared)


def _values(
    a: Sequence[RunResult], b: Sequence[RunResult]
) -> Iterator[tuple[str, Quantity[Any], tuple[list[Observed], list[Observed]]]]:
    """Both sides of everything that is worth comparing, by disruption; "" is the whole run."""
    for quantity in OF_RUN:
        whole = observed_whole(quantity, a), observed_whole(quantity, b)
        if quantity.primary and any(whole):
            yield "", quantity, whole
    for name in names_over((*a, *b)):
        for item in OF_DISRUPTION:
            values = observed(item, name, a), observed(item, name, b)
            if any(values) and (item.primary or any(one.value for side in values for one in side)):
                yield name, item, values


def values_at_once(runs: Sequence[RunResult]) -> int:
    """How many values would be judged together if such runs were compared with more of their kind."""
    return sum(quantity.primary for _, quantity, _ in _values(runs, runs))


def _uncertainty(name: str, quantity: Quantity[Any], runs: Sequence[RunResult]) -> float:
    return uncertainty_s(quantity.key, (item for run in runs if (item := run.disruption(name)) is not None))


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


def _holm(values: Sequence[float | None]) -> list[float]:
    """Holm's adjusted p of those that are not None; nan of the others (secondary, or of too few runs to show any)."""
    order = sorted((index for index, value in enumerate(values) if value is not None),
                   key=lambda index: values[index] or 0.0)
    adjusted = [math.nan] * len(values)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (values[index] or 0.0) * (len(order) - position)))
        adjusted[index] = largest
    return adjusted


# --- the verdict


def judged(
    name: str, quantity: Quantity[Any], found: Sample, p_adjusted: float, rules: Rules = RULES,
    not_comparable: Sequence[str] = (), *, at_once: int = 1,
) -> Compared:
    """What is measured of one quantity, and what it means.

    Args: p_adjusted: nan where its own p decides. at_once: how many are judged together, this one included.
    """
    few = min(found.sizes) < rules.minimum_runs
    p_used = found.p if math.isnan(p_adjusted) else p_adjusted
    reason = too_few(found.sizes, at_once, rules)
    if reason:
        verdict: Judgement = "cannot tell"
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
            names = ", ".join(item.name for item in found)
            why = f" ({found[0].reason})" if verdict == "cannot tell" and found[0].reason else ""
            return found[0].verdict, names + why
    return ("same", "") if primary else ("cannot tell", "they have no disruption in common")

