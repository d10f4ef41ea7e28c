"""What can be read of an experiment whose fields are wrong: enough to look for its other mistakes in the same breath.

Each part that is valid by itself is kept; of the others only what later checks ask for (a step's name, what it waits
for, the file it applies). Nothing here tells a mistake: ``loading.py`` has told those of the fields already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from testbed.experiment.kind import Experiment, ExperimentMetadata, ExperimentSpec, SloSpec, StateSpec, Step
from testbed.experiment.kind_load import LoadSpec, LocustSpec, PulseSpec
from testbed.experiment.kind_steady import Condition

Part = TypeVar("Part", bound=BaseModel)
MANY_RUNS = 1000  # supports every quantile, where the number of runs is itself a mistake


def outline(value: Any) -> Experiment:
    """The experiment in ``value``, as far as it can be read."""
    raw = _mapping(_mapping(value).get("spec"))
    load = _mapping(raw.get("load"))
    runs = raw.get("runs", 1)
    spec = ExperimentSpec.model_construct(
        workload=tuple(_texts(raw.get("workload"))),
        steady_state=_conditions(raw.get("steadyState")),
        load=LoadSpec.model_construct(pulses=_pulses(load.get("pulse")), locust=_locust(load.get("locust"))),
        method=tuple(_step(item, index) for index, item in enumerate(_items(raw.get("method")))),
        objectives=tuple(_texts(raw.get("objectives"))),
        state=_valid(StateSpec, raw.get("state")),
        slo=SloSpec.model_construct(target=math.nan) if raw.get("slo") is not None else None,
        runs=runs if isinstance(runs, int) and runs > 0 else MANY_RUNS,
    )
    return Experiment.model_construct(api_version="testbed.io/v1alpha1", kind="Experiment", spec=spec,
                                      metadata=ExperimentMetadata.model_construct(name=""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in _items(value) if isinstance(item, str)]


def _valid(kind: type[Part], value: Any) -> Part | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _conditions(value: Any) -> tuple[Condition, ...]:
    """Up to the first that is wrong: their places must stay true."""
    found: list[Condition] = []
    for item in _items(value):
        condition = _valid(Condition, item)
        if condition is None:
            break
        found.append(condition)
    return tuple(found)


def _pulses(value: Any) -> tuple[PulseSpec, ...]:
    many = value if isinstance(value, list) else [value]
    return tuple(_valid(PulseSpec, item) or PulseSpec.model_construct(service=str(item.get("service") or ""))
                 for item in many if isinstance(item, Mapping))


def _locust(value: Any) -> LocustSpec | None:
    file = _mapping(value).get("file")
    if not isinstance(file, str):
        return None
    return _valid(LocustSpec, value) or LocustSpec.model_construct(file=file)


def _step(value: Any, index: int) -> Step:
    step = _valid(Step, value)
    if step is not None:
        return step
    raw = _mapping(value)
    name, after, apply = (raw.get(key) if isinstance(raw.get(key), str) else None for key in ("name", "after", "apply"))
    return Step.model_construct(name=name or f"(step {index + 1})", after=after, apply=apply,
                                fault={} if apply is None else None)
