"""The objectives that an experiment asks for, parsed; those of which nobody would measure anything are mistakes.

What one says is `objectives.py`'s; where a mistake is (a line of a file, an option), only the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.errors import Mistake
from testbed.experiment.kind import Experiment
from testbed.experiment.objectives import Misspelt, Objective, parse_objective


def objectives_of(
    experiment: Experiment, wrong: Callable[[int, str, str], Mistake], mistakes: list[Mistake]
) -> tuple[Objective, ...]:
    """Args: wrong: makes the mistake of the objective at an index, from what is wrong and what may have been meant."""
    spec = experiment.spec
    steps = [step.name for step in spec.method if step.kind != "wait"]
    found = []
    for index, text in enumerate(spec.objectives):
        try:
            objective = parse_objective(text, steps, spec.runs)
        except ValueError as error:
            mistakes.append(wrong(index, str(error), error.suggestion if isinstance(error, Misspelt) else ""))
            continue
        if objective.needs_pulse and spec.load.pulse is None:
            mistakes.append(wrong(index, "needs load.pulse: nobody else counts requests", ""))
        if objective.of.needs_state and spec.state is None:
            mistakes.append(wrong(index, "needs state: nobody else asks for what was written", ""))
        found.append(objective)
    return tuple(found)
