"""Whose turn it is: repetitions of several variants, interleaved. Pure.

In rounds, each in a random order of its own: what the machine does meanwhile (another job, a warm cache) then hits all
variants alike. A run that measured nothing (void, or broken off) is made up for, within a limit that
was fixed before.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.experiment.result import RunResult, Verdict
from testbed.experiment.run_values import names_over
from testbed.experiment.sequential import MINIMUM_RUNS, look

# After these another repetition would end the same way, or could do harm. After every other one it begins clean.
FINAL = frozenset({
    Verdict.STEADY_STATE_NOT_MET, Verdict.NO_EFFECT, Verdict.UNDO_FAILED, Verdict.ENVIRONMENT, Verdict.BUG,
    Verdict.INTERRUPTED,
})


@dataclass(frozen=True)
class Repetitions:
    """How often: ``runs`` that can be trusted. ``until_ci``: then on, up to ``most`` runs, until the intervals are that
    narrow (a half-width relative to the median)."""

    runs: int
    until_ci: float | None = None
    most: int = 0

    @property
    def limit(self) -> int:
        """The most repetitions, void ones and those that were broken off included."""
        wanted = max(self.runs, self.most) if self.until_ci is not None else self.runs
        return wanted + (wanted + 1) // 2 if wanted > 1 else 1


def trusted(runs: Sequence[RunResult]) -> int:
    return sum(1 for run in runs if run.trusted)


def order(names: Sequence[str], seed: int, number: int) -> tuple[str, ...]:
    """Who runs when in round ``number``."""
    return tuple(random.Random(f"{seed} round {number}").sample(list(names), len(names)))


def wants_more(runs: Sequence[RunResult], wanted: Repetitions, seed: int) -> bool:
    """Whether another repetition is due after these."""
    if len(runs) >= wanted.limit:
        return False
    if trusted(runs) < wanted.runs:
        return True
    if wanted.until_ci is None or trusted(runs) >= wanted.most:
        return False
    return not look(runs, wanted.until_ci, seed).enough


def not_narrow(runs: Sequence[RunResult], wanted: Repetitions, seed: int) -> str:
    """What still was too wide when no more runs were made; "" when nothing was, or nobody asked."""
    if wanted.until_ci is None or (found := look(runs, wanted.until_ci, seed)).enough:
        return ""
    count = trusted(runs)
    after = f"after {count} run{'s' if count != 1 else ''}"
    if not count or not names_over(runs):
        what = f"nothing has an interval {after}"
    elif count < MINIMUM_RUNS:
        what = f"no interval of {found.widest} {after}: it takes {MINIMUM_RUNS}"
    elif math.isfinite(found.ratio):
        what = f"interval of {found.widest} still ±{found.ratio:.0%} {after}"
    else:
        what = f"interval of {found.widest} still reaches beyond what was watched {after}"
    cap = f"; --max-runs is {wanted.most}" if count >= wanted.most else ""
    return f"--until-ci {wanted.until_ci:.0%} was not reached: {what}{cap}"
