"""The objectives that an experiment asks for, parsed; those of which nobody would measure anything are mistakes.

What one says is `objectives.py`'s; where a mistake is (a line of a file, an option), only the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from faults.registry import Registry, fault_name
from testbed.errors import Mistake
from testbed.experiment.kind import Experiment, ExperimentSpec
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
        mistakes += [wrong(index, why, "") for why in _unmeasurable(objective, spec)]
        found.append(objective)
    return tuple(found)


def _unmeasurable(objective: Objective, spec: ExperimentSpec) -> Iterator[str]:
    """Why nobody would measure it in such an experiment: all that is known before anything runs."""
    asked = objective.of
    if asked.needs_pulse and spec.load.pulse is None:
        yield "needs load.pulse: nobody else counts requests"
    if asked.needs_state and spec.state is None:
        yield "needs state: nobody else asks for what was written"
    if asked.needs_slo and spec.slo is None:
        yield "needs slo: without a target there is no error budget"
    if asked.needs_locust and spec.load.locust is None:
        yield "needs load.locust: these are Locust's own requests"
    step = next((step for step in spec.method if step.name == objective.step), None)
    if step is None or step.kind == "wait":
        return
    if asked.whom and step.kind not in asked.whom:
        yield f"step {step.name} is no fault, and only what a fault hits has it"
    if asked.name == "undo" and (step.kind != "fault" or not _reversible(step.fault or {})):
        yield f"step {step.name} is not undone, so it has no such time"


def _reversible(fault: Mapping[str, Any]) -> bool:
    """Whether anything is taken back at its end; of a fault that nobody knows nothing is said."""
    name = fault_name(fault) if fault.get("kind") else ""
    registry = Registry()
    return name not in registry.names() or registry.get(name).reversible
