"""What the values of a quantity were over runs, those that had not come included, and how far one may be wrong.

Which quantities there are is left to ``quantities``, what is made of the values to ``statistics``. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from testbed.experiment.quantities import Quantity
from testbed.experiment.result import Disruption, RunResult

# The marks at which times since the injection end.
_ENDS: Final = {"detection": "detected", "isolation": "isolated", "repair": "restored", "undo": "undone",
                "alerted": "alerted"}


@dataclass(frozen=True)
class Observed:
    """One value of one run. ``value`` None: it had not come after ``watched_s`` of watching."""

    run: int
    value: float | None
    watched_s: float = math.inf

    @property
    def censored(self) -> bool:
        return self.value is None


def watched_s(run: RunResult, item: Disruption, quantity: Quantity[Disruption] | None = None) -> float:
    """How long after its injection this disruption was watched, or ``quantity`` was waited for; infinite where the
    result does not say."""
    if quantity is not None and quantity.needs_pager and item.pager_s is not None:
        return item.pager_s
    ends = [phase.end_s for phase in run.phases if phase.name in ("observe", "converge")]
    if item.marks.injected is None or not ends:
        return math.inf
    return max(0.0, max(ends) - item.marks.injected)


def has(item: Disruption, quantity: Quantity[Disruption]) -> bool:
    """Whether this disruption can have such a value. One of which nothing came recovered from nothing."""
    if (quantity.needs_state and item.backlog is None) or (quantity.needs_pager and item.pager_s is None):
        return False
    return (item.disrupted or not quantity.censored) and (not quantity.whom or item.kind in quantity.whom)


def observed(quantity: Quantity[Disruption], name: str, runs: Iterable[RunResult]) -> list[Observed]:
    """The values of a disruption called ``name`` over these runs. Runs in which it was not measured are not there."""
    found: list[Observed] = []
    for run in runs:
        item = run.disruption(name)
        if item is None or not has(item, quantity):
            continue
        if quantity.censored and not item.disrupted and item.requests.due:
            continue  # nothing came of it: there was nothing to notice or to mend
        if item.noise and quantity.censored:
            continue  # what must not be noticed has no time until it was
        value = quantity.read(item)
        if value is not None:
            found.append(Observed(run.number, float(value)))
        elif quantity.censored:
            found.append(Observed(run.number, None, watched_s(run, item, quantity)))
    return found


def observed_whole(quantity: Quantity[RunResult], runs: Iterable[RunResult]) -> list[Observed]:
    """The same of the whole of each run. Runs in which it was not measured are not there."""
    return [Observed(run.number, float(value)) for run in runs if (value := quantity.read(run)) is not None]


def uncertainty_s(key: str, subjects: Iterable[Disruption | RunResult]) -> float:
    """How far one run's value of a time may be wrong: the middle of what those runs say that have such a value at all;
    0 where none has."""
    known = sorted(value for item in subjects if (value := _uncertainty_s(key, item)) is not None)
    return known[len(known) // 2] if known else 0.0


def _uncertainty_s(key: str, subject: Disruption | RunResult) -> float | None:
    mark = _ENDS.get(key)
    if mark is not None:
        return subject.uncertainty_of(mark) if isinstance(subject, Disruption) else None
    if not key.startswith("outage") or not subject.outages:
        return None
    if key == "outage.longest":
        return max(subject.outages, key=lambda outage: outage.seconds).length_uncertainty_s
    return sum(outage.length_uncertainty_s for outage in subject.outages)


def names_over(runs: Iterable[RunResult]) -> tuple[str, ...]:
    """Disruptions that were asked for, in the order in which they first appear."""
    return tuple(dict.fromkeys(item.name for run in runs for item in run.disruptions if item.kind != "uninvited"))
