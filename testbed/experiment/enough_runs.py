"""How many runs it takes before a comparison can show anything at all. Pure.

However far two sets of runs lie apart, the p of their test cannot be smaller than so much; it is held against the
number of values that are judged together (Holm). Where not even complete separation would show, *worse* can never come
out, and whoever waits for it must hear so. What a verdict is, is left to ``compare``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from testbed.experiment.contrast import RULES, Rules, mann_whitney
from testbed.experiment.kind import Experiment
from testbed.experiment.quantities import OF_DISRUPTION, OF_RUN, Quantity

Sizes = tuple[int, int]  # runs of each side


@lru_cache(maxsize=1024)
def least_p(n: int, m: int) -> float:
    """The smallest p that ``n`` and ``m`` runs can have: all of one side lie above all of the other. Ties make it
    larger."""
    if not n or not m:
        return 1.0
    return mann_whitney(range(n), range(n, n + m))[0]


def can_show(sizes: Sizes, values: int, rules: Rules = RULES) -> bool:
    """Whether these runs can show a difference in each of ``values`` that are judged at once."""
    return min(sizes) >= rules.minimum_runs and least_p(*sizes) * values < rules.alpha


def runs_needed(values: int, rules: Rules = RULES, *, above: int = 0) -> int:
    """Of each side, so that they can; more than ``above``."""
    return next(runs for runs in count(max(rules.minimum_runs, above + 1)) if can_show((runs, runs), values, rules))


def too_few(sizes: Sizes, values: int, rules: Rules = RULES) -> str:
    """Why these runs cannot show a difference; "" when they can."""
    if can_show(sizes, values, rules):
        return ""
    runs = f"{sizes[0]} and {sizes[1]} runs"
    if least_p(*sizes) * values < rules.alpha:
        return f"{runs} are too few for an interval: it takes {rules.minimum_runs} of each"
    together = f" in {values} values at once" if values > 1 else ""
    return f"{runs} cannot show a difference{together}: it takes {runs_needed(values, rules, above=min(sizes))} of each"


def judged_together(sizes: Sequence[Sizes], rules: Rules = RULES) -> frozenset[int]:
    """Which of these values are tested at once: as many as their runs can show. The others would only take power from
    them. It looks at how many runs there are, never at what was measured."""
    tested = [index for index, item in enumerate(sizes) if min(item) >= rules.minimum_runs]
    for worst in sorted({least_p(*sizes[index]) for index in tested}, reverse=True):
        found = [index for index in tested if least_p(*sizes[index]) <= worst]
        if worst * len(found) < rules.alpha:
            return frozenset(found)
    return frozenset()


def values_expected(experiment: Experiment) -> int:
    """How many values of a run of this experiment will be judged at once, at most: what is known before it."""
    spec = experiment.spec

    def comes(quantity: Quantity[Any]) -> bool:
        return quantity.primary and not (
            (quantity.needs_pulse and spec.load.pulse is None) or (quantity.needs_state and spec.state is None))

    steps = [step.kind for step in spec.method if step.kind != "wait"]
    return sum(comes(item) for item in OF_RUN) + sum(
        comes(item) and (not item.whom or step in item.whom) for step in steps for item in OF_DISRUPTION)
