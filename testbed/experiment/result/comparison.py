"""Two sets of runs held against each other: a baseline or reference (A), and what is judged (B)."""

from __future__ import annotations

from typing import Literal

from testbed.experiment.result.value import Value

Judgement = Literal["improved", "same", "worse", "cannot tell"]


class Compared(Value):
    """One quantity of one disruption, or of the whole run (``disruption`` ""), in A and in B. How each number is made:
    docs/statistics.md.

    Attributes:
        primary: whether the whole comparison's verdict hangs on it.
        centre_a, centre_b: medians (Kaplan-Meier's where values are censored); of counts, means per run. None: it lies
            beyond what was watched.
        uncertainty_s: of a time: how far one run's value may be wrong.
        ratio: of the centres, B to A, with its bootstrap interval of ``level``.
        shift: B minus A, Hodges and Lehmann's (of counts, of the means), with its interval of ``shift_level``.
        p, p_adjusted: Mann-Whitney, two-sided; adjusted after Holm over all primary quantities of the comparison.
        effect: the chance that a run of B has a larger value than a run of A (A12); 0.5 is no difference.
    """

    disruption: str
    quantity: str
    unit: Literal["s", "", "ratio", "times"] = "s"
    primary: bool = True
    verdict: Judgement
    reason: str = ""
    n_a: int = 0
    n_b: int = 0
    censored_a: int = 0
    censored_b: int = 0
    centre_a: float | None = None
    centre_b: float | None = None
    uncertainty_s: float = 0.0
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    level: float = 0.95
    shift: float | None = None
    shift_low: float | None = None
    shift_high: float | None = None
    shift_level: float = 0.9
    p: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None

    @property
    def name(self) -> str:
        """As an objective says it: ``crash.repair``; of the whole run ``writes.lost``."""
        return f"{self.disruption}.{self.quantity}" if self.disruption else self.quantity

    @property
    def counts(self) -> bool:
        """Whether it can be compared between machines of different classes."""
        return self.unit != "s"


class Comparison(Value):
    """All quantities of two results. ``not_comparable``: why times cannot be compared (another class of machine).
    ``fail_on``: judgements that fail the run."""

    a: str
    b: str
    verdict: Judgement
    reason: str = ""
    not_comparable: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    quantities: tuple[Compared, ...] = ()

    def of(self, disruption: str, quantity: str) -> Compared | None:
        return next((item for item in self.quantities
                     if (item.disruption, item.quantity) == (disruption, quantity)), None)

    @property
    def primary(self) -> tuple[Compared, ...]:
        return tuple(item for item in self.quantities if item.primary)
